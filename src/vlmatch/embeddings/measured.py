"""What a run measured while it embedded: kept beside the embeddings, whose numbers do not depend on it."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from vlmatch.embeddings.beside import read_beside, write_beside
from vlmatch.embeddings.header import EmbeddingSpec, Header
from vlmatch.embeddings.store import Store
from vlmatch.encoders.spec_sheet import SpecSheet

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Measured:
    """How fast a model embedded, and what one image takes.

    items: number of images or captions. seconds: from the first one read to the last one stored, without loading the
    model. device: its name. gflops: operations that torch counted for one image, in 1e9. tokens: how many a VLM's
    projector would be fed. The last two are None for an LLM, and if they can't be counted.
    """

    items: int
    seconds: float
    device: str
    gflops: float | None = None
    tokens: int | None = None

    @property
    def items_per_second(self) -> float:
        """Images or captions per second, including reading and preprocessing."""
        return self.items / self.seconds

    @classmethod
    def together(cls, parts: Sequence["Measured | None"]) -> Self | None:
        """The measurement of a model made of these parts, each of which embeds all images; None if one is missing."""
        known = [part for part in parts if part is not None]
        if not known or len(known) < len(parts):
            return None
        counted = [part.gflops for part in known if part.gflops is not None]
        return cls(
            items=known[0].items,
            seconds=sum(known[0].items / part.items_per_second for part in known),
            device=" and ".join(dict.fromkeys(part.device for part in known)),
            gflops=sum(counted) if len(counted) == len(known) else None,
        )


def read_measured(store: Store, spec: EmbeddingSpec) -> Measured | None:
    """What was measured when the embeddings of this spec were computed; None if nothing was measured for them."""
    try:
        return Measured(**read_beside(store, spec, "measured"))
    except TypeError:
        return None


def known_of(header: Header, measured: Measured | None) -> SpecSheet:
    """What is known about an encoder: as stated, else as the catalogue says, else as counted while it embedded."""
    sheet = header.spec_sheet
    return sheet if measured is None else sheet.counted(measured.gflops, measured.tokens)


def spec_sheet_of(store: Store | None, header: Header) -> SpecSheet:
    """What is known about the encoder of stored embeddings: `known_of` with the measurement in the store."""
    sheet = header.spec_sheet
    if store is None or None not in (sheet.gflops, sheet.tokens):  # then no file has to be read
        return sheet
    return known_of(header, read_measured(store, header.spec))


def write_measured(store: Store, spec: EmbeddingSpec, measured: Measured) -> None:
    """Keep what was measured for these embeddings; it replaces what an earlier run measured."""
    write_beside(store, spec, "measured", asdict(measured))


def device_name(device: "torch.device", n_devices: int = 1) -> str:
    """The name of the hardware: of the GPU, or of the processor with the number of threads that torch uses."""
    import torch

    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type == "cpu":
        threads = torch.get_num_threads()
        name = f"{_processor()}, {threads} thread{'s'[: threads != 1]}"
    else:
        name = device.type
    return name if n_devices == 1 else f"{n_devices} x {name}"


def _processor() -> str:
    """The processor's name as Linux reports it; on other systems, what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
