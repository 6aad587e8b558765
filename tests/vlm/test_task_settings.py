"""What `task=train` takes of the split, and the recipes that it refuses before it trains."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vlm.made_split import made_split
from vlm.made_tasks import config
from vlmatch.cli import run_task
from vlmatch.embeddings.store import Store
from vlmatch.errors import VlmatchError
from vlmatch.objects import build, plain
from vlmatch.probes.items import Item, Split
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import TrainTask
from vlmatch.vlm.captions import SplitData
from vlmatch.vlm.features import cached_features
from vlmatch.vlm.training_data import DataContext


def test_features_of_several_shares_are_in_the_order_of_the_items(home: Path) -> None:
    settings = Settings[TrainTask].read(config(home, "train", "encoder=mean_colour"))
    split = made_split(str(home / "drawn"))
    mixed = list(split.share("vlm_a+benchmarks"))[::-1]

    def features(items: Sequence[Item]) -> torch.Tensor:
        return cached_features(items, settings.encoder, Store(settings.store), settings.trainer)[0]

    single = {item.id: row for share in ("vlm_a", "benchmarks") for item, row in _rows(split.share(share), features)}
    assert len(single) == len(mixed) == 48
    for item, row in _rows(mixed, features):
        assert torch.equal(row, single[item.id])


def _rows(items: Sequence[Item], features: Callable[[Sequence[Item]], torch.Tensor]) -> Iterator[tuple[Item, Any]]:
    return zip(items, features(items), strict=True)


def test_a_share_that_the_split_does_not_have_is_named(home: Path) -> None:
    with pytest.raises(VlmatchError, match="share 'vlm_c' has no items"):
        made_split(str(home / "drawn")).share("vlm_a+vlm_c")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "recipe.projector.standardised=false recipe.visual.cached=false",
            r"recipe\.visual\.cached=false, .*recipe\.visual\.cached=true",
        ),
        ("recipe.visual.what=patches", r"recipe\.visual\.what=patches .*recipe\.visual\.cached=true"),
        ("~recipe.prompts.category", r"recipe\.prompts\.category=''.*<image>"),
        ("recipe.seed=-1", r"recipe\.seed=-1"),
        ("recipe.seed=4294967296", r"recipe\.seed=4294967296"),
        ("trainer.strategy=ddp_spawn", r"trainer\.strategy=ddp_spawn .*torchrun"),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_an_error_of_one_line(home: Path, override: str, message: str) -> None:
    with pytest.raises(VlmatchError, match=message):
        run_task(config(home, "train", "task.blind=null", f"task.runs={home}/wrong", *override.split()))


def test_a_question_without_answers_is_refused(home: Path) -> None:
    made = config(home, "train")
    split = build(plain(made.split))
    bare = Split(tuple(replace(item, category=None) for item in split.items))
    data = SplitData(bare, "vlm_a", weights={"category": 1.0}, prompts=plain(made.recipe.prompts))
    tokenizer = build(plain(made.llm)).tokenizer
    with pytest.raises(VlmatchError, match=r"no item of recipe\.data has one; leave it out"):
        data.load(DataContext(tokenizer, None, lambda items: torch.zeros(len(items), 1, 6)))
