"""The stamps: captions from first lines, labels from top folders, drawings only where there is no PNG."""

from pathlib import Path

import pytest

from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.packages.deb import Archive
from vlmatch.probes.stamps import stamps

ARCHIVE = Archive("some-stamps", "1.0", "0" * 64)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"><rect width="4" height="4"/></svg>'


@pytest.fixture
def small(tmp_path: Path, pixel: bytes) -> Path:
    """Three PNG stamps, one of them drawn as SVG too, one that is SVG only, and files that are no stamps."""
    files = {
        "b/owl.png": pixel + b"1",
        "b/owl.svg": SVG,
        "b/owl.txt": b" An owl.  \nde.utf8=Eine Eule.\n",
        "a/x/frog.png": pixel + b"2",
        "a/x/frog.txt": b"A frog.",
        "a/frog-2.png": pixel + b"3",
        "a/frog-2.txt": b"A  FROG.\n",
        "c/kite.svg": SVG,
        "c/kite.txt": b"A kite.\n",
        "c/kite_mirror.png": pixel,
        "c/no-image.txt": b"Nothing.\n",
        "copyright": b"GPL-2\n",
    }
    for name, content in files.items():
        path = tmp_path / "stamps" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "stamps"


def test_stamps_are_read_in_the_order_of_their_ids(small: Path) -> None:
    probe = stamps(small, ARCHIVE, drop_duplicates=False)
    assert [(pair.id, pair.caption, pair.label) for pair in probe.pairs] == [
        ("a/frog-2", "A  FROG.", "a"),
        ("a/x/frog", "A frog.", "a"),
        ("b/owl", "An owl.", "b"),
    ]
    assert probe.source == "Debian some-stamps 1.0"


def test_repeated_captions_are_dropped_by_default(small: Path) -> None:
    probe = stamps(small, ARCHIVE)
    assert [pair.id for pair in probe.pairs] == ["a/frog-2", "b/owl"]
    assert (probe.counts.read, probe.counts.distinct_captions) == (3, 2)


def test_a_drawing_counts_only_where_there_is_no_png(small: Path) -> None:
    probe = stamps(small, ARCHIVE, svg=True)
    assert [pair.image.name for pair in probe.pairs] == ["frog-2.png", "owl.png", "kite.svg"]
    assert probe.image(2).mode == "RGB"


def test_without_the_folder_the_error_says_how_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(NotHereError, match=r"no stamps in .*task=fetch"):
        stamps(tmp_path / "nothing", ARCHIVE)


def test_a_caption_file_that_is_not_utf8_is_named(small: Path) -> None:
    (small / "b" / "owl.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(VlmatchError, match=r"owl\.txt' is not UTF-8"):
        stamps(small, ARCHIVE)


def test_an_empty_caption_file_is_named(small: Path) -> None:
    (small / "b" / "owl.txt").write_bytes(b"")
    with pytest.raises(VlmatchError, match="the caption of 'b/owl' is empty"):
        stamps(small, ARCHIVE)


def test_the_real_stamps_are_all_there(stamps_folder: Path, archive: Archive) -> None:
    probe = stamps(stamps_folder, archive)
    assert probe.counts.read == 785
    assert probe.counts.kept == probe.counts.distinct_captions == 644
    assert probe.counts.distinct_images == 784
    assert len(set(probe.labels)) == 16
    assert all(".utf8=" not in caption and caption for caption in probe.captions)
    assert stamps(stamps_folder, archive, drop_duplicates=False).counts.kept == 785


def test_the_real_stamps_with_their_drawings(stamps_folder: Path, archive: Archive) -> None:
    probe = stamps(stamps_folder, archive, svg=True)
    assert (probe.counts.read, probe.counts.kept) == (950, 774)


def test_every_real_stamp_opens_and_only_the_white_one_is_blank(stamps_folder: Path, archive: Archive) -> None:
    probe = stamps(stamps_folder, archive)
    blank = [probe.pairs[i].id for i in range(len(probe)) if probe.image(i).getextrema() == ((255, 255),) * 3]
    assert blank == ["naturalforces/lightningbolt"]
