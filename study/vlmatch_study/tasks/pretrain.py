"""Pretrain: train one small encoder on the share `encoder_training`, and keep its weights with a card of figures."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from vlmatch.embeddings.store import Store
from vlmatch.files import sha256_of_file
from vlmatch.objects import task
from vlmatch.probes.items import Item
from vlmatch_study.pretraining.backbone import backbone_features
from vlmatch_study.pretraining.data import PretrainingData, held_apart, training_items
from vlmatch_study.pretraining.fit import fit
from vlmatch_study.pretraining.kept import Card, keep, size_of, weights_in
from vlmatch_study.pretraining.objective import Objective
from vlmatch_study.settings import EncoderTraining, PretrainSettings


@task
def pretrain(settings: PretrainSettings) -> None:
    """Train the encoder that `pretrain=NAME` describes, measure it on held-out items, and write study/weights/NAME."""
    training = settings.pretrain
    split = settings.split.build()
    items, held_out = held_apart(training_items(split, training.sources), training.held_out)
    print(f"{training.name}: {len(items)} items to train on, {len(held_out)} held out", flush=True)
    objective = _objective(_data(items, settings), training)
    working = settings.store / "pretraining" / f"{training.name}-{_fingerprint(training, split.fingerprint)[:8]}"
    loss = fit(objective, epochs=training.epochs, checkpoints=working, accelerator=settings.trainer.accelerator)
    staging = working / "weights"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    objective.eval().write(staging)
    card = _card(training, split.fingerprint, objective, _data(held_out, settings), loss, staging)
    keep(staging, settings.task.weights / card.name, card)
    shutil.rmtree(working)
    _tell(card)


def _objective(data: PretrainingData, training: EncoderTraining) -> Objective:
    """The untrained encoder. It is seeded last, because loading the text model may draw random numbers."""
    make = training.objective.build()
    torch.manual_seed(training.seed)
    objective: Objective = make(data, seed=training.seed)
    return objective


def _card(
    training: EncoderTraining, split: str, objective: Objective, held_out: PretrainingData, loss: float, staging: Path
) -> Card:
    """The figures of a finished training with its weights in `staging`."""
    return Card(
        name=training.name,
        about=training.about,
        sources=tuple(training.sources),
        n_training=len(objective.data),
        n_held_out=len(held_out),
        split=split,
        seed=training.seed,
        epochs=training.epochs,
        loss=round(loss, 4),
        seconds=round(float(objective.seconds), 1),
        measures={key: round(value, 4) for key, value in objective.measures(held_out).items()},
        parameters=sum(parameter.numel() for parameter in objective.parameters()),
        bytes=size_of(staging),
        sha256=sha256_of_file(weights_in(staging)),
    )


def _data(items: Sequence[Item], settings: PretrainSettings) -> PretrainingData:
    """The items as pixels, or as features of the frozen backbone that the settings name."""
    training = settings.pretrain
    if training.image_size is not None:
        return PretrainingData.images(items, training.image_size)
    (backbone,) = training.parts
    return PretrainingData.of(items, backbone_features(items, backbone, Store(settings.store), settings.trainer))


def _fingerprint(training: EncoderTraining, split: str) -> str:
    """Equal for equal settings and equal data, so that a checkpoint resumes only its own training."""
    return hashlib.sha256(json.dumps([training.plain(), split], sort_keys=True).encode()).hexdigest()


def _tell(card: Card) -> None:
    """Print the figures, and the SHA-256 that the encoder's yaml needs."""
    measures = ", ".join(f"{key} {value:.3f}" for key, value in card.measures.items())
    print(f"{card.name}: loss {card.loss:.3f} after {card.seconds:.0f} s; held out: {measures}")
    print(f"study/weights/{card.name}: {card.bytes / 1e6:.2f} MB")
    print(f"put this into study/conf/encoder/{card.name}.yaml: sha256: '{card.sha256}'")
