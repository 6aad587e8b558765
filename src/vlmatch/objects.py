"""Build what a yaml's `_target_` names, from this package only unless the config allows another by name."""

from collections.abc import Iterator, Mapping
from typing import Any

from vlmatch.errors import VlmatchError


def build(config: Mapping[str, Any], *, allowed: tuple[str, ...] = (), **more: Any) -> Any:
    """Instantiate `config`; every `_target_` in it must start with `vlmatch.` or one of `allowed`.

    A yaml may come from a stranger, and a target is code that runs: Hydra's own list refuses only the worst.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    for target in _targets(config):
        if not target.startswith(("vlmatch.", *allowed)):
            raise VlmatchError(f"_target_='{target}' is not of vlmatch; allow it by name: targets=[{target.split('.')[0]}.]")
    try:
        return instantiate(dict(config), **more)
    except InstantiationException as error:
        if isinstance(error.__cause__, TypeError):
            raise VlmatchError(f"{config.get('name', config['_target_'])}: {error.__cause__}") from error
        if error.__cause__ is not None:
            raise error.__cause__ from None
        raise


def plain(node: Any) -> dict[str, Any]:
    """A node of the config as plain values, interpolations resolved; raises VlmatchError where a value must be given."""
    from omegaconf import OmegaConf

    missing = sorted(f"{node._key()}.{key}" for key in OmegaConf.missing_keys(node))
    if missing:
        raise VlmatchError(f"{missing[0]} has no value and no default; give it: {' '.join(f'{key}=...' for key in missing)}")
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
