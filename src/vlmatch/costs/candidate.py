"""What one candidate costs: from its embeddings, the catalogue, what a run measured, and what the user states."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from vlmatch.embeddings.header import EmbeddingSpec, Header
from vlmatch.embeddings.measured import Measured
from vlmatch.encoders.catalogue import CatalogueEntry, catalogue
from vlmatch.packages.licences import commercial_use_by
from vlmatch.scores.rows import Row
from vlmatch.settings.budget import CostSettings, amount, short

DECIMALS = 9  # of a value: means of ranks that are equal may differ in the last bits
SAME_SIZE = 0.02  # a model of the catalogue's name is the catalogue's if its parameters differ by at most this part
T = TypeVar("T")


@dataclass(frozen=True)
class CandidateCost:
    """What an encoder takes in a VLM; None: not known.

    parameters: of the vision side. gflops: operations for one image, in 1e9. tokens: that the LLM is fed for one image,
    if it is fed all patches. images_per_second, device: as an embedding run measured it, with reading and
    preprocessing. licence: its name. commercial_use: whether it allows that, 'yes', 'no', 'terms' or 'unclear'.
    licence_source: where the licence stands.
    """

    encoder: str
    parameters: int | None = None
    gflops: float | None = None
    tokens: int | None = None
    images_per_second: float | None = None
    device: str | None = None
    licence: str | None = None
    commercial_use: str = "unclear"
    licence_source: str | None = None

    def __str__(self) -> str:
        """In words: '3.371M parameters, 767.8M FLOPs, 49 tokens, 66 images/s (a GPU), Apache-2.0'."""
        figures = (
            (self.parameters, "parameters"),
            (None if self.gflops is None else self.gflops * 1e9, "FLOPs"),
            (self.tokens, "tokens"),
        )
        words = [f"{'?' if figure is None else short(figure)} {what}" for figure, what in figures]
        if self.images_per_second is not None:
            words.append(f"{self.images_per_second:.3g} images/s ({self.device})")
        return ", ".join([*words, self.licence or "licence not known"])


def costs_of(
    rows: Iterable[Row],
    measured: Callable[[EmbeddingSpec], Measured | None] = lambda spec: None,
    stated: Mapping[str, CostSettings] | None = None,
) -> dict[str, CandidateCost]:
    """The cost of every encoder among `rows`, by its name.

    measured: gives what was measured for embeddings, such as `read_measured` of a store. stated: what the user says of
    an encoder, by its name; it goes before all else.
    """
    images = {row.encoder: row.image for row in rows}
    return {name: cost_of(image, measured(image.spec), (stated or {}).get(name)) for name, image in images.items()}


def cost_of(image: Header, measured: Measured | None = None, stated: CostSettings | None = None) -> CandidateCost:
    """The cost of the encoder that made these embeddings.

    The catalogue speaks of an encoder with its name and size; its FLOPs and tokens hold at its resolution and for its
    last layer only. Elsewhere those that torch counted while embedding hold.
    """
    entry = _entry(image)
    whole = entry if entry is not None and _is_whole(image, entry) else None
    known = CandidateCost(
        encoder=image.spec.model,
        parameters=entry.image_parameters if image.n_parameters is None and entry else image.n_parameters,
        gflops=_first(whole.gflops if whole else None, measured.gflops if measured else None),
        tokens=_first(whole.visual_tokens if whole else None, measured.tokens if measured else None),
        images_per_second=measured.items_per_second if measured else None,
        device=measured.device if measured else None,
    )
    licensed = _catalogued(known, entry) if entry is not None else _named(known, image.licence)
    return licensed if stated is None else _stated(licensed, stated)


def _entry(image: Header) -> CatalogueEntry | None:
    """The catalogue's entry of this encoder; None for another model that happens to have its name."""
    entry = catalogue().get(image.spec.model)
    if entry is None or image.n_parameters is None:
        return entry
    differs = abs(image.n_parameters - entry.image_parameters)
    return entry if differs <= SAME_SIZE * entry.image_parameters else None


def _is_whole(image: Header, entry: CatalogueEntry) -> bool:
    """Whether the whole encoder ran at the catalogue's resolution, as far as one number tells that."""
    side = image.spec.settings.get("image_size") or image.preprocessing.get("size")
    return image.spec.settings.get("layer") is None and (not isinstance(side, int) or side == entry.resolution)


def _catalogued(cost: CandidateCost, entry: CatalogueEntry) -> CandidateCost:
    return replace(
        cost, licence=entry.licence, commercial_use=entry.commercial_use, licence_source=entry.source_licence
    )


def _named(cost: CandidateCost, licence: Mapping[str, str]) -> CandidateCost:
    """A licence as it was read when the encoder embedded."""
    name = licence.get("name")
    if name is None or licence.get("how") == "none stated":
        return cost
    return replace(cost, licence=name, commercial_use=commercial_use_by(name), licence_source=licence.get("source"))


def _stated(cost: CandidateCost, stated: CostSettings) -> CandidateCost:
    """What the user states, in place of what was known."""
    if stated.params is not None:
        cost = replace(cost, parameters=round(amount(stated.params)))
    if stated.tokens is not None:
        cost = replace(cost, tokens=round(amount(stated.tokens)))
    if stated.flops is not None:
        cost = replace(cost, gflops=amount(stated.flops) / 1e9)
    if stated.licence is not None:
        source = f"costs.{cost.encoder}.licence"
        use = commercial_use_by(stated.licence)
        cost = replace(cost, licence=stated.licence, commercial_use=use, licence_source=source)
    if stated.commercial is not None:
        cost = replace(cost, commercial_use="yes" if stated.commercial else "no")
    return cost


def _first(figure: T | None, other: T | None) -> T | None:
    return other if figure is None else figure
