"""Images are read in order, only as far as asked, and decoded once for all jobs."""

from pathlib import Path

import pytest
from PIL import Image

from vlmatch.probes import reading
from vlmatch.probes.pairs import ProbeEntry
from vlmatch.probes.perceptual import perceptual_hash
from vlmatch.probes.reading import Reader


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds another's hashes."""
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def entries(tmp_path: Path) -> list[ProbeEntry]:
    """Three images, the last of them broken."""
    for n in range(3):
        Image.linear_gradient("L").rotate(90 * n).save(tmp_path / f"{n}.png")
    (tmp_path / "2.png").write_bytes(b"hello")
    return [ProbeEntry(f"{n}", tmp_path / f"{n}.png", f"caption {n}") for n in range(3)]


def test_many_files_are_hashed_in_order(tmp_path: Path) -> None:
    many = []
    for number in range(600):
        (tmp_path / str(number)).write_bytes(str(number % 10).encode())
        many.append(ProbeEntry(str(number), tmp_path / str(number), f"caption {number}"))
    reads = list(Reader("p", decode=False, max_pixels=10**6).read(many))
    assert [read.entry for read in reads] == many
    assert [read.sha256 for read in reads[:10]] == [read.sha256 for read in reads[590:]]
    assert len({read.sha256 for read in reads}) == 10
    assert all(read.perceptual_hash is None and read.problem is None for read in reads)


@pytest.mark.parametrize("place", ["nothing.png", ""])
def test_a_file_that_cannot_be_read_is_a_problem_with_a_reason(tmp_path: Path, place: str) -> None:
    (read,) = Reader("p", decode=True, max_pixels=10**6).read([ProbeEntry("7", tmp_path / place, "a")])
    assert read.problem is not None
    assert read.problem.reason == ("not there" if place else "can't be read")
    assert "of '7' can't be read (" in str(read.problem)


def test_a_name_that_the_locale_cannot_write_says_what_to_set(tmp_path: Path) -> None:
    (read,) = Reader("p", decode=True, max_pixels=10**6).read([ProbeEntry("7", tmp_path / "\ud83d.png", "a")])
    assert "PYTHONUTF8=1" in str(read.problem)


def test_images_are_decoded_once_and_their_hashes_kept(
    entries: list[ProbeEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader("p", decode=True, max_pixels=10**6)
    reads = list(reader.read(entries))
    reader.save()
    assert reads[0].perceptual_hash == perceptual_hash(Image.linear_gradient("L").convert("RGB"))
    assert reads[2].problem is not None
    decoded: list[Path] = []
    monkeypatch.setattr(reading, "open_image", lambda image, _: decoded.append(image) or Image.new("RGB", (4, 4)))
    again = list(Reader("p", decode=True, max_pixels=10**6).read(entries))
    assert [read.perceptual_hash for read in again[:2]] == [read.perceptual_hash for read in reads[:2]]
    assert decoded == [entries[2].image]  # what is broken is looked at again
    list(Reader("p", decode=True, max_pixels=10**5).read(entries))
    assert len(decoded) == 4  # another limit, other bad images


@pytest.mark.parametrize("content", ["", "[1]", '{"a": "b"}', '{"a": -1}', "\x00"])
def test_a_damaged_cache_is_no_cache(entries: list[ProbeEntry], tmp_path: Path, content: str) -> None:
    reader = Reader("p", decode=True, max_pixels=10**6)
    expected = [read.perceptual_hash for read in reader.read(entries)]
    reader.save()
    (file,) = (tmp_path / "cache" / "probes").iterdir()
    file.write_text(content)
    assert [read.perceptual_hash for read in Reader("p", decode=True, max_pixels=10**6).read(entries)] == expected
