"""Parts of interrupted downloads: no library resumes them, so they only fill the disk."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from vlmatch import paths

OLD = 3600  # seconds without a change, after which a part that nobody locks counts as left behind


def orphaned_parts() -> list[Path]:
    """Files and folders of interrupted downloads that no process is working on: the hub's, torch hub's and ours."""
    return sorted([*_of_the_hub(), *_of_torch_hub(), *_of_packages()])


def removed(parts: list[Path]) -> tuple[int, list[Path]]:
    """Remove these parts; returns how many bytes this freed, and the parts that could not be removed."""
    freed, kept = 0, []
    for part in parts:
        try:
            size = _size(part)
            shutil.rmtree(part) if part.is_dir() else part.unlink()
            freed += size
        except OSError:
            kept.append(part)
    return freed, kept


def _of_the_hub() -> Iterator[Path]:
    """Parts in Hugging Face's cache. It locks a file, by the file's ETag, while it downloads it."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    for part in cache.glob("*--*/blobs/*.incomplete"):
        etag = part.name.partition(".")[0]
        if _is_free(cache / ".locks" / part.parent.parent.name / f"{etag}.lock"):
            yield part


def _of_torch_hub() -> Iterator[Path]:
    """Old parts in torch hub's cache; it has no locks that would show which downloads still run."""
    import torch.hub

    for part in Path(torch.hub.get_dir(), "checkpoints").glob("*.partial"):
        if time.time() - part.stat().st_mtime > OLD:
            yield part


def _of_packages() -> Iterator[Path]:
    """Folders in which a package was being unpacked; its lock lies beside it."""
    for part in (paths.cache() / "packages").glob(".*.part"):
        if _is_free(part.with_name(f"{part.name.removeprefix('.').removesuffix('.part')}.lock")):
            yield part


def _is_free(lock: Path) -> bool:
    """Whether no process holds a lock file."""
    if not lock.exists():
        return True
    try:
        with FileLock(lock, timeout=0):
            return True
    except (Timeout, OSError):
        return False


def _size(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    return sum(file.lstat().st_size for file in (path.rglob("*") if path.is_dir() else [path]))
