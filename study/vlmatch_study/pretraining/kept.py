"""What is kept of a training: weights in half precision, a card of figures with their SHA-256, and a README of all."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from vlmatch.errors import VlmatchError
from vlmatch.files import renamed
from vlmatch_study.pretraining.data import LICENCES

LARGEST = 5_000_000  # bytes of a folder of weights
CARD = "card.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Card:
    """How an encoder came to be, and how good it is on what was held out; `sha256` is that of its weight file."""

    name: str
    about: str
    sources: tuple[str, ...]
    n_training: int
    n_held_out: int
    split: str
    seed: int
    epochs: int
    loss: float
    seconds: float
    measures: Mapping[str, float]
    parameters: int
    bytes: int
    sha256: str


def write_halves(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, floating-point ones in half precision.

    Raises VlmatchError where a number is too large for it, or none.
    """
    halves = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    for key, value in halves.items():
        if not torch.isfinite(value).all():
            raise VlmatchError(f"weights '{path.parent.name}': '{key}' is not finite in half precision; train anew")
    save_file({key: value.detach().cpu().contiguous() for key, value in halves.items()}, path)


def weights_in(folder: Path) -> Path:
    """The one weight file of a folder."""
    (found,) = folder.glob("*.safetensors")
    return found


def size_of(folder: Path) -> int:
    """Bytes of a folder of weights; VlmatchError above what is committed."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if size > LARGEST:
        raise VlmatchError(f"weights '{folder.name}': {size:,} bytes; wanted at most {LARGEST:,}: a smaller encoder")
    return size


def keep(staging: Path, folder: Path, card: Card) -> None:
    """Move the finished `staging` to `folder` with its card, and list it in the README beside."""
    (staging / CARD).write_text(json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(staging, folder)
    write_readme(folder.parent)


def cards(weights: Path) -> list[Card]:
    """The cards of all encoders below `weights`, by name."""
    found = [json.loads(path.read_text()) for path in sorted(weights.glob(f"*/{CARD}"))]
    return [Card(**{**values, "sources": tuple(values["sources"])}) for values in found]


def write_readme(weights: Path) -> None:
    """List every encoder with its data, objective, size and figures."""
    found = cards(weights)
    used = sorted({source for card in found for source in card.sources})
    text = _README.format(
        licences="\n".join(f"- `{source}`: {LICENCES[source]}" for source in used),
        made="\n".join(map(_made, found)),
        measured="\n".join(map(_measured, found)),
        digests="\n".join(f"{card.sha256}  {_file(weights, card)}" for card in found),
    )
    with renamed(weights / "README.md") as temporary:
        temporary.write_text(text)


def _made(card: Card) -> str:
    numbers = f"{card.n_training} | {card.epochs} | {card.seconds:.0f} | {card.loss:.3f}"
    return (
        f"| {card.name} | {card.about} | {', '.join(card.sources)} | {numbers} | {card.parameters / 1e6:.2f} "
        f"| {card.bytes / 1e6:.2f} |"
    )


def _measured(card: Card) -> str:
    def cell(measure: str) -> str:
        if measure not in card.measures:
            return "-"
        chance = f"{measure}_chance"
        value = f"{card.measures[measure]:.3f}"
        return f"{value} ({card.measures[chance]:.3f})" if chance in card.measures else value

    columns = ("zero_shot", "recall_at_5", "neighbours", "accuracy", "reconstruction")
    return f"| {card.name} | {card.n_held_out} | " + " | ".join(map(cell, columns)) + " |"


def _file(weights: Path, card: Card) -> str:
    return str(weights_in(weights / card.name).relative_to(weights))


_README = """\
# Encoders that were trained here
Small encoders which differ in data, objective and size: members of the pool, marked `trained_on_domain` in the
catalogue. Each is made by a stage of `training/dvc.yaml`, from `conf/pretrain/NAME.yaml` and the split's share
`encoder_training`: `dvc repro training/dvc.yaml:pretrain@NAME`, or `python src/run.py task=pretrain pretrain=NAME`.
Training writes this page. Weights are in half precision; no backbone is among them: a head is loaded with the
package of its own. Seconds are of the optimisation alone, by one thread beside other work. With some
hundred images the networks from scratch stay weak; a pool that is to be ranked needs such encoders too.

Licence of the weights: Apache-2.0, as the repository. They were trained on
{licences}

| encoder | what it is | data | images | epochs | seconds | last loss | parameters trained, M | MB |
|---|---|---|--:|--:|--:|--:|--:|--:|
{made}

On items held out, with what chance gives in parentheses. Zero-shot: categories that were not trained on, told apart by
their names, accuracy averaged over categories. Recall at 5: a held-out image's caption among the nearest five of the
held-out captions. Neighbours: the category by a vote of the five nearest training images. Reconstruction: mean squared
error, where a white image is all 0 and black 4 away.

What was chosen by looking: the heads' depth and noise by zero-shot accuracy and recall on these same items (nine
settings of `lit_mobilenetv2_emoji`, four of `lit_efficientnet_lite0_both`), so that theirs flatter. An LCNet, a
MobileNetV3 and a MobileNetV2 gave way to ResNets after both the held-out items and the stamps' categories had shown
them to be bad: the architectures of `category_resnet_emoji`, `vicreg_resnet_emoji` and `siglip_resnet_both` have seen
the probe.

| encoder | held out | zero-shot | recall at 5 | neighbours | accuracy | reconstruction |
|---|--:|--:|--:|--:|--:|--:|
{measured}

SHA-256, as `card.json` and `conf/encoder/NAME.yaml` have it:
```
{digests}
```
"""
