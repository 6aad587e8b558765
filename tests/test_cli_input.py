"""Pictures, stores and embeddings that can't be used are one line on the command line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EMBED = ("task=embed", "task.side=encoder")


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("vlmatch: ")]


def test_a_store_that_can_not_be_written_is_told_with_the_setting_that_names_another(
    cli, tmp_path: Path, picture_folder: Path
) -> None:
    (tmp_path / "store").touch()
    code, _, stderr = cli("probe=folder", f"probe.path={picture_folder}", "encoder=pixels16", *EMBED)
    assert code == 2
    (line,) = lines(stderr)
    assert "a file stands where a folder is needed" in line
    assert "store=FOLDER" in line


PNG_OF_300_MEGAPIXELS = (
    bytes.fromhex("89504e470d0a1a0a0000000d49484452")
    + (20000).to_bytes(4)
    + (15000).to_bytes(4)
    + bytes([8, 2, 0, 0, 0])
)


def captions(text: str):
    return lambda folder: (folder / "captions.csv").write_text(text)


@pytest.mark.parametrize(
    ("break_it", "part"),
    [
        (lambda folder: (folder / "red_ellipse.png").unlink(), "red_ellipse.png"),
        (lambda folder: (folder / "red_ellipse.png").write_bytes(b"no image"), "red_ellipse.png"),
        (
            captions("image,caption\nred_ellipse.png,\nblue_ellipse.png,Blue.\n"),
            "the caption of 'red_ellipse.png' is empty",
        ),
        (captions("image,caption\nred_ellipse.png,A red one.\n"), "1 pair left"),
        (captions("id,image,caption\n1,red_ellipse.png,Red.\n1,blue_ellipse.png,Blue.\n"), "id '1' appears twice"),
    ],
)
def test_a_bad_probe_is_one_line(cli, picture_folder: Path, break_it, part: str) -> None:
    break_it(picture_folder)
    code, _, stderr = cli("probe=folder", f"probe.path={picture_folder}", "encoder=pixels16", *EMBED)
    assert code == 2
    (line,) = lines(stderr)
    assert part in line


def test_a_300_megapixel_image_is_refused_before_it_is_decoded(cli, picture_folder: Path) -> None:
    import zlib

    header = PNG_OF_300_MEGAPIXELS[8 + 4 :]
    crc = zlib.crc32(header).to_bytes(4)
    (picture_folder / "red_ellipse.png").write_bytes(PNG_OF_300_MEGAPIXELS + crc)
    code, _, stderr = cli("probe=folder", f"probe.path={picture_folder}", "encoder=pixels16", *EMBED)
    assert code == 2
    (line,) = lines(stderr)
    assert "red_ellipse.png" in line
    assert "20000" in line or "300" in line


def test_identical_pictures_are_refused_as_a_constant_geometry(cli, picture_folder: Path) -> None:
    for number, path in enumerate(sorted(picture_folder.glob("*.png"))):
        Image.new("RGB", (40, 32), "white").save(path, pnginfo=_note(number))
    code, _, stderr = cli("probe=folder", f"probe.path={picture_folder}", "encoder=mean_colour", "llm=smollm2")
    assert code == 2
    (line,) = lines(stderr)
    assert "constant" in line


def _note(number: int):
    from PIL.PngImagePlugin import PngInfo

    note = PngInfo()
    note.add_text("number", str(number))  # other bytes, same picture: not dropped as a repeated image
    return note


def test_a_store_that_cannot_be_written_is_one_line(cli, picture_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file, not a folder")
    code, _, stderr = cli("probe=folder", f"probe.path={picture_folder}", "encoder=pixels16", *EMBED)
    assert code == 2
    assert len(lines(stderr)) == 1


ROWS = np.arange(24, dtype=np.float32).reshape(12, 2)


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        (ROWS[1:], ["11 rows", "12 pairs"]),
        (ROWS[0], ["(2,)"]),
        (np.where(ROWS == 3, np.nan, ROWS), ["NaN", "red_rectangle.png"]),
        (ROWS.astype(object), ["mine.npy"]),
    ],
)
def test_embeddings_from_elsewhere_that_do_not_fit_are_one_line(
    cli, picture_folder: Path, tmp_path: Path, rows: np.ndarray, parts: list[str]
) -> None:
    np.save(tmp_path / "mine.npy", rows, allow_pickle=True)
    given = ("encoder=precomputed", f"encoder.path={tmp_path}/mine.npy")
    code, _, stderr = cli("probe=folder", f"probe.path={picture_folder}", *given, *EMBED)
    assert code == 2
    (line,) = lines(stderr)
    assert all(part in line for part in ("encoder 'mine'", *parts))


def test_embeddings_from_elsewhere_are_stored_under_their_files_name(cli, picture_folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", ROWS)
    given = ("encoder=precomputed", f"encoder.path={tmp_path}/mine.npy")
    code, out, _ = cli("probe=folder", f"probe.path={picture_folder}", *given, *EMBED)
    assert code == 0
    assert "encoder 'mine': 12 x 2" in out
    code, _, stderr = cli("encoder=precomputed", *EMBED)
    assert code == 2
    assert "encoder.path" in lines(stderr)[0]
