"""Each caption and image is kept once, a sample is uniform and knows no order, and nothing is left out silently."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from vlmatch.errors import VlmatchError
from vlmatch.probes.images import ImageError
from vlmatch.probes.pairs import ProbeCounts, ProbeEntry, ProbeSet
from vlmatch.probes.reading import ReadEntry
from vlmatch.probes.selection import ProbeOptions, Tally, build_probe_set, normalised

captions = st.sampled_from(["A frog.", "a  FROG.", "A toad.", "Eine Kröte.", "x"])
images = st.sampled_from(["i0", "i1", "i2", "i3"])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds another's hashes."""
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path / "cache"))


def tallied(reads: Sequence[ReadEntry], **options: object) -> Tally:
    """What is kept of these."""
    tally = Tally("p", ProbeOptions(**options))  # type: ignore[arg-type]
    for read in reads:
        tally.add(read)
    return tally


def reads_of(rows: list[tuple[str, str]]) -> list[ReadEntry]:
    """Entries with numbered ids from captions and image digests."""
    return [ReadEntry(ProbeEntry(str(n), Path(image), caption), image) for n, (caption, image) in enumerate(rows)]


@given(st.lists(st.tuples(captions, images), min_size=2, max_size=30))
def test_exactly_those_pairs_are_dropped_that_repeat_one_kept_before(rows: list[tuple[str, str]]) -> None:
    expected: list[int] = []
    for number, (caption, image) in enumerate(rows):
        if all(normalised(caption) != normalised(rows[k][0]) and image != rows[k][1] for k in expected):
            expected.append(number)
    tally = tallied(reads_of(rows))
    counts = tally.counts({})
    assert [pair.id for pair in tally.kept] == [str(number) for number in expected]
    assert counts.read == len(rows) == counts.kept + sum(counts.dropped.values())
    assert counts.distinct_captions == len({normalised(caption) for caption, _ in rows})
    assert counts.distinct_images == len({image for _, image in rows})
    assert counts.kept == len(expected)


@given(st.lists(st.tuples(captions, images), min_size=2, max_size=30))
def test_nothing_is_dropped_unless_asked(rows: list[tuple[str, str]]) -> None:
    assert len(tallied(reads_of(rows), drop_duplicates=False).kept) == len(rows)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=600), st.integers(0, 30))
def test_near_duplicates_are_dropped_by_the_bits_between_their_hashes(hashes: list[int], distance: int) -> None:
    reads = [ReadEntry(ProbeEntry(str(n), Path("x"), f"{n}"), f"{n}", value) for n, value in enumerate(hashes)]
    expected: list[int] = []
    for value in hashes:
        if all((value ^ kept).bit_count() > distance for kept in expected):
            expected.append(value)
    tally = tallied(reads, drop_near_duplicates=distance)
    assert [hashes[int(pair.id)] for pair in tally.kept] == expected
    assert tally.dropped["a similar image"] == len(hashes) - len(expected)


def write_images(folder: Path, number: int) -> list[ProbeEntry]:
    """Entries with files of different bytes that are no images."""
    entries = []
    for n in range(number):
        (folder / f"{n}").write_bytes(f"image {n}".encode())
        entries.append(ProbeEntry(f"{n}", folder / f"{n}", f"caption {n}"))
    return entries


def test_a_limit_keeps_the_first_pairs_and_reads_no_further(tmp_path: Path) -> None:
    entries = write_images(tmp_path, 5)
    entries[1] = ProbeEntry("1", tmp_path / "1", "CAPTION  0")
    gone = [ProbeEntry(f"gone {n}", tmp_path / "gone", "x") for n in range(300)]
    probe = build_probe_set("p", [*entries, *gone], ProbeOptions(limit=2))
    assert probe.captions == ["caption 0", "caption 2"]
    assert (probe.counts.read, probe.counts.kept) == (3, 2)


def sampled(entries: list[ProbeEntry], **options: object) -> ProbeSet:
    """The probe that these options choose."""
    return build_probe_set("p", entries, ProbeOptions(**options))  # type: ignore[arg-type]


def test_a_sample_does_not_depend_on_the_order_and_holds_the_smaller_ones(tmp_path: Path) -> None:
    entries = write_images(tmp_path, 40)
    small = sampled(entries, sample=10)
    backwards = sampled(entries[::-1], sample=10)
    assert [pair.id for pair in small.pairs] == sorted((pair.id for pair in small.pairs), key=int)
    assert backwards.pairs == small.pairs[::-1]
    assert set(small.pairs) < set(sampled(entries, sample=20).pairs)
    assert set(small.pairs) != set(sampled(entries, sample=10, seed=1).pairs)
    assert small.counts.entries == 40
    assert small.counts.read == 10
    assert "10 pairs kept of 10 read, sampled from 40 entries" in small.data_sheet()[0]


def test_a_sample_reads_only_what_it_needs_and_replaces_what_it_drops(tmp_path: Path) -> None:
    entries = write_images(tmp_path, 10)
    same = [ProbeEntry(f"same {n}", tmp_path / "0", "the same") for n in range(90)]
    probe = sampled(entries + same, sample=8)
    assert len(probe) == 8
    assert probe.counts.dropped == {"a repeated image": probe.counts.read - 8}
    asked: list[str] = []

    class Asked:
        """An image that notes its reading."""

        def __init__(self, name: str) -> None:
            self.name = name

        def read(self) -> bytes:
            """Its own name."""
            asked.append(self.name)
            return self.name.encode()

    many = [ProbeEntry(f"{n}", Asked(f"{n}"), f"caption {n}") for n in range(20_000)]
    assert len(sampled(many, sample=50)) == 50
    assert len(asked) <= 256


def test_a_sample_is_uniform(tmp_path: Path) -> None:
    entries = write_images(tmp_path, 12)
    times = Counter(pair.id for seed in range(400) for pair in sampled(entries, sample=3, seed=seed).pairs)
    expected = 400 * 3 / 12
    chi_squared = sum((times[entry.id] - expected) ** 2 / expected for entry in entries)
    assert chi_squared < 31.3  # 11 degrees of freedom: exceeded with probability 0.001


def test_a_sample_larger_than_the_source_is_all_of_it(tmp_path: Path) -> None:
    assert sampled(write_images(tmp_path, 5), sample=9).captions == [f"caption {n}" for n in range(5)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 1}, "probe.limit=1; wanted .* at least 2"),
        ({"limit": -3}, "probe.limit=-3; wanted .* at least 2"),
        ({"sample": 0}, "probe.sample=0; wanted .* at least 2"),
        ({"sample": 5, "limit": 5}, "probe.limit=5 and probe.sample=5"),
        ({"bad_images": "ignore"}, "probe.bad_images='ignore'; wanted error or skip"),
        ({"drop_near_duplicates": 64}, "drop_near_duplicates=64; wanted 0 to 63 bits"),
        ({"drop_near_duplicates": -1}, "drop_near_duplicates=-1; wanted 0 to 63 bits"),
        ({"limit": "8"}, "probe.limit='8'; wanted a whole number"),
        ({"sample": 2.5}, "probe.sample=2.5; wanted a whole number"),
        ({"seed": None}, "probe.seed=None; wanted a whole number"),
        ({"drop_duplicates": "yes"}, "probe.drop_duplicates='yes'; wanted true or false"),
        ({"max_pixels": 0}, "probe.max_pixels=0; wanted a number of pixels"),
    ],
)
def test_an_option_that_is_out_of_range_or_of_another_type_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(VlmatchError, match=message):
        ProbeOptions(**options)  # type: ignore[arg-type]


def test_one_pair_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VlmatchError, match="probe 'p': 1 pair left of 1 read; the scores need at least 2"):
        build_probe_set("p", write_images(tmp_path, 1), ProbeOptions())
    with pytest.raises(VlmatchError, match=r"probe 'p': 0 pairs left of 0 read \(skipped: 3 can't be decoded"):
        build_probe_set("p", write_images(tmp_path, 3), ProbeOptions(bad_rows="skip"))


@pytest.mark.parametrize("changed", [{"caption": "A smile \ud83d"}, {"id": "\ud83d"}, {"label": "\ud83d"}])
@pytest.mark.parametrize("sample", [None, 3])
def test_half_a_character_is_refused_by_place_or_skipped(
    tmp_path: Path, changed: dict[str, str], sample: int | None
) -> None:
    entries = write_images(tmp_path, 4)
    entries[1] = replace(entries[1], where="line 2", **changed)  # type: ignore[arg-type]
    with pytest.raises(VlmatchError, match=rf"line 2: its {next(iter(changed))} .*ud83d.*probe\.bad_rows=skip"):
        build_probe_set("p", entries, ProbeOptions(sample=4))
    for n in range(4):
        drawing(n).save(tmp_path / f"{n}", "PNG")
    probe = build_probe_set("p", entries, ProbeOptions(sample=sample, bad_rows="skip"))
    assert probe.counts.skipped == {"not valid Unicode": 1}
    assert len(probe) == 3
    assert "\n".join(probe.data_sheet()).encode()


def test_a_path_that_no_file_can_have_is_a_bad_image(tmp_path: Path) -> None:
    entries = write_images(tmp_path, 2)
    entries[1] = replace(entries[1], image=tmp_path / "a\0b.png")
    with pytest.raises(VlmatchError, match=r"image .* of '1' can't be read"):
        build_probe_set("p", entries, ProbeOptions())


@pytest.mark.parametrize("name", ["../../evil", "/tmp/x", "=1+1", "+1", "-x", "@x", "", ".", "a/b", "a b", "x" * 201])
def test_a_name_that_cannot_name_a_folder_is_refused_before_anything_is_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(VlmatchError, match=r"probe\.name='.* can't name a folder"):
        build_probe_set(name, [ProbeEntry("1", tmp_path / "gone", "x")], ProbeOptions(bad_rows="skip"))
    with pytest.raises(VlmatchError, match=r"probe\.name='.* can't name a folder"):
        ProbeSet(name, (), ProbeCounts(0, 0, 0, 0))
    assert not (tmp_path / "cache").exists()


def test_a_repeated_id_is_refused_by_name(tmp_path: Path) -> None:
    first, second = write_images(tmp_path, 2)
    with pytest.raises(VlmatchError, match="id '0' appears twice"):
        build_probe_set("p", [first, ProbeEntry("0", second.image, "another")], ProbeOptions())


@pytest.mark.parametrize("caption", ["", " \t\n", "\u00a0"])
def test_an_empty_caption_is_refused_by_name_and_place(tmp_path: Path, caption: str) -> None:
    entries = write_images(tmp_path, 3)
    entries[1] = ProbeEntry("1", entries[1].image, caption, where="line 7")
    with pytest.raises(VlmatchError, match="line 7: the caption of '1' is empty"):
        build_probe_set("p", entries, ProbeOptions(drop_duplicates=False))


def test_what_was_skipped_is_counted_and_a_few_are_named(caplog: pytest.LogCaptureFixture) -> None:
    problem = ImageError("image 'x' is too large", "too large")
    tally = tallied([ReadEntry(ProbeEntry(f"{n}", Path("x"), "x"), problem=problem) for n in range(9)], bad_rows="skip")
    counts = tally.counts({"without an image": 2, "other members": 0})
    assert counts.skipped == {"without an image": 2, "too large": 9}
    assert counts.first_skipped == ("image 'x' is too large",) * 3
    with pytest.raises(VlmatchError, match=r"probe 'p': image 'x' is too large; .*probe\.bad_rows=skip"):
        tallied([ReadEntry(ProbeEntry("1", Path("x"), "x"), problem=problem)])


def drawing(seed: int) -> Image.Image:
    """Ten random ellipses on white."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (80, 60), "white")
    for _ in range(10):
        x, y, width, height = rng.integers(2, 50, 4)
        ImageDraw.Draw(image).ellipse((x, y, x + width, y + height), fill=tuple(rng.integers(0, 255, 3).tolist()))
    return image


def test_a_rescaled_copy_is_dropped_and_counted_apart(tmp_path: Path) -> None:
    drawing(0).save(tmp_path / "0.png")
    drawing(0).resize((160, 120)).save(tmp_path / "1.png")
    drawing(1).save(tmp_path / "2.png")
    entries = [ProbeEntry(f"{n}", tmp_path / f"{n}.png", f"caption {n}") for n in range(3)]
    assert len(build_probe_set("p", entries, ProbeOptions())) == 3
    probe = build_probe_set("p", entries, ProbeOptions(drop_near_duplicates=6))
    assert [pair.id for pair in probe.pairs] == ["0", "2"]
    assert probe.counts.dropped == {"a similar image": 1}


def test_bad_images_are_skipped_by_their_limit_even_where_the_cache_has_their_hash(tmp_path: Path) -> None:
    for n in range(4):
        drawing(n).resize((20 + 20 * n, 20)).save(tmp_path / f"{n}.png")
    (tmp_path / "4.png").write_bytes((tmp_path / "3.png").read_bytes()[:-40])
    entries = [ProbeEntry(f"{n}", tmp_path / f"{n}.png", f"caption {n}") for n in range(5)]
    assert build_probe_set("p", entries, ProbeOptions(bad_rows="skip")).counts.skipped == {"can't be decoded": 1}
    bounded = build_probe_set("p", entries, ProbeOptions(bad_rows="skip", max_pixels=1000))
    assert bounded.counts.skipped == {"too large": 3}
    assert len(bounded) == 2
    assert len(build_probe_set("p", entries, ProbeOptions())) == 5  # what is bad is named when its turn comes
    with pytest.raises(VlmatchError, match=r"4\.png' can't be decoded"):
        build_probe_set("p", entries, ProbeOptions(drop_near_duplicates=0))
