"""The yamls of all config folders: list the names of a group, find a yaml by its name, and compose the config."""

import csv
import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import Container, DictConfig, ListConfig, OmegaConf

from vlmatch import paths
from vlmatch.errors import VlmatchError, enumerated, one_line
from vlmatch.machine.dtypes import fast_dtype

OPTIONAL = ("split", "recipe", "benchmark")  # config groups whose default only a checkout has
NOT_GLOBAL = (
    "conf/local/default.yaml has no effect, because its first line is not '# @package _global_'; put that line first"
)
MAPPING = "encoders.csv"  # beside published tables: the name of our yaml for each encoder in them
POOL_GROUPS = ("others", "heads", "from_scratch", "controls")  # the groups of encoders in conf/pool.yaml


def choices(group: str) -> list[str]:
    """The names that a config group offers, over all config folders, sorted."""
    return sorted({path.stem for folder in paths.conf_folders() for path in (folder / group).glob("*.yaml")})


def groups() -> list[str]:
    """The names of all config groups, sorted."""
    return sorted(
        {path.name for folder in paths.conf_folders() if folder.is_dir() for path in folder.iterdir() if path.is_dir()}
    )


def yaml_path(group: str, name: str) -> Path:
    """The path of this yaml in the first config folder that has it. Raises VlmatchError if none has it."""
    for folder in paths.conf_folders():
        if (path := folder / group / f"{name}.yaml").is_file():
            return path
    raise VlmatchError(unknown_choice(group, name))


def unknown_choice(group: str, name: str) -> str:
    """The line for a name that a config group does not offer: it suggests the nearest names."""
    if group.startswith("hydra/"):
        return f"{group}='{name}' is unknown; install its Hydra plugin, for example by vlmatch[slurm] or vlmatch[ray]"
    return f"{group}='{name}' is unknown; {nearest(name, choices(group))}"


def require_choices(overrides: Sequence[str]) -> None:
    """Raise VlmatchError on an override that chooses an unknown name in an optional group, which Hydra would skip."""
    for override in overrides:
        group, _, name = override.partition("=")
        if group in OPTIONAL and name != "null" and name not in choices(group):
            raise VlmatchError(unknown_choice(group, name))


def words(overrides: ListConfig) -> list[str]:
    """The overrides as they were typed. Reading a single item would resolve it, such as `${oc.env:PASSWORD}`."""
    return list(map(str, cast("list[Any]", OmegaConf.to_container(overrides, resolve=False))))


def damaged_yaml() -> str | None:
    """The first yaml of the config folders that can't be parsed, with the place and the reason; None if all can."""
    for folder in paths.conf_folders():
        for path in sorted(folder.rglob("*.yaml")):
            try:
                yaml.safe_load(path.read_text(encoding="utf-8"))
            except UnicodeDecodeError as error:
                line = path.read_bytes()[: error.start].count(b"\n") + 1
                return f"'{path}', line {line}: it is not UTF-8 ({error.reason})"
            except yaml.YAMLError as error:
                return f"'{path}'{yaml_reason(error)}"
    return None


def yaml_reason(error: yaml.YAMLError) -> str:
    """The line and the reason of a yaml error, for a message."""
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or error
    return f"{f', line {mark.line + 1}' if mark else ''}: {one_line(reason)}"


def nearest(name: str, valid: Sequence[str]) -> str:
    """A suggestion: the names in `valid` that resemble `name`, else the first of `valid`."""
    near = difflib.get_close_matches(name, valid, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"choose one of {enumerated(valid)}" if valid else "no config folder has any yaml in this group"


def composed(*overrides: str) -> DictConfig:
    """The whole config that a command with these overrides would have, for the Python API, notebooks and tests."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    require_choices(overrides)
    register_search_path()
    if GlobalHydra.instance().is_initialized():
        return compose("config", list(overrides))
    with initialize_config_dir(str(paths.conf()), version_base="1.3"):
        return compose("config", list(overrides))


def chosen(group: str, name: str) -> DictConfig:
    """The yaml of this name, merged with the yamls in its defaults list, as `group=name` would choose it.

    Raises VlmatchError if no config folder has it.
    """
    loaded = OmegaConf.load(yaml_path(group, name))
    found = composed(f"{group}={name}")[group] if "defaults" in loaded else loaded
    assert isinstance(found, DictConfig)  # noqa: S101 - for mypy
    return found


def register_search_path() -> None:
    """Let Hydra look for yamls in all of `paths.conf_folders()`, not only in the first."""
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    class ConfigFolders(SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for folder in paths.conf_folders()[1:]:
                search_path.append("vlmatch", f"file://{folder}")

    if not any(each.__name__ == ConfigFolders.__name__ for each in Plugins.instance().discover(SearchPathPlugin)):
        Plugins.instance().register(ConfigFolders)


def pool(part: str) -> list[str]:
    """The members of a part of the pool (`conf/pool.yaml`), in the order in which a sweep takes them.

    part: 'encoders' (all), 'first_run' (the encoders of `make run`), 'llms', or a group of encoders: 'others',
    'heads', 'from_scratch' or 'controls'; or 'new_members', which are in none of the other parts.
    Raises VlmatchError if `part` is none of these.
    """
    members = OmegaConf.to_container(OmegaConf.load(paths.conf() / "pool.yaml"))
    assert isinstance(members, dict)  # noqa: S101 - for mypy
    encoders = {name: options for group in POOL_GROUPS for name, options in members[group].items()}
    parts = {
        "encoders": sorted(encoders, key=lambda name: bool(encoders[name].get("slow"))),  # slow ones last
        "first_run": [name for name, options in encoders.items() if options.get("first_run")],
        "llms": list(members["llms"]),
        "new_members": list(members["new_members"]),
        **{group: list(members[group]) for group in POOL_GROUPS},
    }
    if part not in parts:
        raise VlmatchError(f"pool '{part}' is unknown; {nearest(part, list(parts))}")
    return parts[part]


def pool_axis(part: str) -> str:
    """`${vlmatch.pool:first_run}`: the members of a part of the pool as an axis of a sweep, separated by commas."""
    return ",".join(pool(part))


def mapped_axis(table: str) -> str:
    """`${vlmatch.mapped:cambrian1}`: the encoders of a published table that have a yaml, as an axis of a sweep.

    The tables are in `vlmatch/evidence/tables` and, in a checkout, in `study/published`.
    Raises VlmatchError if no mapping has the table.
    """
    folders = [paths.tables(), *([paths.root() / "study" / "published"] * paths.in_checkout())]
    rows = [row for folder in folders if (folder / MAPPING).is_file() for row in mapped(folder)]
    names = dict.fromkeys(row["encoder"] for row in rows if row["table"] == f"{table}.csv" and row["encoder"])
    if not names:
        known = sorted({row["table"].removesuffix(".csv") for row in rows if row["encoder"]})
        raise VlmatchError(f"table '{table}' has no encoder with a yaml; {nearest(table, known)}")
    return ",".join(names)


def mapped(folder: Path) -> list[dict[str, str]]:
    """The rows of a folder's encoders.csv: `table`, `their_name`, and `encoder`, our yaml's name or ''."""
    with (folder / MAPPING).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def named_configs(group: str, names: Sequence[str], feature: str = "paper", *, _root_: Container) -> ListConfig:
    """`${vlmatch.configs:encoder,[mobilenetv2]}`: the yamls of these names, resolved as Hydra would resolve them.

    feature: the feature rule that each encoder uses.
    Raises VlmatchError on an unknown name, and on a model that itself has members.
    """
    return ListConfig([_named(group, str(name), feature, _root_) for name in names])


def fused_name(members: Sequence[str] | None) -> str:
    """`${vlmatch.fused:[dinov2_l,siglip]}`: the name of a fusion, fused_dinov2_l+siglip.

    Raises VlmatchError if no members are given.
    """
    if not members:
        raise VlmatchError("encoder=fused needs members; give them: encoder.members=[dinov2_l,siglip]")
    return "fused_" + "+".join(map(str, members))


def _named(group: str, name: str, feature: str, root: Container) -> Any:
    config = chosen(group, name)
    if "members" in config:
        raise VlmatchError(f"{group} '{name}' is itself made of members; name those instead")
    if "feature" in config:
        config.feature = feature
    config._set_parent(root)  # so that its values can refer to the whole config, as in ${data}
    return OmegaConf.to_container(config, resolve=True)


# Registered at import and not in the command line's main(), because a sweep's workers and the Python API compose too.
_RESOLVERS: dict[str, Callable[..., Any]] = {
    "vlmatch.root": lambda: str(paths.root()),
    "vlmatch.cache": lambda: str(paths.cache()),
    "vlmatch.results": lambda: str(paths.results()),
    "vlmatch.configs": named_configs,
    "vlmatch.pool": pool_axis,
    "vlmatch.mapped": mapped_axis,
    "vlmatch.tables": lambda: str(paths.tables()),
    "vlmatch.fused": fused_name,
    "vlmatch.stem": lambda path: Path(str(path)).stem,
    "vlmatch.fast_dtype": fast_dtype,
}
for _name, _resolver in _RESOLVERS.items():
    OmegaConf.register_new_resolver(_name, _resolver, replace=True)
