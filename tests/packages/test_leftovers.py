"""What interrupted downloads leave behind is found and removed, unless a process works on it."""

import os
from pathlib import Path

import pytest
from filelock import FileLock
from huggingface_hub import constants

from vlmatch import paths
from vlmatch.packages.leftovers import OLD, orphaned_parts, removed
from vlmatch.report.table import terminal
from vlmatch.tasks.check import clear


@pytest.fixture
def parts(empty_caches: Path) -> dict[str, Path]:
    """A part in each of the three caches, each beside a file that is whole."""
    blobs = Path(constants.HF_HUB_CACHE) / "models--org--tiny" / "blobs"
    torch_hub = empty_caches / "torch" / "hub" / "checkpoints"
    package = paths.cache() / "packages" / ".tiny-1.0.part"
    for folder in (blobs, torch_hub, package):
        folder.mkdir(parents=True)
    found = {
        "hub": blobs / "abc.0123abcd.incomplete",
        "torch": torch_hub / "x.pth.0123.partial",
        "package": package / "wheel.whl",
    }
    for name, path in found.items():
        path.write_bytes(bytes(1000))
        path.with_name(f"whole-{name}").write_bytes(bytes(10))
    os.utime(found["torch"], (0, 0))
    return {**found, "package": package}


def test_parts_are_removed_and_whole_files_stay(parts: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert orphaned_parts() == sorted(parts.values())
    clear(terminal())
    assert "removed 3 parts of interrupted downloads (0.1 MB)" in capsys.readouterr().out
    assert not any(part.exists() for part in parts.values())
    assert parts["hub"].with_name("whole-hub").is_file()
    assert parts["torch"].with_name("whole-torch").is_file()
    clear(terminal())
    assert capsys.readouterr().out == ""


def test_what_a_process_works_on_stays(parts: dict[str, Path]) -> None:
    locks = [
        Path(constants.HF_HUB_CACHE) / ".locks" / "models--org--tiny" / "abc.lock",
        paths.cache() / "packages" / "tiny-1.0.lock",
    ]
    for lock in locks:
        lock.parent.mkdir(parents=True, exist_ok=True)
    os.utime(parts["torch"])
    with FileLock(locks[0]), FileLock(locks[1]):
        assert orphaned_parts() == []
    assert orphaned_parts() == sorted([parts["hub"], parts["package"]])
    assert OLD > 0


def test_what_can_not_be_removed_is_named(parts: dict[str, Path]) -> None:
    gone = parts["hub"].with_name("gone.incomplete")
    assert removed([gone]) == (0, [gone])
