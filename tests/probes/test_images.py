"""Images come out RGB, upright and on white, or as one line that names the file."""

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from vlmatch.errors import VlmatchError
from vlmatch.probes.images import SVG_SIDE, ImageError, image_header, open_image


def png(width: int, height: int, pixels: bytes = b"\0", depth: int = 8) -> bytes:
    """A PNG in RGB whose header claims this size and depth; without pixels they never come."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def colour_at(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    """The colour of one pixel."""
    return tuple(int(value) for value in np.asarray(image)[y, x])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA", "L and a transparent grey", "RGB and a transparent one"])
def test_transparent_pixels_become_white(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "x.png"
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    clear.putpixel((0, 0), (0, 0, 0, 255))
    if mode == "P":
        palette = Image.new("P", (4, 4), 0)
        palette.putpalette([0, 0, 0, 0, 0, 0])
        palette.putpixel((0, 0), 1)
        palette.save(path, transparency=0)
    elif " " in mode:
        grey = Image.new("L", (4, 4), 7)
        grey.putpixel((0, 0), 0)
        grey.convert(mode.split(maxsplit=1)[0]).save(path, transparency=7 if mode[0] == "L" else (7, 7, 7))
    elif mode == "PA":
        path = tmp_path / "x.tif"
        clear.convert("LA").save(path)
    else:
        clear.convert(mode).save(path)
    image = open_image(path)
    assert image.mode == "RGB"
    assert colour_at(image, 0, 0) == (0, 0, 0)
    assert colour_at(image, 1, 1) == (255, 255, 255)


def test_half_transparent_black_is_grey(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (0, 0, 0, 128)).save(tmp_path / "x.png")
    assert colour_at(open_image(tmp_path / "x.png"), 0, 0) == (127, 127, 127)


def test_sixteen_bit_greys_keep_their_brightness(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "x.png")
    opened = np.asarray(open_image(tmp_path / "x.png"))[..., 0]
    np.testing.assert_allclose(opened, ramp / 257, atol=0.51)


def test_the_transparent_grey_of_a_sixteen_bit_png_becomes_white(tmp_path: Path) -> None:
    greys = np.full((4, 4), 40000, np.uint16)
    greys[0, 0] = 65535 // 3
    Image.fromarray(greys).save(tmp_path / "x.png", transparency=40000)
    image = open_image(tmp_path / "x.png")
    assert colour_at(image, 1, 1) == (255, 255, 255)
    assert colour_at(image, 0, 0) == (85, 85, 85)


@pytest.mark.parametrize(("kind", "head"), [(b"zTXt", b"workflow\0\0"), (b"iCCP", b"profile\0\0")])
def test_a_png_with_a_long_text_or_colour_profile_is_opened(tmp_path: Path, kind: bytes, head: bytes) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "x.png")
    whole, body = (tmp_path / "x.png").read_bytes(), kind + head + zlib.compress(bytes(3_000_000))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "x.png").write_bytes(whole[:33] + chunk + whole[33:])
    assert colour_at(open_image(tmp_path / "x.png"), 1, 1) == (255, 0, 0)


def test_photographs_are_turned_upright_by_their_exif_orientation(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20), "blue")
    picture.paste("red", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    picture.save(tmp_path / "x.jpg", exif=exif, quality=95)
    image = open_image(tmp_path / "x.jpg")
    assert image.size == (20, 40)
    assert colour_at(image, 10, 5)[0] > 200  # red, the left half, is on top
    assert colour_at(image, 10, 35)[2] > 200


def test_exif_data_that_cannot_be_written_back_still_turn_a_photograph_upright(tmp_path: Path) -> None:
    description = struct.pack("<HHII", 0x010E, 5, 1, 38)  # a text by its tag, stored as a fraction
    orientation = struct.pack("<HHII", 0x0112, 3, 1, 6)
    ifd = struct.pack("<H", 2) + description + orientation + struct.pack("<III", 0, 3, 7)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + ifd
    Image.new("RGB", (40, 20), "blue").save(tmp_path / "x.jpg", exif=exif)
    with Image.open(tmp_path / "x.jpg") as image, pytest.raises(AttributeError):
        ImageOps.exif_transpose(image)
    assert open_image(tmp_path / "x.jpg").size == (20, 40)


def test_unreadable_exif_data_leave_a_photograph_as_it_is(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), "blue").save(tmp_path / "x.jpg", exif=b"Exif\0\0no such data")
    assert open_image(tmp_path / "x.jpg").size == (40, 20)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(
    ("largest", "white"), [(4095, 4095), (2047, 4095), (511, 1023), (1023, 1023), (200, 255), (9000, 16383)]
)
def test_greys_of_fewer_than_sixteen_bits_are_scaled_by_their_own_white(
    tmp_path: Path, suffix: str, largest: int, white: int
) -> None:
    ramp = np.linspace(0, largest, 64).round().astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / f"x.{suffix}")
    opened = np.asarray(open_image(tmp_path / f"x.{suffix}"))[..., 0]
    np.testing.assert_allclose(opened, ramp / white * 255, atol=0.51)


@pytest.mark.parametrize(("dtype", "said"), [("int16", "signed pixels"), ("float32", "floating-point"), ("int32", "")])
def test_pixels_without_an_agreed_white_are_refused_or_scaled(tmp_path: Path, dtype: str, said: str) -> None:
    pixels = np.array([[-5, 70_000]] if dtype == "int32" else [[-5, 900]]).astype(dtype)
    Image.fromarray(np.abs(pixels) if dtype == "int32" else pixels).save(tmp_path / "x.tif")
    with pytest.raises(ImageError, match=rf"x\.tif' can't be decoded .*{said or '32-bit'}"):
        open_image(tmp_path / "x.tif")


def test_a_dark_pgm_stays_dark_because_it_says_what_is_white(tmp_path: Path) -> None:
    (tmp_path / "x.pgm").write_bytes(b"P5 2 1 65535\n" + struct.pack(">HH", 0, 4095))
    assert np.asarray(open_image(tmp_path / "x.pgm"))[0, 1, 0] == 16


@pytest.mark.parametrize(("largest", "visible"), [(4095, False), (65535, True), (0, True)])
def test_twelve_bit_colours_are_refused_because_pillow_drops_their_lower_bits(
    tmp_path: Path, largest: int, visible: bool
) -> None:
    pixels = b"\0" + struct.pack(">3H", largest, largest, largest // 2)
    (tmp_path / "x.png").write_bytes(png(1, 1, pixels, depth=16))
    if visible:
        assert colour_at(open_image(tmp_path / "x.png"), 0, 0)[0] == largest >> 8
    else:
        with pytest.raises(ImageError, match=r"x\.png' can't be decoded .*16-bit colours"):
            open_image(tmp_path / "x.png")


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "YCbCr"])
def test_other_colour_spaces_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (8, 8), "white").convert(mode).save(tmp_path / "x.tif")
    assert colour_at(open_image(tmp_path / "x.tif"), 4, 4) == pytest.approx((255, 255, 255), abs=2)


@pytest.mark.parametrize(
    ("width", "height", "max_pixels", "said"),
    [
        (10000, 6000, 50_000_000, r"10000 x 6000 = 60,000,000 pixels; the limit is 50,000,000\); .*raise probe"),
        (20000, 15000, 400_000_000, r"300000000 pixels\) exceeds limit of 178956970 .*\); shrink it$"),  # Pillow's own
    ],
)
def test_a_huge_image_is_refused_by_its_header_without_being_decoded(
    tmp_path: Path, width: int, height: int, max_pixels: int, said: str
) -> None:
    (tmp_path / "huge.png").write_bytes(png(width, height))
    started = time.perf_counter()
    with pytest.raises(VlmatchError, match=rf"huge\.png' is too large \(.*{said}"):
        open_image(tmp_path / "huge.png", max_pixels)
    assert time.perf_counter() - started < 0.5


def test_a_limit_is_inclusive(tmp_path: Path) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "x.png")
    assert open_image(tmp_path / "x.png", max_pixels=100).size == (10, 10)
    with pytest.raises(VlmatchError, match="10 x 10 = 100 pixels; the limit is 99"):
        open_image(tmp_path / "x.png", max_pixels=99)


@pytest.mark.parametrize("size", [(101, 1), (2, 300)])
def test_a_line_of_pixels_is_refused_before_anything_is_resized(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size).save(tmp_path / "x.png")
    for read in (open_image, image_header):
        with pytest.raises(ImageError, match="one side more than 100 times the other") as caught:
            read(tmp_path / "x.png")
        assert caught.value.reason == "too long"


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ("<g>" * 400 + "</g>" * 400, "nested more than 100 deep"),
        ('<filter id="f"><feTurbulence numOctaves="2000"/></filter>', "numOctaves=2000, the limit is 10"),
        ('<image href="file:///photo.png" width="9" height="9"/>', "it shows another file, 'file:///photo.png'"),
        ('<image xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="/etc/x.png"/>', "another file, '/etc/x.png'"),
    ],
)
def test_a_drawing_that_would_stop_its_renderer_or_show_other_files_is_refused(
    tmp_path: Path, inside: str, said: str
) -> None:
    (tmp_path / "x.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">{inside}</svg>')
    with pytest.raises(ImageError, match=said):
        open_image(tmp_path / "x.svg")


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(VlmatchError, match=r"nothing\.png' is not there"):
        open_image(tmp_path / "nothing.png")


@pytest.mark.parametrize("content", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg"])
def test_what_is_no_image_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    for suffix in (".png", ".svg"):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(content)
        with pytest.raises(VlmatchError, match="can't be") as caught:
            open_image(path)
        assert "\n" not in str(caught.value)


def test_a_pointer_of_git_lfs_is_told_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(ImageError, match=r"it is only Git LFS's pointer to a file\); run 'git lfs pull'"):
        open_image(tmp_path / "x.png")


def test_a_truncated_image_is_refused_rather_than_filled_with_grey(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    for kind in ("PNG", "JPEG", "WEBP"):
        buffer = io.BytesIO()
        noise.save(buffer, kind)
        (tmp_path / "x").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
        with pytest.raises(VlmatchError, match="can't be decoded"):
            open_image(tmp_path / "x")


@settings(max_examples=150)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "AVIF"]),
    mode=st.sampled_from(["RGB", "L"]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
)
def test_damaged_bytes_give_rgb_or_one_line_and_never_another_error(
    tmp_path_factory: pytest.TempPathFactory, kind: str, mode: str, changes: list[tuple[int, int]]
) -> None:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((16, 12)).convert(mode).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    try:
        outcome = open_image(path, max_pixels=1_000_000).mode
    except VlmatchError as error:
        outcome = str(error)
    assert outcome == "RGB" or (outcome.startswith("image '") and "\n" not in outcome)


@pytest.mark.parametrize(("width", "height"), [("100", "20"), ("20pt", "100pt"), ("30mm", "30mm")])
def test_drawings_are_rendered_on_white_with_their_proportions(tmp_path: Path, width: str, height: str) -> None:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 10 10">'
    (tmp_path / "x.svg").write_text(svg + '<circle cx="5" cy="5" r="2" fill="#f00"/></svg>')
    image = open_image(tmp_path / "x.svg")
    assert image.mode == "RGB"
    assert max(image.size) == SVG_SIDE
    assert colour_at(image, 0, 0) == (255, 255, 255)
    assert colour_at(image, image.width // 2, image.height // 2) == (255, 0, 0)


@pytest.mark.parametrize("encoding", ["iso-8859-1", "utf-16", "UTF-8"])
def test_a_drawing_is_read_in_the_encoding_that_it_declares(tmp_path: Path, encoding: str) -> None:
    head = f"<?xml version='1.0' encoding='{encoding}' standalone='no'?>\n"
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><title>é</title><rect fill="#f00" {}/></svg>'
    (tmp_path / "x.svg").write_bytes((head + svg.format('width="9" height="9"')).encode(encoding))
    assert colour_at(open_image(tmp_path / "x.svg"), 9, 9) == (255, 0, 0)


def test_text_in_drawings_is_rendered_without_the_machines_fonts(tmp_path: Path) -> None:
    text = '<text x="5" y="20" font-family="NoSuch">$5</text>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="60" height="30">{text}</svg>'
    (tmp_path / "x.svg").write_text(svg)
    assert np.asarray(open_image(tmp_path / "x.svg")).min() < 64
