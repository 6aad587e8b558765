"""Files that are read once and again after a change, and written whole or not at all."""

import errno
import os
import time
from pathlib import Path

import pytest

from vlmatch.files import SETTLED, is_folder_name, remembering, renamed
from vlmatch.messages import user_message

LONG_AGO = time.time() - 10 * SETTLED


def written(path: Path, text: str, at: float) -> None:
    path.write_text(text)
    os.utime(path, (at, at))


def test_a_file_is_read_again_only_after_a_change(tmp_path: Path) -> None:
    read: list[str] = []

    @remembering
    def text_of(path: Path) -> str:
        read.append(path.name)
        return path.read_text()

    path = tmp_path / "a"
    written(path, "one", LONG_AGO)
    assert [text_of(path), text_of(path)] == ["one", "one"]
    assert read == ["a"]
    written(path, "two", LONG_AGO + 1)
    assert text_of(path) == "two"
    with renamed(path) as temporary:
        written(temporary, "six", LONG_AGO + 1)  # same size and time, another file
    assert text_of(path) == "six"
    assert len(read) == 3


def test_a_file_modified_just_now_is_not_remembered(tmp_path: Path) -> None:
    text_of = remembering(Path.read_text)
    path = tmp_path / "a"
    now = time.time()
    written(path, "one", now)
    assert text_of(path) == "one"
    written(path, "two", now)
    assert text_of(path) == "two"


def test_two_that_write_one_file_at_once_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with renamed(path) as one:
        one.write_text("the first half")
        with renamed(path) as two:
            two.write_text("other")
        assert path.read_text() == "other"
        with one.open("a") as file:
            file.write(", the second half")
    assert path.read_text() == "the first half, the second half"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_a_missing_file_is_left_to_the_reader(tmp_path: Path) -> None:
    exists = remembering(Path.exists)
    assert not exists(tmp_path / "a")
    (tmp_path / "a").touch()
    assert exists(tmp_path / "a")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError('I/O error: Os { code: 28, kind: StorageFull, message: "No space left on device" }'),
    ],
)
def test_a_disk_that_fills_up_while_a_file_is_written_names_it_and_keeps_the_file_before(
    tmp_path: Path, error: Exception
) -> None:
    path = tmp_path / "store" / "a"
    path.parent.mkdir()
    path.write_text("before")
    with pytest.raises(OSError, match="No space left") as caught, renamed(path):
        raise error
    line = user_message(caught.value, [f"store={path.parent}"])
    assert line == f"{path}: the disk is full; free some space, or give another place: store=FOLDER"
    assert [each.name for each in path.parent.iterdir()] == ["a"]
    assert path.read_text() == "before"


@pytest.mark.parametrize(
    ("name", "safe"),
    [("vlm_a+b", True), ("1", True), ("größe", False), ("_a", False), ("../a", False), ("a" * 201, False)],
)
def test_a_name_of_letters_digits_and_four_signs_can_name_a_folder(name: str, safe: bool) -> None:
    assert is_folder_name(name) == safe
