"""Configs inside a config: encoders made of others name their parts."""

from typing import Any

import pytest
from omegaconf import OmegaConf

import vlmatch.cli
from vlmatch import paths
from vlmatch.messages import user_message
from vlmatch.objects import plain

assert vlmatch.cli  # registers the resolvers


def fused(**changes: Any) -> Any:
    config = OmegaConf.load(paths.conf() / "encoder" / "fused.yaml")
    return OmegaConf.create({"encoder": OmegaConf.merge(config, changes)}).encoder


def test_members_are_the_yamls_as_they_would_be_chosen_alone() -> None:
    config = plain(fused(members=["mobilenetv2", "pixels16"]))
    assert config["name"] == "fused_mobilenetv2+pixels16"
    for part, name in zip(config["parts"], ("mobilenetv2", "pixels16"), strict=True):
        assert part == plain(OmegaConf.load(paths.conf() / "encoder" / f"{name}.yaml"))


def test_the_feature_rule_is_handed_on() -> None:
    config = plain(fused(members=["mobilenetv2", "pixels16"], feature="vlm_input"))
    assert [part["feature"] for part in config["parts"]] == ["vlm_input", "vlm_input"]


def test_values_of_the_whole_config_reach_the_parts() -> None:
    config = OmegaConf.create({"data": "/d", "parts": "${vlmatch.configs:probe,[stamps]}"})
    assert plain(config)["parts"][0]["path"] == "/d/stamps"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (["mobilenetv2", "siglp"], "encoder 'siglp', a part of another one, is unknown; did you mean siglip"),
        (["mobilenetv2", "?"], "is unknown; python src/run.py task=check lists every encoder"),
        (["fused", "siglip"], "encoder 'fused' is itself made of members; name those instead"),
        (None, r"encoder=fused wants members; give them: encoder.members=[dinov2_l,siglip]"),
    ],
)
def test_bad_members_are_one_line(members: list[str] | None, message: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - OmegaConf wraps it
        plain(fused(members=members))
    assert message in str(user_message(caught.value))
