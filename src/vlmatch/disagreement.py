"""Disagreement: how much each pair of a probe adds to the misfit of encoder and LLM, and the value of each label."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from vlmatch.errors import VlmatchError
from vlmatch.geometry import PairedGeometry
from vlmatch.scores.mutual_nn import MutualNN
from vlmatch.scores.ridge_r2 import RidgeR2

MAIN = "mutual_nn"
"""The score that orders the pairs, if it could be computed.

It is an ingredient of the rule, and it compares neighbours. The other two scores compare lengths, so they give the
largest shares to captions that lie far from all others, whatever the image shows. An example with SmolLM2: 6% of all
stamps have a caption without a full stop. Among the 20 stamps with the largest shares, nearly half have one by the
other two scores, and 16% by MutualNN.
"""

LEAST_PAIRS = 20
"""Labels with fewer pairs are pooled: a mean over 20 pairs has a standard error of .22 standard deviations."""

OTHER = "(other labels)"

DEFINITIONS = ("gw_paired", "mutual_nn", "ridge_r2")
"""The scores by which a disagreement can be divided among the pairs."""


@dataclass(frozen=True)
class FittingPair:
    """One pair and its share of the disagreement; `times_mean` is the share divided by the mean share."""

    index: int
    id: str
    share: float
    times_mean: float


@dataclass(frozen=True, eq=False)
class Disagreement:
    """Each pair's share of the disagreement between one encoder and one LLM, over n pairs.

    shares: for each score, (n,) numbers of at least 0 with sum 1. fits: for each score, (n,) numbers, larger is better;
    their mean is the score's value. order: the pairs from the worst to the best fitting. missing: for each score that
    could not be computed, the reason.
    """

    shares: Mapping[str, NDArray[np.float64]]
    fits: Mapping[str, NDArray[np.float64]]
    order: NDArray[np.intp]
    missing: Mapping[str, str]

    @property
    def main(self) -> str:
        """The score whose shares order the pairs: `MAIN`, or the paired distortion if there are too few pairs."""
        return MAIN if MAIN in self.shares else "gw_paired"

    def worst(self, count: int, ids: Sequence[str]) -> tuple[FittingPair, ...]:
        """The pairs that fit worst, the worst first. ids: of all n pairs."""
        return self._pairs(self.order[:count], ids)

    def best(self, count: int, ids: Sequence[str]) -> tuple[FittingPair, ...]:
        """The pairs that fit best, the best first. ids: of all n pairs."""
        return self._pairs(self.order[::-1][:count], ids)

    def _pairs(self, places: NDArray[np.intp], ids: Sequence[str]) -> tuple[FittingPair, ...]:
        share = self.shares[self.main]
        return tuple(FittingPair(int(i), ids[i], float(share[i]), float(share[i] * len(share))) for i in places)


def disagreement(
    pair: PairedGeometry,
    scores: Collection[str] = DEFINITIONS,
    *,
    mutual_nn: MutualNN | None = None,
    ridge: RidgeR2 | None = None,
) -> Disagreement:
    """The share of each of n pairs in the disagreement between two geometries.

    scores: which of these to compute. `gw_paired`, the distortion, is always computed, because it costs nothing.

    - `gw_paired`: the sum of row i of |s D^X - D^Y|, divided by the sum of all rows.
    - `mutual_nn`: 1 - (neighbours in common) / k, divided by its sum over all pairs. The pair's fit is
      (neighbours in common) / k.
    - `ridge_r2`: the squared error of the pair's caption out of fold, divided by its sum over all pairs
      (`RidgeR2.errors`). The pair's fit is 1 - n e, where e is the amount by which the pair's error lowers R2.

    If there is no disagreement, all shares are 1 / n. Pairs are ordered by `MAIN`, or without it by the distortion.
    Pairs with the same number of neighbours in common are ordered by how far away, by rank, the neighbours on one side
    lie on the other side, the farthest first: the ranks of trustworthiness and continuity (Venna and Kaski, 2001).

    A score that needs more pairs is left out, with the reason in `missing`. mutual_nn, ridge: these scores with other
    options than the defaults. Time for 644 pairs: that of the ridge score, and 0.2 s for everything else.
    """
    neighbours, regression = mutual_nn or MutualNN(), ridge or RidgeR2()
    distortion = np.abs(pair.scaled_image_distances - pair.text.distances).sum(axis=1)
    fits, missing = _fits(pair, scores, neighbours, regression)
    shares = {"gw_paired": _normalised(distortion)} | {name: _normalised(1 - fit) for name, fit in fits.items()}
    if MAIN in fits:
        order = np.lexsort((-_neighbour_ranks(pair, neighbours.k), fits[MAIN]))
    else:
        order = np.argsort(-distortion, kind="stable")
    return Disagreement(shares, fits, order, missing)


def _fits(
    pair: PairedGeometry, scores: Collection[str], neighbours: MutualNN, ridge: RidgeR2
) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
    """The fit of each pair by the requested scores, and the reason for each score that is missing."""
    if unknown := set(scores) - set(DEFINITIONS):
        raise VlmatchError(f"disagreement by {', '.join(sorted(unknown))}; wanted some of {', '.join(DEFINITIONS)}")
    by_name: dict[str, Callable[[], NDArray[np.float64]]] = {
        "mutual_nn": lambda: neighbours.overlaps(pair) / neighbours.k,
        "ridge_r2": lambda: 1 - len(pair) * ridge.errors(pair),
    }
    fits, missing = {}, {}
    for name, compute in by_name.items():
        if name in scores:
            try:
                fits[name] = compute()
            except VlmatchError as error:
                missing[name] = str(error)
    return fits, missing


@dataclass(frozen=True)
class LabelValue:
    """The mean of a per-pair score over the pairs of one label, by encoder, with its standard error over the pairs."""

    label: str
    n_pairs: int
    values: Mapping[str, float]
    errors: Mapping[str, float]


@dataclass(frozen=True)
class ByLabel:
    """The values of each label, from the most pairs to the fewest, `OTHER` last.

    pooled: the labels with too few pairs, and how many pairs each has; `OTHER` holds all their pairs. left_out: these
    labels instead, if even together they have too few pairs; they are in no value. unlabelled: how many pairs have no
    label; they are in no value.
    """

    labels: tuple[LabelValue, ...]
    pooled: Mapping[str, int]
    left_out: Mapping[str, int]
    unlabelled: int

    @property
    def missing(self) -> str | None:
        """One sentence that says which pairs are in no value; None if every pair is in one."""
        parts = [f"{self.unlabelled} pairs without a label"] if self.unlabelled else []
        if self.left_out:
            names = ", ".join(f"{label} ({n})" for label, n in self.left_out.items())
            parts.append(f"the labels {names}, which have too few pairs")
        return f"not in any value by label: {'; '.join(parts)}" if parts else None


def by_label(
    fits: Mapping[str, NDArray[np.float64]], labels: Sequence[str | None], least: int = LEAST_PAIRS
) -> ByLabel:
    """The value of each label by encoder: the mean of a per-pair score over the label's pairs.

    fits: by encoder, the per-pair values (n,) of one score, as `Disagreement.fits` has them. labels: of the n pairs.
    least: labels of fewer pairs are pooled as `OTHER`.

    A score is not computed again within a label: in 20 pairs, 10 neighbours are half of all, and 50 components can't be
    fitted. Instead, neighbours and regression are those of the whole probe. The values of the labels, weighted by their
    numbers of pairs, add up to the score itself. So a value says how well a label's pairs can be distinguished from all
    other pairs, and less about how well they can be distinguished from each other.

    Raises VlmatchError if no pair has a label, if no label has enough pairs, if lengths differ, or if least < 2.
    """
    _require_labels(fits, labels, least)
    counts = Counter(label for label in labels if label is not None)
    large = [label for label, n in counts.most_common() if n >= least]
    small = {label: n for label, n in counts.most_common() if n < least}
    pooled = small if sum(small.values()) >= least else {}
    if not large and not pooled:
        raise VlmatchError(
            f"answer.by=label: no label has {least} pairs or more, nor do all together ({sum(counts.values())} pairs); "
            "add pairs, or leave answer.by out"
        )
    places = {label: np.array([each == label for each in labels]) for label in large}
    if pooled:
        places[OTHER] = np.array([each in pooled for each in labels])
    values = tuple(_label_value(label, fits, members) for label, members in places.items())
    return ByLabel(values, pooled, {} if pooled else small, sum(label is None for label in labels))


def _label_value(label: str, fits: Mapping[str, NDArray[np.float64]], members: NDArray[np.bool_]) -> LabelValue:
    n = int(members.sum())
    means = {encoder: float(fit[members].mean()) for encoder, fit in fits.items()}
    errors = {encoder: float(fit[members].std(ddof=1) / np.sqrt(n)) for encoder, fit in fits.items()}
    return LabelValue(label, n, means, errors)


def _require_labels(fits: Mapping[str, NDArray[np.float64]], labels: Sequence[str | None], least: int) -> None:
    if least < 2:
        raise VlmatchError(f"least={least}: one pair has no standard error; give 2 pairs or more")
    if all(label is None for label in labels):
        raise VlmatchError(
            f"answer.by=label: none of the {len(labels)} pairs has a label; add a column 'label' to the table of "
            "captions, or leave answer.by out"
        )
    for encoder, fit in fits.items():
        if len(fit) != len(labels):
            raise VlmatchError(f"fits of '{encoder}': {len(fit)} values for {len(labels)} labels; give one per pair")


def _normalised(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The parts divided by their sum; equal shares if all parts are 0."""
    total = parts.sum()
    return parts / total if total > 0 else np.full(len(parts), 1 / len(parts))


def _neighbour_ranks(pair: PairedGeometry, k: int) -> NDArray[np.float64]:
    """(n,): the mean rank, on the other side, of the k nearest neighbours that a pair has on one side."""
    image, text = (_ranks(side.distances) for side in (pair.image, pair.text))
    return (np.where(image <= k, text, 0) + np.where(text <= k, image, 0)).sum(axis=1) / (2 * k)


def _ranks(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, n): the rank of item j among the neighbours of item i; 0 for itself, then from 1; ties by position."""
    others = distances.copy()
    np.fill_diagonal(others, -1)
    return rankdata(others, method="ordinal", axis=1) - 1.0
