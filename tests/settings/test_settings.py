"""Settings: a wrong key is one line with its full path, and plain values come out as they went in."""

import hashlib
import json
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf, open_dict

from vlmatch.configs import choices, composed, yaml_path
from vlmatch.errors import VlmatchError
from vlmatch.objects import plain, require_buildable, task_named
from vlmatch.settings.buildable import MODELS
from vlmatch.settings.command import Settings, settings_for
from vlmatch.settings.recipe import RecipeSettings
from vlmatch.settings.tasks import EmbedTask, TaskSettings, TrainTask
from vlmatch.settings.work import TrainerSettings

ANY = Settings[TaskSettings]


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("trainer.batch_size='8'", ["trainer.batch_size='8'", "a whole number"]),
        ("trainer.devices=[]", ["trainer.devices=[]", "a list of numbers"]),
        ("trainer.devices='0,1'", ["trainer.devices='0,1'", "a list of numbers"]),
        ("trainer.devices=[0,one]", ['trainer.devices=[0, "one"]', "a list of numbers"]),
        ("trainer.batch_size=0", ["trainer.batch_size=0", "1 or more"]),
        ("trainer.compile=1", ["trainer.compile=1", "true or false"]),
        ("+trainer.batchsize=8", ["trainer.batchsize=8", "batch_size"]),
        ("~trainer.strategy", ["trainer.strategy is missing", "text"]),
        ("trainer.precision=null", ["trainer.precision=null", "32-true"]),
        ("answer.table=3", ["answer.table=3", "a path"]),
        ("answer.truth=4", ["answer.truth=4", "2 or 3"]),
        ("tracking.experiment=3", ["tracking.experiment=3", "text"]),
        ("pool=shop", ["pool='shop'", "'auto', 'store' or 'experiment'"]),
        ("selection=[gw]", ["selection=", "text"]),
        ("~score.gw._target_", ["score.gw._target_ is missing"]),
        ("score=[]", ["score={}; wanted at least one entry"]),
        ("+stores=/x", ["stores='/x'", "store"]),
        ("+outpu=x", ["outpu='x'", "outputs"]),
        ("+dat=1", ["dat=1", "data"]),
    ],
)
def test_a_wrong_key_is_one_line_with_its_path_its_value_and_what_is_wanted(override: str, parts: list[str]) -> None:
    with pytest.raises(VlmatchError) as caught:
        ANY.read(composed(override))
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("selection", "added"), [("evidence", []), ("paper", ["gw"]), ("logme", ["logme"])])
def test_the_score_that_orders_the_pool_is_among_those_computed(selection: str, added: list[str]) -> None:
    settings = ANY.read(composed("score=[cka]", f"selection={selection}"))
    assert list(settings.score) == ["cka", *added]


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("~recipe.stages.0.clip", ["recipe.stages.0.clip is missing", "recipe.stages.0.clip=...", "a number"]),
        ("recipe.stages.0.clip=x", ["recipe.stages.0.clip='x'", "a number"]),
        ("+recipe.stages.0.clipp=1", ["recipe.stages.0.clipp=1", "did you mean clip?"]),
        ("recipe.stages=[]", ["recipe.stages=[]", "at least one"]),
        ("~recipe.stages.0.data", ["recipe.stages.0.data is missing", "a mapping"]),
        ("+recipe.stages.0.trains.lorra=1", ["recipe.stages.0.trains.lorra", "'lora'"]),
        ("+recipe.stages.0.trains.lora=1", ["recipe.stages.0.trains", "recipe.lora=null"]),
        ("recipe.stages.0.steps=null", ["recipe.stages.0", "steps", "epochs"]),
        ("recipe.visual.what=hello", ["recipe.visual.what='hello'", "'feature' or 'patches'"]),
        ("recipe.visual.cached=0", ["recipe.visual.cached=0", "true or false"]),
        ("recipe.visual.what=patches", ["recipe.visual.what=patches", "recipe.visual.cached=false"]),
        ("recipe.visual.cached=false", ["recipe.projector.standardised=true", "recipe.visual.cached=true"]),
        ("recipe.projector.kind=big", ["recipe.projector.kind='big'", "'linear'"]),
        ("recipe.name=../x", ["recipe.name='../x'"]),
        ("recipe.version=1.5", ["recipe.version=1.5", "a whole number"]),
        ("+recipe.stage=1", ["recipe.stage=1", "stages"]),
        ("~recipe", ["recipe=null", "recipe=NAME", "embedded"]),
        ("recipe=llava15", ["recipe.pretrain_json"]),
    ],
)
def test_a_wrong_key_of_a_recipe_is_told_when_a_task_asks_for_it(override: str, parts: list[str]) -> None:
    settings = ANY.read(composed(override))
    with pytest.raises(VlmatchError) as caught:
        settings.require("recipe")
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("encoder.name=../evil", ["encoder.name='../evil'", "letters"]),
        ("encoder.feature=3", ["encoder.feature=3", "text"]),
        ("+encoder.parts=[{name: x}]", ["encoder.parts.0._target_ is missing"]),
        ("llm.layer=last", ["llm.layer='last'", "a whole number"]),
        ("benchmark.version=one", ["benchmark.version='one'"]),
        ("benchmark.sources.clipart.items=0", ["benchmark.sources.clipart.items=0", "1 or more"]),
        ("probe.name='=1+1'", ["probe.name='=1+1'"]),
    ],
)
def test_a_wrong_key_of_a_model_or_probe_is_told_when_it_is_used(override: str, parts: list[str]) -> None:
    settings = ANY.read(composed(override))
    with pytest.raises(VlmatchError) as caught:
        settings.require(override.lstrip("+").partition(".")[0])
    for part in parts:
        assert part in str(caught.value)


def test_a_task_has_its_own_keys() -> None:
    assert Settings[EmbedTask].read(composed("task=embed")).task.side == "both"
    trained = Settings[TrainTask].read(composed("task=train", "task.runs=/runs"))
    assert (trained.task.measure, str(trained.task.runs)) == (True, "/runs")
    assert trained.task.blind is not None
    assert trained.task.blind.name == "blind"
    with pytest.raises(VlmatchError, match=r"task\.side='left'.*'encoder', 'llm' or 'both'"):
        Settings[EmbedTask].read(composed("task=embed", "task.side=left"))


@pytest.mark.parametrize("group", ["encoder", "llm", "recipe", "trainer"])
def test_plain_settings_come_out_as_they_went_in_and_are_arguments_of_their_targets(group: str) -> None:
    """Hashes are made of them: one key more, or 1.0 for 1, would give another."""
    schema = {**MODELS, "recipe": RecipeSettings, "trainer": TrainerSettings}[group]
    root = composed()
    for name in choices(group):
        has_defaults = group in ("recipe", "trainer")
        loaded = composed(f"{group}={name}")[group] if has_defaults else OmegaConf.load(yaml_path(group, name))
        for key in loaded:
            if loaded._get_node(key)._is_missing():
                loaded[key] = "given"
            elif key == "members" and loaded[key] is None:
                loaded[key] = ["dinov2_l", "siglip"]
        with open_dict(root):
            root[group] = loaded
        given = plain(root[group])
        assert _rendered(schema.of(group, given).plain()) == _rendered(given), name
        require_buildable(given, group)


def _rendered(values: object) -> str:
    return json.dumps(values, sort_keys=True)


def test_a_models_settings_have_the_hash_that_stored_embeddings_were_made_under() -> None:
    found = ANY.read(composed("encoder=pixels16")).encoder.plain()
    assert hashlib.sha256(_rendered(found).encode()).hexdigest()[:16] == "e001eebaf0988241"


def test_probes_scores_splits_and_benchmarks_give_arguments_that_their_targets_take() -> None:
    shares = ("stamps", "clipart", "share", "furniture")
    given = [[f"probe={name}", *([] if name in shares else ["probe.path=/x"])] for name in choices("probe")]
    given += [[f"score=[{','.join(choices('score'))}]"], *([f"benchmark={name}"] for name in choices("benchmark"))]
    for overrides in given:
        config = composed(*overrides)
        for group in ("probe", "score", "split", "benchmark"):
            require_buildable(plain(config[group]), group)


def test_every_task_is_given_the_keys_of_its_yaml() -> None:
    for name in choices("task"):
        given = {"export": ["task.run=/x", "task.to=/y"]}.get(name, [])
        config = composed(f"task={name}", *given)
        settings = settings_for(task_named(config.task._target_), config)
        assert isinstance(settings, Settings), name
        assert set(settings.task.plain()) == set(plain(config.task)) == set(settings.task.keys()), name


def test_a_users_own_task_is_given_hydras_config() -> None:
    config = composed()

    def own(config: DictConfig) -> None:
        """A task that has no settings of ours."""

    assert settings_for(own, config) is config


@pytest.mark.parametrize(
    "overrides",
    [
        ("+mine=/disk", "store=${mine}/store"),
        ("+mine={disk: /disk}", "store=${mine.disk}/store"),
        ("+mine=[/disk]", "store=${mine[0]}/store"),
    ],
)
def test_a_key_that_other_values_are_made_of_is_allowed(overrides: tuple[str, str]) -> None:
    settings = ANY.read(composed(*overrides))
    assert str(settings.store) == "/disk/store"


def test_a_place_may_be_in_the_users_home() -> None:
    settings = ANY.read(composed("tracking.folder='~/runs'"))
    assert settings.tracking.folder == Path.home() / "runs"
