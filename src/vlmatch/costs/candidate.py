"""What one candidate costs: from its embeddings, the catalogue, what a run measured, and what the user states."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from vlmatch.embeddings.header import EmbeddingSpec, Header
from vlmatch.embeddings.measured import Measured, known_of
from vlmatch.packages.licences import NONE_STATED, Licence, Terms, commercial_use_by, terms_of
from vlmatch.scores.rows import Row
from vlmatch.settings.budget import CostSettings, amount, short

DECIMALS = 9  # that a value is rounded to: equal means of ranks may differ in the last bits


@dataclass(frozen=True)
class CandidateCost:
    """What an encoder takes in a VLM; None: not known.

    parameters: of the vision side. gflops: operations for one image, in 1e9. tokens: that the LLM is fed for one image,
    if it is fed all patches. images_per_second, device: as an embedding run measured it, with reading and
    preprocessing. licence: its name. commercial_use: whether the licence allows it, 'yes', 'no', 'terms' or
    'unclear'. licence_source: where the licence was found.
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

    measured: gives what was measured for embeddings, such as `read_measured` of a store. stated: what the user says
    about an encoder, by its name, with or without the layer; it overrides everything else.
    """
    told = stated or {}
    images = {row.encoder: row.image for row in rows}
    return {
        label: cost_of(image, measured(image.spec), told.get(label) or told.get(image.spec.model))
        for label, image in images.items()
    }


def cost_of(image: Header, measured: Measured | None = None, stated: CostSettings | None = None) -> CandidateCost:
    """The cost of the encoder that made these embeddings: what `known_of` gives, its speed and its licence."""
    known, terms = known_of(image, measured), _terms(image)
    cost = CandidateCost(
        encoder=image.spec.model,
        parameters=known.parameters,
        gflops=known.gflops,
        tokens=known.tokens,
        images_per_second=measured.items_per_second if measured else None,
        device=measured.device if measured else None,
        licence=terms.licence.name if terms else None,
        commercial_use=terms.commercial_use if terms else "unclear",
        licence_source=(terms.licence.source or None) if terms else None,
    )
    return cost if stated is None else _stated(cost, stated)


def _terms(image: Header) -> Terms | None:
    """The licence terms of an encoder, which were read when it embedded; None if none are known."""
    read = Licence(**{**asdict(NONE_STATED), **image.licence})
    terms = terms_of(read, image.entry.terms if image.entry else None)
    return None if terms.licence.how == NONE_STATED.how else terms


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
