"""Configs inside a config: the whole yamls of the encoders that another encoder is made of."""

import difflib
from collections.abc import Sequence
from typing import Any

from omegaconf import Container, ListConfig, OmegaConf

from vlmatch import paths
from vlmatch.complaints import choices
from vlmatch.errors import VlmatchError


def named_configs(group: str, names: Sequence[str], feature: str = "paper", *, _root_: Container) -> ListConfig:
    """`${vlmatch.configs:encoder,[mobilenetv2]}`: the yamls of these names, resolved as Hydra would have done.

    feature: the feature rule that each is to follow.
    Raises VlmatchError on an unknown name, or one that is itself made of members.
    """
    return ListConfig([_named(group, str(name), feature, _root_) for name in names])


def fused_name(members: Sequence[str] | None) -> str:
    """`${vlmatch.fused:[dinov2_l,siglip]}`: the name of a fusion, fused_dinov2_l+siglip.

    Raises VlmatchError where no members are given.
    """
    if not members:
        raise VlmatchError("encoder=fused wants members; give them: encoder.members=[dinov2_l,siglip]")
    return "fused_" + "+".join(map(str, members))


def _named(group: str, name: str, feature: str, root: Container) -> Any:
    known = choices(group)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"python src/run.py task=check lists every {group}"
        raise VlmatchError(f"{group} '{name}', a part of another one, is unknown; {hint}")
    config = OmegaConf.load(paths.conf() / group / f"{name}.yaml")
    if "members" in config:
        raise VlmatchError(f"{group} '{name}' is itself made of members; name those instead")
    if "feature" in config:
        config.feature = feature
    config._set_parent(root)  # for what its values take from the whole config, such as ${data}
    return OmegaConf.to_container(config, resolve=True)
