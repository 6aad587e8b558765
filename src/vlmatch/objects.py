"""Build what a yaml's `_target_` names: only what is marked as buildable, since a yaml may come from a stranger.

A target is code that runs. vlmatch's own are built only if they are classes below `Buildable`, or functions marked by
`@buildable`; all else in the package, such as a function that writes files, is refused. A module of the user's own is
admitted by name (`targets=[mine.]`), whatever it holds.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from vlmatch.arguments import BUILT, require_arguments
from vlmatch.errors import VlmatchError
from vlmatch.machine.waiting import waiting

OWN = ("vlmatch.", "vlmatch_study.")
HYDRAS = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")
"""Hydra's own keys, which are not arguments."""

_BUILDABLE, _TASK = "_vlmatch_buildable", "_vlmatch_task"
_admitted: tuple[str, ...] = ()

F = TypeVar("F", bound=Callable[..., Any])


class Buildable:
    """Base of the classes that a yaml may name: encoders, LLMs, scores, data sources and their like."""


def buildable(function: F) -> F:
    """Mark a function that a yaml may name by `_target_`; it must do no more than return a value."""
    setattr(function, _BUILDABLE, True)
    return function


def task(function: F) -> F:
    """Mark the function of a task: `task._target_` may name it, and no other `_target_` may."""
    setattr(function, _TASK, True)
    return function


def admit(prefixes: Sequence[str]) -> None:
    """From now on, also build anything in modules whose names start with one of `prefixes`, the config's `targets`."""
    global _admitted  # noqa: PLW0603 - one setting of the process, as a logging level is
    _admitted = tuple(prefixes)


def prefixes_in(targets: Any) -> tuple[str, ...]:
    """The config's `targets`. Raises VlmatchError if it is one text, because each letter would become a prefix."""
    if isinstance(targets, str):
        raise VlmatchError(f"targets='{targets}'; wanted a list: targets=[{targets}]")
    return tuple(map(str, targets or ()))


@contextmanager
def admitted(*prefixes: str) -> Iterator[None]:
    """Inside the block, also build anything in modules whose names start with one of `prefixes`."""
    before = _admitted
    admit((*before, *prefixes))
    try:
        yield
    finally:
        admit(before)


def build(config: Mapping[str, Any], key: str | None = None) -> Any:
    """Instantiate `config`, and every part of it that has a `_target_`.

    key: the place of `config` in the whole config, for messages.
    Raises VlmatchError if a target is not buildable, or does not take the arguments given.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    where = key or str(config.get("name") or config["_target_"].rpartition(".")[2])
    require_buildable(config, where)
    named = f"{key} '{config['name']}'" if key and config.get("name") else where
    try:
        with waiting(named, "its weights or data are being read"):
            return instantiate(dict(config))
    except InstantiationException as error:
        if isinstance(error.__cause__, TypeError):
            raise VlmatchError(f"{where}: {error.__cause__}") from error
        if error.__cause__ is not None:
            raise error.__cause__ from None
        raise


def require_buildable(config: Mapping[str, Any], where: str) -> None:
    """Raise VlmatchError unless each target in `config` may be built and takes its arguments; nothing is built."""
    nodes = [(path, node, target_named(str(node["_target_"]))) for path, node in _nodes(config, where)]
    for path, node, target in nodes:
        own = {name: BUILT if any(_nodes(value)) else value for name, value in node.items() if name not in HYDRAS}
        require_arguments(path, target, own, partial=bool(node.get("_partial_") or node.get("_args_")))


def version_of(config: Mapping[str, Any]) -> int:
    """The sum of the `version`s of the classes that `config` and its parts name.

    An author raises the version of a class when equal settings give other numbers. A target without a version counts
    as 0.
    """
    return sum(int(getattr(target_named(str(node["_target_"])), "version", 0)) for _, node in _nodes(config))


def target_named(target: str) -> Any:
    """The class or function of a target. Raises VlmatchError unless it may be built."""
    named = _imported(target)
    own_class = isinstance(named, type) and issubclass(named, Buildable)
    if own_class or getattr(named, _BUILDABLE, False) or _starts(target, named, _admitted):
        return named
    raise VlmatchError(
        f"_target_='{target}' can't be built from a yaml: it is neither a class below vlmatch.objects.Buildable "
        "(Encoder, Score, ...) nor a function marked @buildable"
    )


def task_named(target: str) -> Callable[[Any], Any]:
    """The function of a task. Raises VlmatchError unless it is marked as one."""
    named = _imported(target)
    if not (getattr(named, _TASK, False) or _starts(target, named, _admitted)):
        raise VlmatchError(f"task._target_='{target}' is not a task; choose one by task=NAME")
    return named


def plain(node: Any) -> dict[str, Any]:
    """A node of the config as plain values, resolved; raises VlmatchError if a value is still missing."""
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationToMissingValueError

    try:
        missing = sorted(OmegaConf.missing_keys(node))
    except InterpolationToMissingValueError as error:  # another value refers to the missing one
        missing = [str(error).partition("Missing mandatory value: ")[2].split()[0]]
    if missing:
        given = " ".join(f"{key}=..." for key in missing)
        raise VlmatchError(f"{missing[0]} has no value and no default; give it: {given}")
    return dict(OmegaConf.to_container(node, resolve=True))  # type: ignore[arg-type]


def _imported(target: str) -> Any:
    """What a target names; its module is imported only if it is ours or admitted, since importing runs its code.

    The module where the object was defined counts too: `vlmatch.packages.package.subprocess.run` only looks like ours.
    """
    prefixes = (*OWN, *_admitted)
    if not target.startswith(prefixes):
        raise _stranger(target)
    named = _located(target)
    if not _starts(target, named, prefixes):
        raise _stranger(target)
    return named


def _located(target: str) -> Any:
    """The object at a dotted path: the longest part of it that is a module, then attributes."""
    parts = target.split(".")
    for end in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:end])
        try:
            named = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and not f"{name}.".startswith(f"{error.name}."):
                raise  # the module is there, and imports one that is not
            continue
        try:
            for part in parts[end:]:
                named = getattr(named, part)
        except AttributeError:
            break
        return named
    raise VlmatchError(f"_target_='{target}' does not exist: check its spelling, and that its package is installed")


def _starts(target: str, named: Any, prefixes: tuple[str, ...]) -> bool:
    """Whether both the name and the module of definition start with one of the prefixes."""
    module = f"{getattr(named, '__module__', '')}."
    return bool(prefixes) and target.startswith(prefixes) and module.startswith(prefixes)


def _stranger(target: str) -> VlmatchError:
    module = target.partition(".")[0]
    return VlmatchError(f"_target_='{target}' is not part of vlmatch; if you trust it, allow it: targets=[{module}.]")


def _nodes(node: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every part of a config that has a `_target_`, with its path."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield path, node
        for name, value in node.items():
            yield from _nodes(value, f"{path}.{name}")
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from _nodes(value, f"{path}.{number}")
