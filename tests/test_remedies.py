"""What messages tell a user to give exists: each key, task, command and environment variable that one names."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

import datasets.config
import huggingface_hub.constants
import mlflow.environment_variables
import yaml
from mlflow.telemetry import utils as telemetry

from vlmatch import paths
from vlmatch.arguments import _accepted
from vlmatch.configs import choices, groups, yaml_path
from vlmatch.objects import _located
from vlmatch.settings.budget import CostSettings
from vlmatch.settings.command import Section, Settings
from vlmatch.settings.node import Node

SOURCES = sorted((paths.root() / "src" / "vlmatch").rglob("*.py"))
UNKNOWN = "?"  # in the place of a value that an f-string fills in
INTERNAL = {"VLMATCH_PARENT_RUN", "VLMATCH_SWEEP"}  # set by vlmatch itself
PROSE = {"it", "names"}  # after the word `make`
WEIGHTS = "encoder.layer.?.attention"  # looks like a key and names tensors of InternViT
FILES = ("json", "yaml", "csv", "html")  # endings of what looks like a key and is a file


@cache
def texts() -> list[tuple[str, str]]:
    """Every text in the package that is no docstring, and where it stands."""
    return [(f"{path.name}:{line}", text) for path in SOURCES for line, text in _texts(path)]


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else UNKNOWN for part in node.values]
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (alone | inside):
            yield node.lineno, node.value


def named(pattern: str) -> dict[str, str]:
    """What a pattern finds in the texts, each with the first place where it stands."""
    places: dict[str, str] = {}
    for place, text in texts():
        for match in re.findall(pattern, text):
            places.setdefault(match, place)
    return places


@cache
def keys() -> set[str]:
    """Every key that the config may have: of all yamls, of all settings, and the arguments of what yamls name."""
    found_keys = set(_dotted(yaml.safe_load((paths.conf() / "config.yaml").read_text())))
    found_keys |= set(_dotted(yaml.safe_load((paths.conf() / "probe_options.yaml").read_text()), "probe."))
    found_keys |= set(_of_schema(CostSettings, "costs.NAME."))
    for group in groups():
        for name in choices(group):
            text = yaml_path(group, name).read_text()
            prefix = "" if text.startswith("# @package _global_") else f"{group}."
            found_keys |= set(_dotted(yaml.safe_load(text), prefix))
    return found_keys | set(_of_schema(Settings)) | {f"{name}.{key}" for name, key in _of_sections()}


def _dotted(node: Any, prefix: str = "") -> Iterator[str]:
    """Every key below a node of a yaml; the items of a list stand under N."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield f"{prefix}{name}"
            yield from _dotted(value, f"{prefix}{name}.")
        target = str(node.get("_target_", ""))
        if target and not target.startswith(("hydra.", "vlmatch.sweep.", "vlmatch.tasks")):
            yield from (f"{prefix}{argument}" for argument in _accepted(_located(target))[0])
    elif isinstance(node, list):
        for value in node:
            yield f"{prefix}N"
            yield from _dotted(value, f"{prefix}N.")


def _of_sections() -> Iterator[tuple[str, str]]:
    for name, part in vars(Settings).items():
        if isinstance(part, Section):
            yield from ((name, key) for key in _of_schema(part.schema))


def _of_schema(schema: type[Node], prefix: str = "") -> Iterator[str]:
    for name, field in schema.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        yield key
        for hint in (field.annotation, *get_args(field.annotation)):
            if isinstance(hint, type) and issubclass(hint, Node) and hint is not schema:
                many = get_origin(field.annotation) is not None and field.annotation is not hint
                yield from _of_schema(hint, f"{key}.N." if many and "Sequence" in str(field.annotation) else f"{key}.")


def is_key(told: str) -> bool:
    """Whether a key of a message, some parts of which may be filled in, is one of the config."""
    pattern = re.escape(told).replace(re.escape(UNKNOWN), "[^.]+")
    return any(re.fullmatch(pattern, key) for key in keys())


def test_every_key_that_a_message_names_is_one_of_the_config() -> None:
    groups_of_keys = {*(key.partition(".")[0] for key in keys()), *groups()} - {"debug", "local", "hydra", "data"}
    either = "|".join(sorted(groups_of_keys))
    told = named(r"(?<![\w./?{-])((?:" + either + r")(?:\.(?:[a-z_0-9]+|N|\?))+)(?![\w(/*])")
    assert {"probe.path", "tracking.experiment", "encoder.trust_remote_code", "recipe.stages.N.data.limit"} <= set(told)
    config = {key: place for key, place in told.items() if key != WEIGHTS and key.rpartition(".")[2] not in FILES}
    assert {key: place for key, place in config.items() if not is_key(key)} == {}


def test_a_key_that_is_none_is_seen() -> None:
    assert is_key("encoder.checkpoint")
    assert is_key("costs.?.?")
    assert not any(is_key(key) for key in ("encoder.chekpoint", "probe.bad_row", "recipe.stages.N.dat.limit"))


def test_every_task_that_a_message_names_exists() -> None:
    told = named(r"(?<!\w)task=([a-z_]+)")
    assert "train" in told
    assert {name: place for name, place in told.items() if name not in choices("task")} == {}


def test_every_target_of_make_that_a_message_names_exists() -> None:
    targets = re.findall(r"^([a-z-]+):", (paths.root() / "Makefile").read_text(), re.MULTILINE)
    told = named(r"(?<!\w)make ([a-z-]+)")
    assert "run" in told
    assert {name: place for name, place in told.items() if name not in {*targets, *PROSE}} == {}


def test_every_environment_variable_that_a_message_names_is_read() -> None:
    documented = (paths.root() / "docs" / "usage.md").read_text(encoding="utf-8")
    ours = named(r"VLMATCH_\w+")
    assert {name for name in ours if name not in documented} == INTERNAL
    for name in named(r"MLFLOW_\w+"):
        assert hasattr(mlflow.environment_variables, name) or name in Path(telemetry.__file__).read_text(), name
    hub = Path(huggingface_hub.constants.__file__).read_text() + Path(datasets.config.__file__).read_text()
    for name in named(r"HF_\w+"):
        assert name in hub, name
