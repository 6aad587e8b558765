"""Build what a yaml's `_target_` names, from this package only unless the config allows another by name."""

from collections.abc import Iterator, Mapping
from typing import Any

from vlmatch.errors import VlmatchError

# What takes configs or folders of a stranger's choice, and would allow what they name.
_RUN = ("vlmatch.cli.", "vlmatch.objects.", "vlmatch.tasks.", "vlmatch.vlm.saved.")


def build(config: Mapping[str, Any], *, allowed: tuple[str, ...] = ()) -> Any:
    """Instantiate `config`; every `_target_` in it must be of vlmatch or of one of the `allowed` prefixes.

    A yaml may come from a stranger, and a target is code that runs: Hydra's own list refuses only the worst.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    for target in _targets(config):
        if target.startswith(_RUN):
            raise VlmatchError(f"_target_='{target}' runs something and builds nothing; remove it from the config")
        found(target, allowed)
    try:
        return instantiate(dict(config))
    except InstantiationException as error:
        if isinstance(error.__cause__, TypeError):
            raise VlmatchError(f"{config.get('name', config['_target_'])}: {error.__cause__}") from error
        if error.__cause__ is not None:
            raise error.__cause__ from None
        raise


def version_of(config: Mapping[str, Any], *, allowed: tuple[str, ...] = ()) -> int:
    """The sum of the `version`s of the classes that `config` and its parts name.

    An author raises one when equal settings give other numbers; what has none (a function, say) counts as 0.
    """
    return sum(int(getattr(found(target, allowed), "version", 0)) for target in _targets(config))


def found(target: str, allowed: tuple[str, ...]) -> Any:
    """The class or function of a target; refused where its name, or the module it was defined in, is a stranger's.

    The module counts too: `vlmatch.packages.subprocess.run` has a familiar name. Raises VlmatchError on a refusal.
    """
    from hydra.utils import get_object

    prefixes = ("vlmatch.", *allowed)
    if target.startswith(prefixes):
        named = get_object(target)
        if str(getattr(named, "__module__", "")).startswith(tuple(prefix.rstrip(".") for prefix in prefixes)):
            return named
    module = target.partition(".")[0]
    raise VlmatchError(f"_target_='{target}' is not of vlmatch; allow it by name: targets=[{module}.]")


def plain(node: Any) -> dict[str, Any]:
    """A node of the config as plain values, resolved; raises VlmatchError where a value has still to be given."""
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationToMissingValueError

    try:
        missing = sorted(OmegaConf.missing_keys(node))
    except InterpolationToMissingValueError as error:  # what another value refers to
        missing = [str(error).partition("Missing mandatory value: ")[2].split()[0]]
    if missing:
        given = " ".join(f"{key}=..." for key in missing)
        raise VlmatchError(f"{missing[0]} has no value and no default; give it: {given}")
    return dict(OmegaConf.to_container(node, resolve=True))  # type: ignore[arg-type]


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _targets(value)
