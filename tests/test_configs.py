"""The yamls of all config folders: what they offer, how they compose, and the pool's lists."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from vlmatch import paths
from vlmatch.cli import help_page
from vlmatch.configs import choices, chosen, composed, mapped_axis, pool, yaml_path
from vlmatch.errors import VlmatchError
from vlmatch.messages import user_message
from vlmatch.objects import build, plain
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import AnyTask


def fused(**changes: Any) -> Any:
    config = OmegaConf.load(paths.conf() / "encoder" / "fused.yaml")
    return OmegaConf.create({"encoder": OmegaConf.merge(config, changes)}).encoder


def test_members_are_the_yamls_as_they_would_be_chosen_alone() -> None:
    config = plain(fused(members=["mobilenetv2", "pixels16"]))
    assert config["name"] == "fused_mobilenetv2+pixels16"
    for part, name in zip(config["parts"], ("mobilenetv2", "pixels16"), strict=True):
        assert part == plain(composed(f"encoder={name}").encoder)


def test_the_feature_rule_is_handed_on() -> None:
    config = plain(fused(members=["mobilenetv2", "pixels16"], feature="vlm_input"))
    assert [part["feature"] for part in config["parts"]] == ["vlm_input", "vlm_input"]


def test_values_of_the_whole_config_and_of_the_defaults_list_reach_the_parts() -> None:
    config = OmegaConf.create({"data": "/d", "parts": "${vlmatch.configs:probe,[stamps]}"})
    (part,) = plain(config)["parts"]
    assert part["path"] == "/d/stamps"
    assert part["drop_duplicates"] is True


@pytest.mark.parametrize(
    ("members", "told"),
    [
        (["mobilenetv2", "siglp"], ("encoder='siglp'", "siglip")),
        (["mobilenetv2", "?"], ("encoder='?'",)),
        (["fused", "siglip"], ("encoder 'fused'", "members")),
        (None, ("encoder=fused", "encoder.members=[dinov2_l,siglip]")),
    ],
)
def test_bad_members_are_one_line(members: list[str] | None, told: tuple[str, ...]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - OmegaConf wraps it
        plain(fused(members=members))
    line = str(user_message(caught.value))
    assert "\n" not in line
    for part in told:
        assert part in line


@pytest.mark.parametrize("group", ["probe", "trainer"])
def test_shared_options_come_from_the_defaults_list(group: str) -> None:
    shared = set(OmegaConf.load(paths.conf() / ("probe_options.yaml" if group == "probe" else "trainer/cpu.yaml")))
    for name in choices(group):
        assert shared <= set(chosen(group, name)), name


def test_a_yaml_without_a_defaults_list_is_read_as_it_is_and_one_with_it_composed() -> None:
    for group, name in (("encoder", "mobilenetv2"), ("probe", "folder"), ("trainer", "fsdp")):
        assert chosen(group, name) == composed(f"{group}={name}")[group]


@pytest.mark.parametrize(
    ("experiment", "table", "protocols"),
    [
        ("vtbenchlab", "vtbenchlab", "vtbenchlab,ours"),
        ("cambrian1", "cambrian1", "fed,ours"),
        ("law", "law_of_vision", "fed,ours"),
    ],
)
def test_an_experiment_on_a_published_table_has_its_encoders_and_two_protocols(experiment, table, protocols) -> None:
    config = composed(f"experiment={experiment}", "protocol=vtbenchlab")
    assert (config.encoder.feature, config.llm.layer, config.llm.pooling) == ("mean_patch", -1, "mean")
    assert Path(config.study.truth).is_file()
    named = mapped_axis(table).split(",")
    assert len(named) >= 4
    assert set(named) <= set(choices("encoder"))
    text = yaml_path("experiment", experiment).read_text(encoding="utf-8")
    assert f"protocol: {protocols}" in text
    assert f"vlmatch.mapped:{table}}}" in text


def test_an_unknown_table_is_one_line() -> None:
    with pytest.raises(VlmatchError, match=r"table 'vtbench' has no encoder with a yaml; .*vtbenchlab"):
        mapped_axis("vtbench")


def test_the_pool_has_each_encoder_once_with_slow_ones_last_and_heads_after_their_backbones() -> None:
    encoders = pool("encoders")
    groups = [pool(group) for group in ("others", "heads", "from_scratch", "controls")]
    assert sorted(encoders) == sorted(name for group in groups for name in group)
    assert len(encoders) == len(set(encoders))
    assert set(pool("first_run")) < set(encoders)
    assert encoders.index("pixels16") < encoders.index("craft_vgg16_bn"), "slow ones are last"
    for head in pool("heads"):
        (backbone,) = plain(chosen("encoder", head))["parts"]
        assert encoders.index(backbone["name"]) < encoders.index(head)


def test_every_member_of_the_pool_has_a_yaml() -> None:
    assert set(pool("encoders")) <= set(choices("encoder"))
    assert set(pool("llms")) <= set(choices("llm"))


def test_new_members_have_yamls_and_are_in_no_other_part_of_the_pool() -> None:
    new = pool("new_members")
    assert set(new) <= set(choices("encoder"))
    assert not set(new) & set(pool("encoders"))


def test_an_unknown_part_of_the_pool_is_one_line() -> None:
    with pytest.raises(VlmatchError, match=r"first_runs.*first_run"):
        pool("first_runs")


@pytest.fixture
def own_yamls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's own yamls, and another; both are named by VLMATCH_CONF."""
    for group, name, text in (
        ("encoder", "my_pixels", "defaults: [pixels16, _self_]\nname: my_pixels\nsize: 4\n"),
        ("encoder", "siglip", "name: not_siglip\n"),
        ("recipe", "mine", "defaults: [llava15, _self_]\nname: mine\n"),
    ):
        path = tmp_path / "first" / group / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    other = tmp_path / "second" / "encoder" / "mine_too.yaml"
    other.parent.mkdir(parents=True)
    other.write_text("defaults: [pixels16, _self_]\nname: mine_too\n")
    monkeypatch.setenv("VLMATCH_CONF", os.pathsep.join([str(tmp_path / "first"), str(tmp_path / "second")]))
    return tmp_path


def test_yamls_in_the_folders_of_vlmatch_conf_are_offered_and_compose(own_yamls: Path) -> None:
    page = help_page()
    for name in ("my_pixels", "mine_too", "mine"):
        assert name in page
    for name in ("my_pixels", "mine_too"):
        assert composed(f"encoder={name}").encoder.name == name
    assert composed("recipe=mine").recipe.name == "mine"
    assert build(plain(chosen("encoder", "my_pixels"))).name == "my_pixels"
    assert plain(fused(members=["my_pixels", "mine_too"]))["name"] == "fused_my_pixels+mine_too"


def test_a_yaml_of_vlmatchs_own_goes_before_one_of_the_same_name(own_yamls: Path) -> None:
    assert chosen("encoder", "siglip").name == composed("encoder=siglip").encoder.name == "siglip"


@pytest.mark.parametrize("group", ["split", "recipe", "benchmark"])
def test_an_unknown_name_in_an_optional_group_is_refused(group: str) -> None:
    with pytest.raises(VlmatchError, match=f"{group}='embeded'"):
        composed(f"{group}=embeded")
    assert composed(f"~{group}").get(group) is None


def line_of(call: Callable[[], object], *arguments: str) -> str:
    """What the command line prints of what `call` raises."""
    try:
        call()
    except Exception as error:
        line = user_message(error, arguments)
        assert line is not None
        return line
    raise AssertionError("nothing was raised")


GLOBAL = "# @package _global_\n"


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"a: 1\nb: [1", ["line 2: expected ',' or ']'", "fix the file"]),
        (b"a: 1\n\tb: 1", ["line 2: ", "fix the file"]),
        (b"store: a\nstore: b\n", ["line 2: found duplicate key store", "fix the file"]),
        (b"a: !!python/object/apply:os.system ['echo hi']", ["line 1: could not determine", "fix the file"]),
        (b"a: 1\nb: caf\xe9", ["line 2: it is not UTF-8", "fix the file"]),
        (b"\x00", ["special characters are not allowed", "fix the file"]),
        (b"store: ${nope", ["${nope"]),
        (b"defaults: 3", ["Invalid defaults list in 'local/default'"]),
        (b"store: /mine", ["first line is not '# @package _global_'"]),
        (b"defaults:\n  - override /encoder: siglip\n", ["first line is not '# @package _global_'"]),
        (GLOBAL.encode() + b"stor: /mine", ["stor='/mine' is not a key", "did you mean store"]),
        (GLOBAL.encode() + b"store: ''", ["store=''; wanted a path"]),
    ],
)
def test_a_local_yaml_that_is_broken_is_one_line_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, parts: list[str]
) -> None:
    file = tmp_path / "local" / "default.yaml"
    file.parent.mkdir()
    file.write_bytes(content)
    monkeypatch.setenv("VLMATCH_CONF", str(tmp_path))
    line = line_of(lambda: Settings[AnyTask].read(composed()))
    assert all(part in line for part in parts), line
    assert str(file) in line or "fix the file" not in parts


def test_a_local_yaml_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "default.yaml").write_text(f"{GLOBAL}store: /mine")
    monkeypatch.setenv("VLMATCH_CONF", str(tmp_path))
    assert Settings[AnyTask].read(composed()).store == Path("/mine")


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("encoder=", ["encoder= names nothing", "encoder=NAME"]),
        ("encoder=[", ["encoder=[ can't be read", "KEY=VALUE", "quotes"]),
        ("encoder.name=a=b", ["encoder.name=a=b can't be read", "KEY='a=b'"]),
        ("score=[gw,nope]", ["score='nope' is unknown"]),
    ],
)
def test_an_override_that_cannot_be_read_is_one_line_that_repeats_it(override: str, parts: list[str]) -> None:
    line = line_of(lambda: composed(override), override)
    assert all(part in line for part in parts), line
    assert "hydra.cc" not in line


def test_the_quotes_of_the_advice_help() -> None:
    assert composed("encoder.name='a=b'").encoder.name == "a=b"


@pytest.mark.parametrize("experiment", ["embedded", "hub"])
def test_an_experiment_has_the_controls(experiment: str) -> None:
    """Without one that is worse than the candidates, there is nothing to tell whether they are any good."""
    encoders = str(OmegaConf.load(yaml_path("experiment", experiment)).hydra.sweeper.params.encoder).split(",")
    assert set(pool("controls")) <= set(encoders)
    assert all(encoder in choices("encoder") for encoder in encoders)
