"""Theorem 1 of the paper: by how much, at most, the map from images to captions stretches distances."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmatch.errors import VlmatchError
from vlmatch.geometry import upper_triangle
from vlmatch.gromov.coupling import Coupling, Permutation, checked_coupling
from vlmatch.gromov.losses import Loss, LossName, loss_named
from vlmatch.gromov.space import Matrix, Space, Vector, require_equal_weights

_ROUNDING = 1e-12
"""A ratio may exceed its bound by this share of the bound, because both are rounded."""


@dataclass(frozen=True)
class LipschitzBound:
    """The theorem's bound for one coupling, the measured Lipschitz constant, and both for most pairs of points.

    Distances are in the unit of D_x and D_y; `bound`, `measured` and their quantiles are ratios of text to image
    distances. One pair of near duplicates determines `spacing`, and with it `bound`; the quantiles do not depend on a
    few pairs.

    distortion: GW_inf, the largest |x_ik - y_jl| over i -> j and k -> l of the support. spacing: r, the smallest x_ik,
    i != k. epsilon: the largest distance from the image f(i) of a point to one of its targets, 0 for a permutation.
    bound: 1 + (2 epsilon + distortion) / spacing. It is inf if two points of X coincide, but 1 without distortion,
    because they then coincide in Y too.
    measured: the largest y_f(i)f(k) / x_ik over pairs with x_ik > 0; 0 if there are none.
    energy_change: E of the rounded permutation minus E of the given coupling; 0 if nothing was rounded.
    quantile: the following values hold for at least this share of pairs. bound_quantile: computed like `bound`, but
    without the (1 - quantile) / 2 of all pairs with the most distortion and without as many of the closest pairs; inf
    if more pairs than those coincide. measured_quantile: the ratio that this share of pairs does not exceed, never
    above `bound_quantile`; a pair that coincides in X counts as inf, or as 0 if it coincides in Y too. share: the share
    of all pairs whose ratio is at most `bound_quantile`; at least `quantile`.
    """

    distortion: float
    spacing: float
    epsilon: float
    bound: float
    measured: float
    energy_change: float
    quantile: float
    bound_quantile: float
    measured_quantile: float
    share: float


def lipschitz_bound(
    D_x: ArrayLike | Space,
    D_y: ArrayLike | Space,
    coupling: ArrayLike | Coupling,
    *,
    loss: LossName = "l1",
    rounded: bool = True,
    quantile: float = 0.99,
) -> LipschitzBound:
    """Bound the Lipschitz constant of the Bayes-optimal map f from X to Y under a coupling (theorem 1)::

        L <= 1 + (2 epsilon + GW_inf) / r

    Proof: for i -> j and k -> l of the support, y_jl <= x_ik + GW_inf, and by the triangle inequality
    y_f(i)f(k) <= y_jl + 2 epsilon; divide by x_ik >= r. Pairs with x_ik >= r' and distortion at most G' satisfy the
    same with r' and G'. With r' and G' chosen as quantiles, all but (1 - quantile) / 2 of the pairs satisfy each of the
    two. So the bound holds for at least the share `quantile` of the pairs. With .99, 1 pair in 200 may coincide, as 70
    copies of one image among 1000 do.

    D_x (n, n), D_y (m, m): distances in one unit (scaled, as for the solver), or a `Space` with weights.
    coupling: a permutation (n,) of whole numbers, an (n, m) array, or the solver's `Coupling`.
    rounded: replace the coupling by the permutation with the largest overlap. Without that, the support of a coupling
    that still contains some of the product is every pair, and the bound says nothing; `energy_change` is the price of
    rounding under `loss`. With rounded=False the coupling is used as it is, and f(i) is the point of Y with the least
    mean distance to the targets of i, weighted by their mass. Among the given points, this f is Bayes-optimal if the
    loss is the distance. (For the squared distance, a barycentre would be optimal, but a matrix of angles does not
    determine one.)

    Time O(n^2) for a permutation, else O(n^3); memory O(nm).
    Raises VlmatchError for unequal sizes or weights if `rounded`, for fewer than 2 points in X, a quantile outside
    (0, 1], matrices that are not distances, and a coupling that does not fit them.
    Source: the paper (arXiv 2605.01325), theorem 1; the quantiles are ours.
    """
    x, y = Space.of(D_x, name="D_x"), Space.of(D_y, name="D_y")
    _check(x, y, rounded, quantile)
    matched = checked_coupling(coupling, x.weights, y.weights, name="coupling")
    if rounded:
        images, energy_change = _rounded(matched, x, y, loss_named(loss))
        distortions, epsilon = np.abs(x.distances - y.distances[np.ix_(images, images)]), 0.0
    else:
        dense = matched.dense()
        images, epsilon = _medoids(dense, y)
        distortions, energy_change = _largest_distortions(dense, x, y), 0.0
    spacings, stretched = upper_triangle(x.distances), upper_triangle(y.distances[np.ix_(images, images)])
    ratios = _ratios(stretched, spacings)
    distortion, spacing = float(distortions.max()), float(spacings.min())

    dropped = int((1 - quantile) / 2 * len(ratios))
    most, least = _smallest(upper_triangle(distortions), len(ratios) - dropped), _smallest(spacings, dropped + 1)
    bound_quantile = _bound(2 * epsilon + most, least)
    return LipschitzBound(
        distortion=distortion,
        spacing=spacing,
        epsilon=epsilon,
        bound=_bound(2 * epsilon + distortion, spacing),
        measured=float(ratios[spacings > 0].max(initial=0)),
        energy_change=energy_change,
        quantile=quantile,
        bound_quantile=bound_quantile,
        measured_quantile=_smallest(ratios, len(ratios) - 2 * dropped),
        share=float((ratios <= bound_quantile * (1 + _ROUNDING)).mean()),
    )


def _bound(slack: float, spacing: float) -> float:
    if slack == 0:
        return 1.0
    return 1 + slack / spacing if spacing > 0 else float("inf")


def _smallest(values: Vector, rank: int) -> float:
    """The value of this rank, counted from 1 for the smallest: `rank` values do not exceed it."""
    return float(np.partition(values, rank - 1)[rank - 1])


def _ratios(stretched: Vector, spacings: Vector) -> Vector:
    ratios = np.where(stretched > 0, np.inf, 0.0)
    with np.errstate(over="ignore"):  # the ratio of points that nearly coincide may overflow to inf, which is fine
        np.divide(stretched, spacings, out=ratios, where=spacings > 0)
    return ratios


def _rounded(coupling: Coupling, x: Space, y: Space, rule: Loss) -> tuple[Permutation, float]:
    """The permutation (n,) that shares most mass with the coupling, and the change of E from rounding to it."""
    permutation = coupling.rounded()
    if coupling.permutation is not None:
        return permutation, 0.0
    dense = coupling.dense()
    return permutation, rule.energy(x, y, permutation) - float(np.vdot(rule.at_dense(x, y, dense, None), dense))


def _medoids(dense: Matrix, y: Space) -> tuple[NDArray[np.intp], float]:
    """f (n,): each point's image, with the least mean distance to its targets; and the largest distance to a target."""
    images: NDArray[np.intp] = (dense @ y.distances).argmin(axis=1)
    rows, targets = dense.nonzero()
    return images, float(y.distances[images[rows], targets].max())


def _largest_distortions(dense: Matrix, x: Space, y: Space) -> Matrix:
    """max |x_ik - y_jl| over the targets j of i and l of k: (n, n), from the largest and the smallest y_jl.

    Time O(n) for each entry of the support.
    """
    rows, targets = dense.nonzero()
    starts = np.searchsorted(rows, np.arange(len(x)))
    distortions = np.empty((len(x), len(x)))
    for i, of_i in enumerate(np.split(targets, starts[1:])):
        seen = y.distances[of_i]
        furthest = np.maximum.reduceat(seen.max(axis=0)[targets], starts)
        nearest = np.minimum.reduceat(seen.min(axis=0)[targets], starts)
        distortions[i] = np.maximum(furthest - x.distances[i], x.distances[i] - nearest)
    return distortions


def _check(x: Space, y: Space, rounded: bool, quantile: float) -> None:
    if len(x) < 2:
        raise VlmatchError("D_x has 1 point, wanted at least 2: a Lipschitz constant is about pairs of points")
    if not 0 < quantile <= 1:
        raise VlmatchError(f"quantile={quantile:g}, wanted a share of pairs above 0 and up to 1, such as 0.99")
    if rounded:
        require_equal_weights(x, y, "rounding to a permutation", "give rounded=False")
