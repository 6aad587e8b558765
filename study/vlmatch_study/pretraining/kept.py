"""What is kept of a training: weights in half precision, a card with its figures, and a README of all cards."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from vlmatch.errors import VlmatchError
from vlmatch.files import unused_name, write_text
from vlmatch_study.pretraining.data import LICENCES

LARGEST = 5_000_000  # bytes that a folder of weights may have
CARD = "card.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Card:
    """How an encoder was trained, and its figures on held-out items; `sha256` is its weight file's."""

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
    """Write tensors as safetensors, floating-point numbers in half precision.

    Raises VlmatchError if a number is NaN, or too large for half precision.
    """
    halves = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    for key, value in halves.items():
        if not torch.isfinite(value).all():
            raise VlmatchError(
                f"weights '{path.parent.name}': '{key}' has numbers that are not finite in half precision; train again"
            )
    save_file({key: value.detach().cpu().contiguous() for key, value in halves.items()}, path)


def weights_in(folder: Path) -> Path:
    """The one weight file of a folder."""
    (found,) = folder.glob("*.safetensors")
    return found


def size_of(folder: Path) -> int:
    """Bytes of a folder of weights. Raises VlmatchError if they are more than `LARGEST`."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if size > LARGEST:
        raise VlmatchError(
            f"weights '{folder.name}': {size:,} bytes; wanted at most {LARGEST:,}; train a smaller encoder"
        )
    return size


def keep(staging: Path, folder: Path, card: Card) -> None:
    """Move the finished `staging` with its card to `folder`, and list it in the README above."""
    (staging / CARD).write_text(json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n")
    folder.parent.mkdir(parents=True, exist_ok=True)
    before = unused_name(folder)
    if folder.exists():
        folder.rename(before)
    shutil.move(staging, folder)
    if before.exists():
        shutil.rmtree(before)
    write_readme(folder.parent)


def cards(weights: Path) -> list[Card]:
    """The cards of all encoders below `weights`, by name."""
    found = [json.loads(path.read_text()) for path in sorted(weights.glob(f"*/{CARD}"))]
    return [Card(**{**values, "sources": tuple(values["sources"])}) for values in found]


def write_readme(weights: Path) -> None:
    """Write README.md in `weights`."""
    write_text(weights / "README.md", readme(weights))


def readme(weights: Path) -> str:
    """A page that lists every encoder below `weights` with its data, objective, size and figures."""
    found = cards(weights)
    used = sorted({source for card in found for source in card.sources})
    return _README.format(
        licences="\n".join(f"- `{source}`: {LICENCES[source]}" for source in used),
        made="\n".join(map(_made, found)),
        measured="\n".join(map(_measured, found)),
        digests="\n".join(f"{card.sha256}  {_file(weights, card)}" for card in found),
    )


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
# Encoders trained here
We trained these small encoders, with different data, objectives and sizes, to enlarge the pool of the study
(`conf/pool.yaml`). The settings of each are in `study/conf/pretrain/NAME.yaml`. All are trained on the share
`encoder_training` of the [split](../split.md): by `python src/run.py task=pretrain pretrain=NAME`, or in the pipeline
by `dvc repro study/dvc.yaml:pretrain@NAME`. Both also write this page. The catalogue of encoders marks them
`trained_on_domain`, because they were trained on drawings, and the pictures of the probe are drawings too.

The weights are stored in half precision. A head is stored without its backbone, which comes in a package. The seconds
are those of the optimisation only, in one thread, while other work ran. The encoders trained from random weights are
weak, because they saw only a few hundred images. A pool that tests a ranking needs weak encoders too.

The licence of the weights is Apache-2.0, like the repository's. They were trained on

{licences}

| encoder | what it is | data | images | epochs | seconds | last loss | parameters trained, M | MB |
|---|---|---|--:|--:|--:|--:|--:|--:|
{made}

The next table shows their figures on held-out items, with chance in parentheses:

- zero-shot: accuracy of naming the category of an image by the nearest category name, for categories that were not
  trained on, averaged over categories
- recall at 5: how often an image's own caption is among the nearest five of the held-out captions
- neighbours: accuracy of naming the category by a vote of the five nearest training images
- accuracy: accuracy of the trained classifier on the categories
- reconstruction: mean squared error of a colour value, on a scale of 2 from black to white

The held-out items and the probe were also used to make choices. We chose the heads' depth and noise by zero-shot
accuracy and recall on these same items (nine settings of `lit_mobilenetv2_emoji`, four of
`lit_efficientnet_lite0_both`), so the heads' figures are too optimistic. We replaced an LCNet, a MobileNetV3 and a
MobileNetV2 by ResNets, because they were bad on the held-out items and on the stamps' categories. So the probe
influenced the choice of the architectures of `category_resnet_emoji`, `vicreg_resnet_emoji` and `siglip_resnet_both`.

| encoder | held out | zero-shot | recall at 5 | neighbours | accuracy | reconstruction |
|---|--:|--:|--:|--:|--:|--:|
{measured}

SHA-256 of the weights, as in `card.json` and `study/conf/encoder/NAME.yaml`:
```
{digests}
```
"""
