"""Targets: of this package, or allowed by name; nothing that merely looks so."""

import pytest
from omegaconf import OmegaConf

from vlmatch.errors import VlmatchError
from vlmatch.objects import build, plain, version_of


@pytest.mark.parametrize(
    "target",
    ["os.system", "subprocess.run", "vlmatch.packages.package.subprocess.run", "vlmatchevil.x", "collections.Counter"],
)
def test_strangers_are_refused(target: str) -> None:
    for config in ({"_target_": target}, {"_target_": "vlmatch.scores.rsa.RSA", "nested": [{"_target_": target}]}):
        with pytest.raises(VlmatchError, match="is not of vlmatch; allow it by name: targets="):
            build(config)


@pytest.mark.parametrize("target", ["vlmatch.vlm.saved.load", "vlmatch.cli.main", "vlmatch.tasks.train.train"])
def test_what_would_allow_strangers_itself_is_no_part_of_a_config(target: str) -> None:
    with pytest.raises(VlmatchError, match="runs something and builds nothing"):
        build({"_target_": "vlmatch.encoders.controls.Pixels", "name": "x", "size": {"_target_": target}})


def test_a_stranger_may_be_allowed_by_name() -> None:
    assert build({"_target_": "collections.Counter", "a": 2}, allowed=("collections.",))["a"] == 2


def test_a_wrong_argument_is_told_with_the_models_name() -> None:
    with pytest.raises(VlmatchError, match=r"x: .*unexpected keyword argument 'fature'"):
        build({"_target_": "vlmatch.encoders.controls.Pixels", "name": "x", "size": 3, "fature": "paper"})


def test_what_a_constructor_complains_of_comes_through() -> None:
    with pytest.raises(VlmatchError, match="encoder 'x': size=0"):
        build({"_target_": "vlmatch.encoders.controls.Pixels", "name": "x", "size": 0})


def test_the_version_is_that_of_the_class() -> None:
    assert version_of({"_target_": "vlmatch.encoders.controls.Pixels"}) >= 2


def test_a_value_that_must_be_given_is_named() -> None:
    config = OmegaConf.create({"probe": {"path": "???"}})
    with pytest.raises(VlmatchError, match=r"probe\.path has no value"):
        plain(config.probe)


def test_a_value_that_another_refers_to_is_named() -> None:
    config = OmegaConf.create({"recipe": {"json": "???", "stages": [{"path": "${recipe.json}"}]}})
    with pytest.raises(VlmatchError, match=r"recipe\.json has no value and no default; give it: recipe\.json=\.\.\."):
        plain(config.recipe)
