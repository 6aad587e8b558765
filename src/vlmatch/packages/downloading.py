"""Downloads from the Hugging Face hub: announce their size first, and let an interrupt end them at once."""

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from vlmatch.errors import VlmatchError

if TYPE_CHECKING:
    from vlmatch.packages.hub import Wanted

AT_ONCE = 8
"""Files at a time: the library's own `snapshot_download` fetches as many."""

log = logging.getLogger(__name__)


def announce(wanted: "Wanted", files: Sequence[Any]) -> None:
    """Log the size of a download before it begins; the library's own bars then show rate and time left.

    files: what the library's dry run gives. Raises VlmatchError if the disk has no room for them.
    """
    from huggingface_hub import constants

    to_come = [each for each in files if each.will_download]
    size = sum(each.file_size or 0 for each in to_come)
    if not to_come:
        return
    cache = Path(constants.HF_HUB_CACHE)
    free = shutil.disk_usage(next(each for each in (cache, *cache.parents) if each.is_dir())).free
    if size > free:
        raise VlmatchError(
            f"{wanted.kind} '{wanted.model}': '{wanted.repository}' takes {size / 1e9:.1f} GB, but '{cache}' has "
            f"{free / 1e9:.1f} GB left; free some, or set HF_HOME to a folder on another disk"
        )
    folder = cache / f"models--{wanted.repository.replace('/', '--')}"
    parts = [path.stat().st_size for path in unfinished(folder)]
    again = f"; {sum(parts) / 1e6:.0f} MB of an interrupted download are fetched again" if parts else ""
    log.warning(
        "%s '%s': fetching %d files, %.1f MB, of '%s' into '%s'%s",
        *(wanted.kind, wanted.model, len(to_come), size / 1e6, wanted.repository, cache, again),
    )


def unfinished(folder: Path) -> list[Path]:
    """Unfinished downloads in the cache, or in one repository of it. The library never resumes one after a kill."""
    return sorted(folder.rglob("*.incomplete"))


def fetch(repository: str, files: Sequence[Any], **options: Any) -> None:
    """Download those of `files` that are not in the cache, several at a time.

    The library's own threads would hold up Ctrl-C and SIGTERM until the hub answers, or for minutes if it is silent.
    These are daemons: they end with the process.

    files: what the library's dry run gives. options: of `hf_hub_download`.
    Raises the error of the first download that fails, and then begins no other download.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]  # exported, but not declared so

    def one(file: Any) -> None:
        hf_hub_download(repository, file.filename, revision=file.commit_hash, **options)

    tqdm.get_lock()  # made at the first call; all threads must use the same one
    _side_by_side(one, [each for each in files if each.will_download])


def _side_by_side(do: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Call `do` on every item in daemon threads, and wait for all of them, or for the first that raises."""
    to_do: SimpleQueue[Any] = SimpleQueue()
    ended: SimpleQueue[BaseException | None] = SimpleQueue()
    for item in items:
        to_do.put(item)

    def work() -> None:
        while (item := _next(to_do)) is not None:
            try:
                do(item)
                ended.put(None)
            except BaseException as error:
                ended.put(error)

    for _ in range(min(AT_ONCE, len(items))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in items:
            error = ended.get()
            if error is not None:
                raise error
    finally:
        while _next(to_do) is not None:
            pass


def _next(queue: "SimpleQueue[Any]") -> Any:
    """The next item; None if there is none left."""
    try:
        return queue.get_nowait()
    except Empty:
        return None
