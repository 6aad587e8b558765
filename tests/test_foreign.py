"""The boundaries of models: whatever their code raises is one line that names the model."""

import errno
from pathlib import Path

import pytest
from PIL import Image

import misbehaving
from misbehaving import compute
from vlmatch.embeddings.store import Store
from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.foreign import model_faults
from vlmatch.objects import admitted
from vlmatch.probes.pairs import ProbeSet
from vlmatch.settings.buildable import EncoderSettings

ANY = [AttributeError("no\nattribute"), ValueError("x"), KeyError("x"), TypeError("x"), RuntimeError("x"), OSError("x")]


class Unloadable(misbehaving.Thumbnail):
    """Fails where it is built."""

    def __init__(self, name: str) -> None:
        raise ANY[0]


class Unprepared(misbehaving.Thumbnail):
    """Fails at every image."""

    def prepare(self, image: Image.Image) -> None:
        raise ANY[1]


@pytest.mark.parametrize("error", ANY)
def test_whatever_a_model_raises_is_one_line_with_its_cause(error: Exception) -> None:
    line = r"^llm 'x': loading it failed \(.*Error.*\); do this$"
    with pytest.raises(VlmatchError, match=line) as caught, model_faults("llm", "x", "loading it", "do this"):
        raise error
    assert caught.value.__cause__ is error


def test_our_own_lines_and_those_of_a_disk_pass_and_memory_is_told() -> None:
    for error in (NotHereError("y"), OSError(errno.ENOSPC, "No space left on device")):
        with pytest.raises(type(error)) as caught, model_faults("llm", "x", "loading it", "do this"):
            raise error
        assert caught.value is error
    line = "out of memory while loading it; choose"
    with pytest.raises(VlmatchError, match=line), model_faults("llm", "x", "loading it", "do this"):
        raise MemoryError


def test_loading_and_preparing_are_such_boundaries(pictures: ProbeSet, tmp_path: Path) -> None:
    with admitted("test_foreign."), pytest.raises(VlmatchError, match=r"encoder 't': loading it failed \(AttributeE"):
        EncoderSettings.of("encoder", {"_target_": "test_foreign.Unloadable", "name": "t"}).build()
    with admitted("test_foreign."), pytest.raises(VlmatchError, match=r"preparing 'red_ellipse.*failed \(ValueError"):
        compute({"_target_": "test_foreign.Unprepared", "name": "t"}, pictures, Store(tmp_path))
