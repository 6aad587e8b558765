"""Try one model: load it as any task would, run it on one image or caption, and print its description."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vlmatch.encoders.catalogue import catalogue
from vlmatch.errors import VlmatchError
from vlmatch.evidence.published import published_ranks
from vlmatch.foreign import model_faults
from vlmatch.inventory.models import terms
from vlmatch.packages.availability import availability
from vlmatch.settings.buildable import ModelSettings
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import CheckTask

CAPTION = "A red circle on white."
COMPARABLE = 3  # fewer items have fewer than two distances, so there is no order to compare


@dataclass(frozen=True)
class Tryout:
    """A model and what it gave for one input: the feature, the number of tokens, seconds to load and to run."""

    model: Any
    subject: str
    feature: Any
    tokens: str
    seconds_to_load: float
    seconds_to_run: float


def try_model(described: ModelSettings, settings: Settings[CheckTask], console: Console) -> None:
    """Run one input through the described encoder or LLM; print the result and all that is known of the model.

    Raises NotHereError if its weights are not available, VlmatchError if its feature is not finite.
    """
    from torch import isfinite

    kind, name = described.kind, described.name
    before = availability(described.plain())
    tryout = _tryout(described, settings)
    finite = int(isfinite(tryout.feature).sum())
    found = terms(described, name)
    licence = found.licence
    rows: list[tuple[str, str]] = [
        ("status", before.status + (f": {before.weights}" if before.weights else "")),
        ("tried on", tryout.subject),
        ("feature rule", tryout.model.rule),
        ("feature", f"{tryout.feature.numel()} numbers, {finite} of them finite"),
        ("tokens", tryout.tokens),
        ("parameters", f"{tryout.model.n_parameters() / 1e6:,.1f}M"),
        ("took", f"{tryout.seconds_to_load:.1f} s to load, {tryout.seconds_to_run:.2f} s to run"),
        *_taken(tryout.model),
        *_adapter(tryout.model),
        *_in_half_precision(tryout.model, settings),
        *_preprocessing(tryout.model.preprocessing),
        ("licence", f"{licence.name} ({licence.how}{f': {licence.source}' if licence.source else ''})"),
        ("commercial use", found.commercial_use),
        *(_of_llm(tryout.model) if kind == "llm" else _known(name)),
    ]
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows:
        table.add_row(Text(key, style="dim"), Text(value))
    console.print(Text(f"\n{kind} '{name}'", style="bold"))
    console.print(table)
    if finite < tryout.feature.numel():
        raise VlmatchError(f"{kind} '{name}': its feature is not finite; its weights may be damaged")


def _tryout(described: ModelSettings, settings: Settings[CheckTask]) -> Tryout:
    import torch

    started = time.perf_counter()
    model = described.build()
    loaded = time.perf_counter()
    item, subject = _item(described.kind, settings)
    with torch.inference_mode():
        read = time.perf_counter()
        remedy = "its preprocessing or weights are of another model; --debug shows the cause"
        with model_faults(described.kind, described.name, "running one input", remedy):
            batch = model.collate([model.prepare(item)])
            feature = model(batch)[0]
        ran = time.perf_counter()
        tokens = str(int(batch["attention_mask"].sum())) if described.kind == "llm" else _tokens(model, batch)
    return Tryout(model, subject, feature, tokens, loaded - started, ran - read)


def _tokens(encoder: Any, batch: Any) -> str:
    """How many tokens a VLM's projector would be fed; some encoders have none."""
    try:
        n_tokens, width = encoder.fed_tokens(batch).shape[1:]
    except VlmatchError as error:
        return f"none: {error}"
    return f"{n_tokens} of {width}"


def _item(kind: str, settings: Settings[CheckTask]) -> tuple[Any, str]:
    """The probe's first image or caption, and which it is; a made-up one if the probe is not here."""
    try:
        probe = settings.probe.build()
    except VlmatchError as error:
        item = drawn() if kind == "encoder" else CAPTION
        what = "a drawn red circle" if kind == "encoder" else f"'{CAPTION}'"
        return item, f"{what}, made up, since the probe is not here ({error})"
    if kind == "encoder":
        return probe.image(0), f"first image of probe '{probe.key}'"
    return probe.captions[0], f"first caption of probe '{probe.key}': '{probe.captions[0]}'"


def drawn() -> Image.Image:
    """A red circle on white, 320 x 240."""
    picture = Image.new("RGB", (320, 240), "white")
    ImageDraw.Draw(picture).ellipse((80, 40, 240, 200), fill="red")
    return picture


def _in_half_precision(model: Any, settings: Settings[CheckTask]) -> Iterator[tuple[str, str]]:
    """How well bf16 keeps the order of distances on the probe's first `task.compare` items, if they are here."""
    from vlmatch.inventory.agreement import precision_agreement

    if settings.task.compare < COMPARABLE:
        return
    try:
        probe = settings.probe.build()
    except VlmatchError:
        return
    rows = range(min(settings.task.compare, len(probe)))
    items = [probe.image(row) if model.kind == "encoder" else probe.captions[row] for row in rows]
    agreement = precision_agreement(model, model.collate([model.prepare(item) for item in items]))
    yield "bf16", f"orders distances as single precision does, on {len(items)} items: Kendall's tau {agreement:.3f}"


def _taken(model: Any) -> Iterator[tuple[str, str]]:
    """What was taken from the user's checkpoint, if it holds more than the tower."""
    if taken := getattr(model, "taken", ""):
        yield "checkpoint", taken


def _adapter(model: Any) -> Iterator[tuple[str, str]]:
    """The adapter that was merged into the weights, if there is one."""
    if adapter := getattr(model, "adapter", None):
        yield "adapter", f"{adapter.folder}, merged into the weights (SHA-256 {adapter.sha256[:8]}...)"


def _preprocessing(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    shown = ", ".join(f"{key} {value}" for key, value in values.items() if value is not None and key != "adapter")
    if shown:
        yield "preprocessing", shown


def _of_llm(llm: Any) -> Iterator[tuple[str, str]]:
    yield "quantisation", llm.quantisation or "none"


def _known(encoder: str) -> Iterator[tuple[str, str]]:
    """The catalogue's row and the published ranks of an encoder."""
    entry = catalogue().get(encoder)
    cells = {} if entry is None else {field.name: getattr(entry, field.name) for field in fields(entry)}
    known = [f"{column.replace('_', ' ')}: {_cell(value)}" for column, value in cells.items() if value is not None]
    yield "catalogue", "\n".join(known) or "no row"
    yield "published", "\n".join(map(str, published_ranks(encoder))) or "in no published table"


def _cell(value: Any) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else f"{value:,}" if isinstance(value, int) else str(value)
