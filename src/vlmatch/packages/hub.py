"""The Hugging Face hub, for encoders, LLMs and datasets alike: its cache first, then one quick attempt to reach it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from vlmatch import paths
from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.files import is_lfs_pointer, joint_sha256, sha256_of_file, without_pipes
from vlmatch.machine.disk import faults_as
from vlmatch.machine.network import require_network
from vlmatch.packages.downloading import announce, fetch
from vlmatch.secrets import masked_addresses

SECONDS_TO_ANSWER = 3
_KEYS = {"encoder": "encoder.checkpoint", "llm": "llm.repository", "probe": "probe.path"}
# What an answer of the hub means, by its HTTP status, or by the status rounded down to hundreds.
_MEANINGS = {
    401: "wants a login: 'hf auth login'",
    403: "refuses access: log in with 'hf auth login', or check the rights of your token",
    404: "lacks a file of the model: check the repository's name",
    429: "has had too many requests from here: wait some minutes, or log in with 'hf auth login'",
    500: "is out of order: try again later",
}
_SEARCHED = 1000  # files among which a pointer of Git LFS is looked for
_SHA256 = 64  # digits: the cache names large files by their SHA-256


@dataclass(frozen=True)
class Wanted:
    """Weights that a model needs from the hub, or a probe's dataset.

    kind, model: 'encoder', 'llm' or 'probe', and its name. weights: the name of what is wanted, for messages.
    repository: its repository on the hub. place: an example of a local place to give instead.
    """

    kind: str
    model: str
    weights: str
    repository: str
    place: str = "/path/model.safetensors"

    def not_here(self, why: str) -> NotHereError:
        """The error that says why the weights are not available, and how to get them."""
        kind = {"encoder": "encoder", "llm": "LLM"}.get(self.kind)
        packaged = f", or choose a packaged {kind} ({paths.program()} task=check)" if kind else ""
        return NotHereError(f"{self.what} not here: {why}; give {_KEYS[self.kind]}={self.place}{packaged}")

    @property
    def what(self) -> str:
        """What is wanted and by whom, with its verb: the start of a message."""
        things = "data" if self.kind == "probe" else "weights"
        return f"{self.kind} '{self.model}': {things} '{self.weights}' are"


def hub_file(wanted: Wanted, filenames: Sequence[str]) -> Path:
    """The first of `filenames` that the hub's repository has; a cached one needs no network.

    Raises NotHereError within seconds if nothing is cached and the hub can't be reached or refuses, or if offline=true
    or HF_HUB_OFFLINE is set.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    for filename in filenames:
        if cached := cached_file(wanted.repository, filename):
            return cached
    require_hub(wanted)
    with _refusals(wanted):
        for filename in filenames:
            try:
                listed = [hf_hub_download(wanted.repository, filename, dry_run=True)]
            except RemoteEntryNotFoundError:
                continue
            announce(wanted, listed)
            fetch(wanted.repository, listed)
            return Path(hf_hub_download(wanted.repository, filename))  # it is in the cache
    raise wanted.not_here(f"'{wanted.repository}' on the hub has none of {', '.join(filenames)}")


def hub_folder(
    wanted: Wanted, files: Sequence[str], weights: Sequence[str], is_whole: Callable[[Path], bool], ignored: Any = None
) -> Path:
    """The folder of a repository that holds a whole model, from the cache or the hub.

    files: patterns of the files to download beside the weights. weights: patterns of weight files; the first one that
    matches files of the repository is used. is_whole: whether a folder has all that is needed; an earlier download may
    have been interrupted. ignored: patterns of files that are never downloaded.
    Raises NotHereError as `hub_file` does.
    """
    from huggingface_hub import snapshot_download

    cached = cached_snapshot(wanted)
    if cached and is_whole(cached):
        return cached
    require_hub(wanted, "their copy in the cache is not complete, and " if cached else "")
    for pattern in weights:
        options = {"allow_patterns": [*files, pattern], "ignore_patterns": ignored}
        with _refusals(wanted):
            listed = snapshot_download(wanted.repository, dry_run=True, **options)
            announce(wanted, listed)
            fetch(wanted.repository, listed)
            folder = Path(snapshot_download(wanted.repository, **options))  # all of it is in the cache
        if list(folder.glob(pattern)):
            return folder
    raise wanted.not_here(f"the repository has no {' or '.join(weights)}")


def hub_dataset(wanted: Wanted, revision: str | None = None) -> Path:
    """The folder of a repository of data, whole, from the cache or the hub.

    revision: a branch, tag or commit; None: the newest, or what is in the cache.
    Raises NotHereError as `hub_file` does.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError

    options: dict[str, Any] = {"repo_type": "dataset", "revision": revision}
    because = ""
    try:
        return Path(snapshot_download(wanted.repository, local_files_only=True, **options))
    except IncompleteSnapshotError:
        because = "their copy in the cache is not complete, and "
    except OSError:
        pass
    require_hub(wanted, because)
    with _refusals(wanted):
        listed = snapshot_download(wanted.repository, dry_run=True, **options)
        announce(wanted, listed)
        fetch(wanted.repository, listed, repo_type="dataset")
        return Path(snapshot_download(wanted.repository, **options))


def named_folder(wanted: Wanted, key: str) -> Path | None:
    """The folder that `repository` names if it is a path; None if it is a hub id.

    key: of the setting, for the message. Raises NotHereError if it is not a folder, VlmatchError if it holds a pipe.
    """
    path = Path(wanted.repository).expanduser()
    if path.is_dir():
        return without_pipes(f"{wanted.kind} '{wanted.model}'", path)
    if is_path(wanted.repository):
        raise NotHereError(
            f"{wanted.kind} '{wanted.model}': {key}={wanted.repository} is not a folder; give the path of one, or "
            "a name on the hub, such as owner/name"
        )
    return None


def is_path(repository: str) -> bool:
    """Whether `repository` is the path of a folder, which may not exist, rather than a hub id."""
    return repository.startswith(("/", ".", "~")) or repository.count("/") > 1 or Path(repository).is_dir()


def cached_file(repository: str, filename: str) -> Path | None:
    """The path of a file in the hub's cache on this machine; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(repository, filename)
    return Path(cached) if isinstance(cached, str) else None


def cached_snapshot(wanted: Wanted) -> Path | None:
    """The folder of a repository in the cache, which may lack files; None if there is none.

    Raises NotHereError if the repository's name is not a valid hub id.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, IncompleteSnapshotError

    try:
        return Path(snapshot_download(wanted.repository, local_files_only=True))
    except IncompleteSnapshotError as error:  # it lacks some file of the repository, perhaps one that is not needed
        return Path(error.snapshot_path)
    except HFValidationError as error:
        raise NotHereError(
            f"{wanted.kind} '{wanted.model}': '{wanted.repository}' is neither a folder nor a hub id; give one, such "
            f"as {wanted.place}"
        ) from error
    except OSError:
        return None


def require_hub(wanted: Wanted, because: str = "") -> None:
    """Raise NotHereError unless the hub answers within `SECONDS_TO_ANSWER`; one attempt, no retries.

    because: why the hub is needed, for the message.
    """
    from huggingface_hub import constants, get_session, is_offline_mode

    require_network(wanted.what, f"give {_KEYS[wanted.kind]}={wanted.place}")
    if is_offline_mode():
        raise wanted.not_here(f"{because}HF_HUB_OFFLINE is set")
    try:  # the library's own session has its proxy and certificates; an error page is an answer too
        get_session().head(constants.ENDPOINT, timeout=SECONDS_TO_ANSWER)
    except Exception as error:  # the errors of its network library differ between versions
        address = masked_addresses(constants.ENDPOINT)
        reason = one_line(error)[:160]
        raise wanted.not_here(f"{because}the hub can't be reached at HF_ENDPOINT={address} ({reason})") from error


def _refusals(wanted: Wanted) -> AbstractContextManager[None]:
    """Turn whatever a download raises into NotHereError: the errors of its network library differ between versions."""
    return faults_as(lambda error: wanted.not_here(refusal(error)))


def refusal(error: Exception) -> str:
    """What the hub's refusal means, and what to do about it."""
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    causes = [error, error.__cause__, error.__context__]
    if any(isinstance(each, GatedRepoError) for each in causes):
        return "the repository is gated: accept its licence on its page, log in with 'hf auth login', and try again"
    if any(isinstance(each, RepositoryNotFoundError) for each in causes):
        return "the hub has no such repository, or shows it only to those who log in ('hf auth login')"
    status = next((code for each in causes if (code := _status(each)) is not None), None)
    if status is not None and (meaning := _MEANINGS.get(status) or _MEANINGS.get(status // 100 * 100)):
        return f"the hub {meaning} ({status})"
    if isinstance(error, LocalEntryNotFoundError):
        return "the hub can't be reached"
    return f"the hub refuses: {one_line(error)[:160]}"


def _status(error: BaseException | None) -> int | None:
    """The HTTP status of an answer, if an error carries one."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def weights_sha256(kind: str, model: str, files: Sequence[Path]) -> str:
    """SHA-256 of a model's weight files; several are joined in this order by `joint_sha256`.

    The cache names large files by their SHA-256, so a changed file is found. Raises VlmatchError if a file has changed,
    with how to fetch it again; OSError if a file can't be read.
    """
    with ThreadPoolExecutor(max_workers=4) as readers:
        digests = list(readers.map(sha256_of_file, files))
    for file, digest in zip(files, digests, strict=True):
        name = file.resolve().name
        if in_cache(file) and len(name) == _SHA256 and name != digest:
            raise VlmatchError(
                f"{kind} '{model}': '{file}' has changed since it was fetched; it is not used. {fetch_again(file)}"
            )
    return joint_sha256(digests)


def in_cache(path: Path) -> bool:
    """Whether a path lies in the hub's cache."""
    from huggingface_hub import constants

    return path.absolute().is_relative_to(Path(constants.HF_HUB_CACHE).absolute())


def fetch_again(path: Path) -> str:
    """What to do about a damaged file or folder: in the hub's cache, remove the repository; else, copy it again."""
    from huggingface_hub import constants

    files = islice(path.rglob("*"), _SEARCHED) if path.is_dir() else [path]
    if pointer := next((file for file in files if is_lfs_pointer(file)), None):
        return f"run 'git lfs pull' there, since '{pointer.name}' is only Git LFS's pointer to a file"
    if not in_cache(path):
        return "copy or download it again"
    repository = path.absolute().relative_to(Path(constants.HF_HUB_CACHE).absolute()).parts[0]
    return f"remove '{Path(constants.HF_HUB_CACHE) / repository}' and run the same command: it is fetched again"
