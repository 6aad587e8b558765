"""Disagreement: how much each pair of a probe adds to the misfit of an encoder with an LLM, and the value of labels."""

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
"""The definition that orders the pairs, where it could be computed.

It is an ingredient of the rule, and it compares neighbours. The other two compare lengths, and give the largest shares
to captions that lie far from all others, whatever their image shows. By SmolLM2, half of the 20 stamps with the largest
shares have a caption without a full stop, as 6% of all have; by MutualNN 16%.
"""

LEAST_PAIRS = 20
"""A label of fewer pairs is pooled with others: the mean over 20 pairs has a standard error of .22 deviations."""

OTHER = "(other labels)"

DEFINITIONS = ("gw_paired", "mutual_nn", "ridge_r2")
"""The scores that a disagreement can be shared out by."""


@dataclass(frozen=True)
class FittingPair:
    """One pair and its share of the disagreement; `times_mean` is the share as a multiple of the mean pair's."""

    index: int
    id: str
    share: float
    times_mean: float


@dataclass(frozen=True, eq=False)
class Disagreement:
    """Each pair's share of the disagreement between one encoder and one LLM, over n pairs.

    shares: by score, (n,), at least 0, with sum 1. fits: by score, (n,), larger is better; their mean is the score's
    value, so the fits of the parts of a probe add up to the score. order: the pairs from the worst to the best fitting.
    missing: by score, why it could not be computed.
    """

    shares: Mapping[str, NDArray[np.float64]]
    fits: Mapping[str, NDArray[np.float64]]
    order: NDArray[np.intp]
    missing: Mapping[str, str]

    @property
    def main(self) -> str:
        """The score whose shares order the pairs: `MAIN`, or the paired distortion where there are too few pairs."""
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
    """Who disagrees: the share of each of n pairs in the disagreement between two geometries.

    scores: which of these definitions to compute, besides the distortion, which costs nothing.

    - `gw_paired`: row i of |s D^X - D^Y|, summed, over the sum of all rows.
    - `mutual_nn`: 1 - (neighbours in common) / k, over its sum. The pair's fit is (neighbours in common) / k.
    - `ridge_r2`: the squared error of the pair's caption out of fold, over its sum (`RidgeR2.errors`). The pair's fit
      is 1 - n times what the error takes off R2.

    Where nothing disagrees, all shares are 1 / n. Pairs are ordered by `MAIN`. Among pairs with the same number of
    neighbours in common, those come first whose neighbours on one side lie further away, by rank, on the other: the
    ranks of trustworthiness and continuity (Venna and Kaski, 2001). Without `MAIN` they are ordered by the distortion.

    A score that needs more pairs is left out and named in `missing`. mutual_nn, ridge: with other options than the
    default ones. Time for 644 pairs: the ridge as its score, all else 0.2 s.
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
    """The values of each pair by the scores asked for, and why one is missing."""
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

    pooled: the labels of too few pairs, with their numbers, whose pairs `OTHER` holds. left_out: those among them that
    stand nowhere, because all together are too few. unlabelled: how many pairs have no label; they are in no value.
    """

    labels: tuple[LabelValue, ...]
    pooled: Mapping[str, int]
    left_out: Mapping[str, int]
    unlabelled: int

    @property
    def missing(self) -> str | None:
        """One sentence that says which pairs stand in no value; None if all do."""
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
    fitted. The mean of the per-pair values keeps neighbours and regression of the whole probe, and the values of the
    labels, weighted by their pairs, add up to the score itself. So it says how well a label's pairs are told from all
    others, and less of how well they are told from each other.

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
            raise VlmatchError(f"fits of '{encoder}': {len(fit)} values for {len(labels)} labels; give one a pair")


def _normalised(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares that sum to 1; equal ones where there is nothing to share."""
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
