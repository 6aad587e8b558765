"""The recipes for real data compose, have the papers' numbers, and name the paths that must be given."""

import math

import pytest
import yaml
from omegaconf import OmegaConf
from pytorch_lightning.strategies import StrategyRegistry

from vlmatch import paths
from vlmatch.configs import composed
from vlmatch.messages import user_message
from vlmatch.settings.command import Settings
from vlmatch.settings.recipe import RecipeSettings
from vlmatch.settings.tasks import TaskSettings
from vlmatch.vlm.conversations import TEMPLATES
from vlmatch.vlm.llava_json import LlavaJson
from vlmatch.vlm.stage import Optimisation

NAMES = ("paper", "llava15", "llava15_lora", "single_gpu")
GIVEN = {f"{kind}_{key}": f"/data/{kind}.{key}" for kind in ("pretrain", "instruct") for key in ("json", "images")}


def test_every_recipe_states_its_outcome() -> None:
    files = [file for folder in paths.conf_folders() for file in (folder / "recipe").glob("*.yaml")]
    recipes = {file.stem: yaml.safe_load(file.read_text()) for file in files}
    assert {*NAMES, "embedded", "embedded3", "embedded_lora"} == set(recipes)
    for name, found in recipes.items():
        assert found["outcome"], name


def recipe(name: str, **given: str) -> RecipeSettings:
    overrides = [f"recipe={name}", *(f"recipe.{key}={value}" for key, value in given.items())]
    return Settings[TaskSettings].read(composed(*overrides)).recipe


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_complete_when_its_data_are_given(name: str) -> None:
    found = recipe(name, **GIVEN)
    assert found.name == name
    assert found.version >= 1
    for stage, kind in zip(found.stages, ("pretrain", "instruct"), strict=True):
        data = stage.data.build()
        assert isinstance(data, LlavaJson)
        assert (str(data.file), str(data.folder)) == (f"/data/{kind}.json", f"/data/{kind}.images")
        assert data.template in TEMPLATES
        assert stage.batch_size % (stage.accumulate * (1 if name == "single_gpu" else 8)) == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_has_the_keys_of_the_embedded_one(name: str) -> None:
    embedded = OmegaConf.to_container(composed("recipe=embedded").recipe, resolve=False)
    assert isinstance(embedded, dict)
    found = recipe(name, **GIVEN).plain()
    assert set(embedded) - {"prompts"} == set(found) - set(GIVEN)
    for stage in found["stages"]:
        assert set(stage) == set(embedded["stages"][0])


def test_the_papers_numbers() -> None:
    """arXiv 2605.01325: what is trained, learning rates, batches, epochs, warm-up."""
    first, second = recipe("paper", **GIVEN).stages
    assert first.trains == {"projector": 2e-3}
    assert second.trains == {"projector": 2e-5, "llm": 2e-5, "encoder": 2e-5}
    assert [stage.batch_size for stage in (first, second)] == [256, 128]
    assert [(stage.epochs, stage.steps, stage.warm_up) for stage in (first, second)] == [(1, None, 0.03)] * 2


def test_llava15s_numbers() -> None:
    """Liu et al., 2024, table of hyper-parameters, and the LoRA script's."""
    first, second = recipe("llava15", **GIVEN).stages
    assert (first.trains, second.trains) == ({"projector": 1e-3}, {"projector": 2e-5, "llm": 2e-5})
    assert [stage.data.template for stage in (first, second)] == ["plain", "vicuna_v1"]
    assert [stage.weight_decay for stage in (first, second)] == [0, 0]
    assert [stage.data.plain()["max_length"] for stage in (first, second)] == [2048, 2048]
    with_lora = recipe("llava15_lora", **GIVEN)
    assert with_lora.stages[1].trains == {"projector": 2e-5, "lora": 2e-4}
    assert with_lora.lora is not None
    assert (with_lora.lora.r, with_lora.lora.alpha) == (128, 256)
    assert with_lora.stages[0] == first


def test_the_papers_learning_rate_rises_over_3_percent_and_falls_by_a_cosine() -> None:
    steps = 595_000 // 256
    cycle = Optimisation({}, steps, 0.03, 0.0, 0)
    rising = math.ceil(0.03 * steps)
    assert cycle.factor(rising - 1) == 1
    middle = rising + (steps - rising) // 2
    assert cycle.factor(middle) == pytest.approx(0.5, abs=0.01)
    assert cycle.factor(steps - 1) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_missing_paths_of_data_are_named(name: str) -> None:
    with pytest.raises(Exception, match=r"recipe\.pretrain_json") as caught:
        recipe(name)
    line = user_message(caught.value)
    assert line is not None
    assert "recipe.pretrain_json" in line
    assert "\n" not in line


def test_every_trainers_strategy_exists() -> None:
    for name in sorted(file.stem for file in (paths.conf() / "trainer").glob("*.yaml")):
        assert composed(f"trainer={name}").trainer.strategy in ("auto", *StrategyRegistry), name
