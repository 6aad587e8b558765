"""Targets: classes below Buildable and marked functions, or what the user admits by name; nothing else is built."""

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

import vlmatch
import vlmatch_study
from vlmatch import objects, paths
from vlmatch.encoders.base import Encoder
from vlmatch.errors import VlmatchError
from vlmatch.llms.language_model import LanguageModel
from vlmatch.objects import Buildable, admitted, build, plain, prefixes_in, target_named, task_named, version_of
from vlmatch.packages.deb import Archive
from vlmatch.scores.base import Score
from vlmatch.vlm.training_data import DataSource
from vlmatch_study.pretraining.objective import Objective

PIXELS = "vlmatch.encoders.controls.Pixels"
NEED_AN_EXTRA = ("vlmatch.benchmarks.lmms_model",)
# What a function calls that changes something outside of it: files, other programs, the network.
ACTS = {
    *("write_text", "write_bytes", "mkdir", "unlink", "rmtree", "rename", "replace_file", "symlink_to", "touch"),
    *("renamed", "copyfile", "copytree", "move", "save", "save_file", "dump", "extract", "extractall"),
    *("run", "Popen", "system", "urlopen", "write_files", "unpack_zip", "unpack_tar"),
}


@pytest.mark.parametrize(
    "target",
    ["os.system", "subprocess.run", "vlmatch.packages.package.subprocess.run", "vlmatchevil.x", "collections.Counter"],
)
def test_strangers_are_refused(target: str) -> None:
    for config in ({"_target_": target}, {"_target_": "vlmatch.scores.rsa.RSA", "nested": [{"_target_": target}]}):
        with pytest.raises(VlmatchError) as caught:
            build(config)
        module = target.partition(".")[0]
        assert f"_target_='{target}'" in str(caught.value)
        assert f"targets=[{module}.]" in str(caught.value)


@pytest.mark.parametrize(
    "target",
    [
        "vlmatch.packages.archives.write_files",
        "vlmatch.packages.archives.unpack_zip",
        "vlmatch.packages.deb.unpack_stamps",
        "vlmatch.packages.npm.unpack_tarball",
        "vlmatch.probes.deb.write_members",  # where such a function once was
        "vlmatch.vlm.saved.load_vlm",
        "vlmatch.cli.main",
        "vlmatch.tasks.train.train",
        "vlmatch.objects.build",
        "vlmatch.objects.admit",
        "vlmatch.probes.images.open_image",
        "vlmatch.report.table.Console",
        "vlmatch.encoders.controls.Pixels.prepare",
    ],
)
def test_functions_of_ours_that_are_not_marked_are_refused_at_any_depth(target: str) -> None:
    for config in (
        {"_target_": target},
        {"_target_": PIXELS, "name": "x", "size": {"_target_": target}},
        {"_target_": PIXELS, "name": "x", "size": [[{"a": {"_target_": target}}]]},
    ):
        with pytest.raises(VlmatchError) as caught:
            build(config)
        assert f"_target_='{target}'" in str(caught.value)


def test_a_stranger_may_be_admitted_by_name() -> None:
    with admitted("collections."):
        assert build({"_target_": "collections.Counter", "a": 2})["a"] == 2
    with pytest.raises(VlmatchError):
        build({"_target_": "collections.Counter", "a": 2})


def test_names_that_are_admitted_are_a_list() -> None:
    """Of one text, each letter would admit all modules that begin with it."""
    assert prefixes_in(["mine.", "yours."]) == ("mine.", "yours.")
    with pytest.raises(VlmatchError, match=r"targets='mine\.'.*targets=\[mine\.\]"):
        prefixes_in("mine.")


def test_a_task_is_no_object_and_an_object_no_task() -> None:
    with pytest.raises(VlmatchError, match=r"_target_='vlmatch\.tasks\.rank\.rank'"):
        target_named("vlmatch.tasks.rank.rank")
    for target in (PIXELS, "vlmatch.probes.folder.folder", "vlmatch.packages.npm.unpack_tarball"):
        with pytest.raises(VlmatchError, match=rf"task\._target_='{target}'"):
            task_named(target)


def test_a_wrong_argument_is_told_with_the_models_name_where_no_key_is_known() -> None:
    with pytest.raises(VlmatchError, match=r"x\.fature='paper'.*Pixels"):
        build({"_target_": PIXELS, "name": "x", "size": 3, "fature": "paper"})


def test_what_a_constructor_complains_of_comes_through() -> None:
    with pytest.raises(VlmatchError, match="encoder 'x': size=0"):
        build({"_target_": PIXELS, "name": "x", "size": 0})


def test_the_version_is_that_of_the_class() -> None:
    assert version_of({"_target_": PIXELS}) >= 2


def test_a_value_that_must_be_given_is_named() -> None:
    config = OmegaConf.create({"probe": {"path": "???"}})
    with pytest.raises(VlmatchError, match=r"probe\.path"):
        plain(config.probe)


def test_a_value_that_another_refers_to_is_named() -> None:
    config = OmegaConf.create({"recipe": {"json": "???", "stages": [{"path": "${recipe.json}"}]}})
    with pytest.raises(VlmatchError, match=r"recipe\.json .*recipe\.json=\.\.\."):
        plain(config.recipe)


def targets_of(node: Any, in_task: bool = False) -> Iterator[tuple[str, bool]]:
    """Every `_target_` below a node of a yaml, and whether it is that of a task."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"], in_task
        for key, value in node.items():
            yield from targets_of(value, key == "task")
    elif isinstance(node, list):
        for value in node:
            yield from targets_of(value)


@cache
def named_in_yamls() -> dict[str, set[bool]]:
    """Each target that a yaml of ours names: whether as a task."""
    named: dict[str, set[bool]] = {}
    for folder in paths.conf_folders():
        for file in folder.rglob("*.yaml"):
            if "hydra" in file.relative_to(folder).parts:  # Hydra's own objects, which it builds itself
                continue
            for target, of_task in targets_of(yaml.safe_load(file.read_text()), in_task=file.parent.name == "task"):
                named.setdefault(target, set()).add(of_task)
    return named


def test_every_target_of_our_yamls_may_be_built_or_is_a_task() -> None:
    assert len(named_in_yamls()) > 50
    for target, of_task in named_in_yamls().items():
        assert len(of_task) == 1, target
        assert callable(task_named(target) if True in of_task else target_named(target)), target


def members() -> Iterator[tuple[str, Any]]:
    """Every function and class that a module of both packages defines, by its full name."""
    for package in (vlmatch, vlmatch_study):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name in NEED_AN_EXTRA:
                continue
            for name, member in vars(importlib.import_module(module.name)).items():
                defined_here = getattr(member, "__module__", "") == module.name
                if defined_here and (inspect.isroutine(member) or inspect.isclass(member)):
                    yield f"{module.name}.{name}", member


def is_buildable(target: str) -> bool:
    try:
        return target_named(target) is not None
    except VlmatchError:
        return False


def test_only_what_a_yaml_may_need_is_buildable() -> None:
    every = dict(members())
    buildable = {name: member for name, member in every.items() if is_buildable(name)}
    assert len(every) - len(buildable) > 500
    functions = {name for name, member in buildable.items() if inspect.isroutine(member)}
    assert functions <= set(named_in_yamls()), "a function is marked, and no yaml names it"
    for name in functions:
        assert not acts(buildable[name]), f"{name} does more than return a value"
    classes = {member for member in buildable.values() if inspect.isclass(member)}
    assert {Encoder, LanguageModel, Score, DataSource, Objective, Archive} <= classes
    assert all(issubclass(each, Buildable) for each in classes)


def acts(function: Any) -> set[str]:
    """What a function calls, by name, that changes something outside of it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = {each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in called}
    return names & ACTS


def test_what_writes_is_recognised() -> None:
    from vlmatch.packages.archives import write_files
    from vlmatch.results import write_file

    assert acts(write_files)
    assert acts(write_file)
    assert not acts(objects.plain)
