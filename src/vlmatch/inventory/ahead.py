"""What a sweep will take: models to download and computing time, estimated before it starts."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vlmatch.encoders.catalogue import catalogue
from vlmatch.errors import enumerated
from vlmatch.inventory.models import Model
from vlmatch.inventory.sizes import size_to_come
from vlmatch.packages.availability import HUB, LOGIN

BYTES_OF_ENCODERS, BYTES_OF_LLMS = 4, 2  # per parameter, in the files that hubs usually have
TOKENS_OF_A_CAPTION = 20
# Operations per second in forward passes. A GPU's rate is not measured: 30e12 is a guess for one with 24 GB.
RATES = {"gpu": 30e12, "core": 20e9}
_PARAMETERS = re.compile(r"(\d+(?:\.\d+)?)([bm])\b")


@dataclass(frozen=True)
class Ahead:
    """Encoders and LLMs of a sweep, GB to download, minutes of computing, and the models that neither counts."""

    encoders: int
    llms: int
    n_pairs: int
    gigabytes: float
    minutes: float
    place: str
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        """One line for the terminal."""
        minutes = "a minute" if self.minutes < 1.5 else f"{self.minutes:.0f} minutes"
        said = (
            f"{self.encoders} encoder{'s'[: self.encoders != 1]}, {self.llms} LLM{'s'[: self.llms != 1]}, "
            f"{self.n_pairs:,} pairs: about {self.gigabytes:.1f} GB to download, and about {minutes} "
            f"of embedding on {self.place}, if nothing is stored yet; scoring comes on top"
        )
        unknown = f" (not counted, because the size is not known: {enumerated(self.unknown, 3)})"
        return said + (unknown if self.unknown else "")


def ahead(found: Sequence[Model], n_pairs: int, *, gpu: bool, protocols: int = 1) -> Ahead:
    """Estimate what embedding `n_pairs` pairs with these models takes; each model embeds them once per protocol."""
    counts = {model: parameters(model) for model in found}
    operations = sum(_operations(model, counts[model]) or 0.0 for model in found) * n_pairs * protocols
    cores = os.cpu_count() or 1
    absent = [model for model in found if model.availability.status in (HUB, LOGIN) or model.availability.absent]
    gigabytes = sum(_to_download(model, counts[model]) or 0.0 for model in absent) / 1e9
    unknown = [model.name for model in found if _operations(model, counts[model]) is None]
    return Ahead(
        sum(model.kind == "encoder" for model in found),
        sum(model.kind == "llm" for model in found),
        n_pairs,
        gigabytes,
        operations / (RATES["gpu"] if gpu else RATES["core"] * cores) / 60,
        "a GPU" if gpu else f"{cores} CPU cores",
        tuple(unknown),
    )


def parameters(model: Model) -> int | None:
    """How many parameters a model's weight file holds: from the catalogue, or from an LLM's name; None: not known."""
    if model.kind == "encoder":
        entry = catalogue().get(model.name)
        return None if entry is None else entry.total_parameters or entry.image_parameters
    found = _PARAMETERS.search(model.name)
    return None if found is None else int(float(found[1]) * {"b": 1e9, "m": 1e6}[found[2]])


def _operations(model: Model, count: int | None) -> float | None:
    """Operations for one image or caption."""
    if model.kind == "encoder":
        entry = catalogue().get(model.name)
        return None if entry is None or entry.gflops is None else entry.gflops * 1e9
    return None if count is None else 2.0 * count * TOKENS_OF_A_CAPTION


def _to_download(model: Model, count: int | None) -> float | None:
    if model.availability.absent:
        return size_to_come(model.availability.absent)
    each = BYTES_OF_ENCODERS if model.kind == "encoder" else BYTES_OF_LLMS
    return None if count is None else float(count * each)
