"""Pretrain: train one small encoder on the split's share for it, and keep its weights with a card of figures."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from vlmatch.configs import choices
from vlmatch.embeddings.store import Store
from vlmatch.errors import VlmatchError
from vlmatch.files import sha256_of_file
from vlmatch.objects import build, plain, task
from vlmatch.probes.items import Item
from vlmatch_study.pretraining.backbone import backbone_features
from vlmatch_study.pretraining.data import PretrainingData, held_apart, training_items
from vlmatch_study.pretraining.fit import fit
from vlmatch_study.pretraining.kept import Card, keep, size_of, weights_in
from vlmatch_study.pretraining.objective import Objective


@task
def pretrain(config: DictConfig) -> None:
    """Train the encoder that `pretrain=NAME` describes, measure it on what was held out, and write weights/NAME."""
    if config.get("pretrain") is None:
        raise VlmatchError(
            f"task=pretrain wants the name of an encoder: pretrain=one of {', '.join(choices('pretrain'))}"
        )
    recipe = plain(config.pretrain)
    split = build(plain(config.split))
    items, held_out = held_apart(training_items(split, recipe["sources"]), recipe["held_out"])
    print(f"{recipe['name']}: {len(items)} items to train on, {len(held_out)} held out", flush=True)
    objective = _objective(_data(items, recipe, config), recipe)
    working = Path(config.store) / "pretraining" / f"{recipe['name']}-{_fingerprint(recipe, split.fingerprint)[:8]}"
    loss = fit(objective, epochs=recipe["epochs"], checkpoints=working, accelerator=config.trainer.accelerator)
    staging = working / "weights"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    objective.eval().write(staging)
    card = _card(recipe, split.fingerprint, objective, _data(held_out, recipe, config), loss, staging)
    keep(staging, Path(config.task.weights) / card.name, card)
    shutil.rmtree(working)
    _tell(card)


def _objective(data: PretrainingData, recipe: dict[str, Any]) -> Objective:
    """The untrained encoder; seeded last, since whatever was loaded before may have drawn random numbers."""
    make = build(recipe["objective"])
    torch.manual_seed(recipe["seed"])
    objective: Objective = make(data, seed=recipe["seed"])
    return objective


def _card(
    recipe: dict[str, Any], split: str, objective: Objective, held_out: PretrainingData, loss: float, staging: Path
) -> Card:
    """The figures of a finished training whose weights lie in `staging`."""
    return Card(
        name=recipe["name"],
        about=recipe["about"],
        sources=tuple(recipe["sources"]),
        n_training=len(objective.data),
        n_held_out=len(held_out),
        split=split,
        seed=recipe["seed"],
        epochs=recipe["epochs"],
        loss=round(loss, 4),
        seconds=round(float(objective.seconds), 1),
        measures={key: round(value, 4) for key, value in objective.measures(held_out).items()},
        parameters=sum(parameter.numel() for parameter in objective.parameters()),
        bytes=size_of(staging),
        sha256=sha256_of_file(weights_in(staging)),
    )


def _data(items: Sequence[Item], recipe: dict[str, Any], config: DictConfig) -> PretrainingData:
    """The items as pixels, or as the features of the frozen backbone that the recipe names."""
    if not recipe["parts"]:
        return PretrainingData.images(items, recipe["image_size"])
    (backbone,) = recipe["parts"]
    return PretrainingData.of(items, backbone_features(items, backbone, Store(config.store), plain(config.trainer)))


def _fingerprint(recipe: dict[str, Any], split: str) -> str:
    """What a checkpoint belongs to: the same recipe on the same data."""
    return hashlib.sha256(json.dumps([recipe, split], sort_keys=True).encode()).hexdigest()


def _tell(card: Card) -> None:
    """What came out, and what the encoder's yaml needs."""
    measures = ", ".join(f"{key} {value:.3f}" for key, value in card.measures.items())
    print(f"{card.name}: loss {card.loss:.3f} after {card.seconds:.0f} s; held out: {measures}")
    print(f"weights/{card.name}: {card.bytes / 1e6:.2f} MB; conf/encoder/{card.name}.yaml wants sha256: {card.sha256}")
