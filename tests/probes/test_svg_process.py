"""Drawings are rendered in processes of their own, which a bad one ends and the next one starts again."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vlmatch.probes import svg
from vlmatch.probes.svg_process import RENDERERS

FRAME = '<svg xmlns="http://www.w3.org/2000/svg" width="512" height="512">{}</svg>'
SMALL = FRAME.format('<circle cx="5" cy="5" r="2" fill="#f00"/>')
ENDLESS = FRAME.format(
    '<filter id="f" x="0" y="0" width="1" height="1">'
    + '<feGaussianBlur stdDeviation="90"/><feMorphology operator="dilate" radius="80"/>' * 400
    + '</filter><rect width="512" height="512" fill="red" filter="url(#f)"/>'
)


def test_a_drawing_is_the_same_as_in_this_process_from_any_thread() -> None:
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(RENDERERS.png, [SMALL.encode()] * 8)) == {svg.rendered(SMALL)}


def test_a_drawing_that_takes_too_long_ends_in_time_and_the_next_one_is_rendered() -> None:
    started = time.perf_counter()
    with pytest.raises(ValueError, match=r"it takes longer than 0\.2 s"):
        RENDERERS.png(ENDLESS.encode(), 0.2)
    assert time.perf_counter() - started < 10
    assert RENDERERS.png(SMALL.encode()) == svg.rendered(SMALL)


@pytest.mark.parametrize(("drawing", "message"), [(b"\xff", "can't decode byte 0xff"), (b"<svg", "unclosed token")])
def test_what_is_no_drawing_is_told_and_ends_nothing(drawing: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RENDERERS.png(drawing)
    assert RENDERERS.png(SMALL.encode())


def test_a_forked_process_has_renderers_of_its_own() -> None:
    RENDERERS.png(SMALL.encode())
    child = os.fork()
    if child == 0:
        os._exit(0 if RENDERERS.png(SMALL.encode()) == svg.rendered(SMALL) else 1)
    assert RENDERERS.png(SMALL.encode()) == svg.rendered(SMALL)
    assert os.waitpid(child, 0)[1] == 0
