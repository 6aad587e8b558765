"""The page's pictures: the pairs that fit the pick worst and best, and each label's value by encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from vlmatch.disagreement import MAIN, ByLabel, by_label, disagreement
from vlmatch.embeddings.header import EmbeddingSpec
from vlmatch.embeddings.store import Embeddings
from vlmatch.errors import VlmatchError
from vlmatch.geometry import Geometry, PairedGeometry
from vlmatch.health.findings import FindingGroup, grouped
from vlmatch.health.pool import angles_for_health, health_of_pool
from vlmatch.probes.pairs import ProbeSet
from vlmatch.ranking import LlmRanking, Ranking
from vlmatch.report.cells import Cell, Column, Line, Table, figure_cell
from vlmatch.report.gallery import GalleryPair, gallery
from vlmatch.report.table import number
from vlmatch.scores.mutual_nn import MutualNN

SHOWN = 8  # pairs of each kind
ReadEmbeddings = Callable[[EmbeddingSpec], Embeddings | None]
Health = tuple[FindingGroup, ...] | None
"""The findings on one ranking, each remedy once; None if none of its embeddings are here."""


def none_kept(spec: EmbeddingSpec) -> Embeddings | None:
    """No embeddings are here to be read."""
    return None


@dataclass(frozen=True)
class Pairs:
    """The worst fitting pairs, worst first, and the best, best first. score: the name of the score that orders them."""

    worst: tuple[GalleryPair, ...]
    best: tuple[GalleryPair, ...]
    score: str


@dataclass(frozen=True)
class LabelValues:
    """Each label's value by encoder. missing: which pairs the table leaves out, in words; None if it has all."""

    table: Table
    missing: str | None


def pool_health(ranking: Ranking, embeddings: ReadEmbeddings, probe: ProbeSet | None) -> Health:
    """What is wrong, or worth knowing, with the embeddings of a ranking.

    Controls are left out, because they are made to be poor. probe: its pairs are checked too, unless it is None or not
    the probe of this ranking.
    """
    if probe is not None and probe.key != ranking.probe:
        probe = None
    headers = [header for llm in ranking.llms for each in llm.encoders for header in (each.row.image, each.row.text)]
    specs = {header.fingerprint: header.spec for header in headers if not header.control}
    found = (each for spec in specs.values() if (each := embeddings(spec)) is not None)  # one in memory at a time
    first = next(found, None)
    return None if first is None else grouped(health_of_pool(chain([first], found), probe))


def worst_and_best(pair: PairedGeometry, probe: ProbeSet) -> Pairs:
    """The pairs of a probe that fit worst and best, with their pictures; no pair is in both lists."""
    found = disagreement(pair, (MAIN,))
    count = min(SHOWN, len(pair) // 2)
    ids = [each.id for each in probe.pairs]
    return Pairs(gallery(probe, found.worst(count, ids)), gallery(probe, found.best(count, ids)), found.main)


def label_values(
    llm: LlmRanking, embeddings: ReadEmbeddings, labels: Sequence[str | None], key: str
) -> LabelValues | None:
    """The table of `values_by_label`; None if that is None."""
    values = values_by_label(llm, embeddings, labels)
    return None if values is None else LabelValues(_label_table(values, key), values.missing)


def values_by_label(llm: LlmRanking, embeddings: ReadEmbeddings, labels: Sequence[str | None]) -> ByLabel | None:
    """The share of neighbours in common (MutualNN) within each label, by candidate.

    None if no label has enough pairs, if embeddings are not here, or if the score needs more pairs.
    """
    captions = embeddings(llm.encoders[0].row.text.spec)
    candidates = [each.row for each in llm.encoders if not each.row.image.control]
    if captions is None or not candidates or not any(label is not None for label in labels):
        return None
    text, neighbours, fits = angles_for_health(captions.array), MutualNN(), {}
    try:
        for row in candidates:
            images = embeddings(row.image.spec)
            if images is not None:
                fits[row.encoder] = _overlaps(neighbours, angles_for_health(images.array), text)
        return by_label(fits, labels) if fits else None
    except VlmatchError:
        return None


def _overlaps(neighbours: MutualNN, images: Geometry, text: Geometry) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = (
        neighbours.overlaps(PairedGeometry(images, text)) / neighbours.k
    )
    return found


def _label_table(values: ByLabel, key: str) -> Table:
    encoders = list(values.labels[0].values)
    columns = [Column("pairs", best_first="descending"), Column("first", words=True)]
    columns += [Column(encoder, best_first="descending") for encoder in encoders]
    lines = []
    for each in values.labels:
        first = max(encoders, key=each.values.__getitem__)
        cells = [figure_cell(each.n_pairs, "d"), Cell(first, sorted_by=first, style="l")]
        for name in encoders:
            value, style = each.values[name], "first" if name == first else ""
            cells.append(Cell(number(value), f"± {number(each.errors[name])}", value, style))
        lines.append(Line(each.label, tuple(cells)))
    return Table(key, "label", tuple(columns), tuple(lines))
