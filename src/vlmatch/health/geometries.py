"""Checks of one model's embeddings: collapse, a direction shared by all, copies, hubs, constant and many features."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import skew

from vlmatch.geometry import RESOLUTION, Geometry, upper_triangle
from vlmatch.health.findings import Finding, Side
from vlmatch.scores.mutual_nn import is_neighbour

NOISE_SHARE = 10
"""The median angle must be this many times the smallest angle that the forward pass resolves.

The squares of angle and noise add up. So noise of a tenth of the typical angle changes this angle by 1/200. It changes
nearest neighbours more.
"""

FEW_DIRECTIONS = 3.0
"""A participation ratio below this is a collapse: the items lie almost on a line or in a plane.

Measured on the stamps with 35 encoders: 1.6 for the mean colour, 2.7 for a random ResNet-18, 2.3 for HED (an edge
detector), and 3.4 or more for the others.
"""

SHARED_DIRECTION = 0.8
"""If the mean cosine is at least this, one direction that all items share hides the rest.

Mean cosine: Ethayarajh (2019); what to do about it: Mu and Viswanath (2018). Calibrated on 35 encoders and 2 LLMs on
the stamps. Where it is higher, centring replaces 29 to 58% of the 10 nearest neighbours; where it is lower, 11 to 35%.
"""

NEIGHBOURS = 10
"""The number k of nearest neighbours, as in MutualNN."""

HUB_SKEWNESS = 1.5
"""There are hubs if the skewness of `neighbour_counts` is at least this (Radovanovic et al., 2010).

On the stamps, both LLMs lie above (1.7, 1.8), as do 2 of 32 pretrained encoders (1.5, 1.7) and 2 controls (3.3, 5.1).
Equally likely neighbours give 1 / sqrt(k) = 0.3, and Gaussian noise of an encoder's covariance gives up to 3.9.
"""

COPIES = 0.01
"""Copies are a warning if at least this share of items has one: a copy takes one of an item's 10 neighbour places."""

CONSTANT = 0.5
"""Constant features are a warning if at least this share is constant: a few dead units are usual, but not half."""

HUB = 4
"""An item is named as a hub if it is a neighbour of at least this many times the mean number of items."""

SHOWN = 8  # items of a finding


def health_of(geometry: Geometry, side: Side, name: str, *, resolution: float = RESOLUTION) -> tuple[Finding, ...]:
    """What is wrong, or worth knowing, with n embeddings by one model; nothing if all is well.

    side: 'images' or 'captions'. name: the model's. resolution: the smallest angle that its forward pass resolves, in
    radians (`pool.resolution_of`). Time O(n^2 log n), for 644 items 0.05 s; memory O(n^2).
    """
    found = [
        _collapsed(geometry, side, name, resolution),
        _shared_direction(geometry, side, name),
        _copies(geometry, side, name),
        _hubs(geometry, side, name),
        _constant_features(geometry, side, name),
        _wide(geometry, side, name),
    ]
    return tuple(finding for finding in found if finding is not None)


def participation_ratio(geometry: Geometry) -> float:
    """How many directions n embeddings fill after normalisation to length 1 and centring: (sum l)^2 / sum l^2.

    l are the eigenvalues of the covariance. They need not be computed: their sum is the trace of K, the centred Gram
    matrix of the unit vectors, and their sum of squares is the squared norm of K. K is computed from the chords,
    2 sin(angle / 2), which keep the digits of small angles. Range 1 to min(n - 1, d); 0 if all angles are 0.
    """
    squares = np.square(2 * np.sin(geometry.distances / 2))
    means = squares.mean(axis=1)
    gram = -(squares - means[:, None] - means[None, :] + squares.mean()) / 2
    norm = float(np.square(gram).sum())
    return float(np.trace(gram)) ** 2 / norm if norm > 0 else 0.0


def mean_cosine(geometry: Geometry) -> float:
    """The mean cosine between two different embeddings.

    Above .8, it equals the strongest direction's share of the energy, to within .03 for 37 models on the stamps.
    """
    return float(np.cos(upper_triangle(geometry.distances)).mean())


def neighbour_counts(geometry: Geometry, k: int = NEIGHBOURS) -> NDArray[np.intp]:
    """(n,): of how many items each is among the k nearest, as MutualNN takes them; the mean is k."""
    return geometry.derived(is_neighbour, k).sum(axis=0)


def _collapsed(geometry: Geometry, side: Side, name: str, resolution: float) -> Finding | None:
    if geometry.median < NOISE_SHARE * resolution:
        low = resolution > RESOLUTION
        remedy = "Embed again in single precision: trainer.precision=32-true"
        remedy += ", and for an LLM llm.dtype=float32" if side == "captions" else ""
        return Finding(
            "collapsed",
            side,
            model=name,
            figure=geometry.median,
            measured=f"the median angle is {geometry.median:.2g} rad, and the forward pass resolves "
            f"{resolution:.2g} rad",
            warning=True,
            remedy=remedy if low else "Check the model's weights, its layer and its pooling",
        )
    ratio = participation_ratio(geometry)
    if ratio >= FEW_DIRECTIONS or len(geometry) <= FEW_DIRECTIONS + 1:  # n items fill at most n - 1
        return None
    choices = (
        "encoder.feature=vlm_input or another encoder.layer"
        if side == "images"
        else "llm.pooling=mean_after_first (in llm.pooling=mean the first token may decide) or another llm.layer"
    )
    return Finding(
        "collapsed",
        side,
        model=name,
        figure=ratio,
        measured=f"they fill {ratio:.1f} directions (participation ratio), wanted at least {FEW_DIRECTIONS:g}",
        warning=True,
        remedy=f"Compare {choices}; if that changes nothing, the model distinguishes few of these {side}",
    )


def _shared_direction(geometry: Geometry, side: Side, name: str) -> Finding | None:
    cosine = mean_cosine(geometry)
    if cosine < SHARED_DIRECTION:
        return None
    return Finding(
        "shared_direction",
        side,
        model=name,
        figure=cosine,
        measured=f"the mean cosine is {cosine:.2f}: a direction that all {side} share holds most of each vector",
        warning=True,
        remedy="Compare cka_debiased and gw_centred, which remove this direction, with cka and gw; ridge R2 always "
        "removes it",
    )


def _copies(geometry: Geometry, side: Side, name: str) -> Finding | None:
    others = geometry.distances.copy()
    np.fill_diagonal(others, np.inf)
    nearest = others.min(axis=1)
    places = np.flatnonzero(nearest < RESOLUTION)
    if not len(places):
        return None
    n = len(geometry)
    remedy = (
        "Look at them: preprocessing may crop what differs (narrow images), or they are the same "
        "(probe.drop_near_duplicates=4 leaves those out)"
        if side == "images"
        else "Look at them: the captions may be the same, or differ only after the first llm.max_tokens tokens"
    )
    measured = f"{len(places)} of {n} have a copy, and no score can distinguish the two"
    return Finding(
        "copies",
        side,
        model=name,
        figure=len(places) / n,
        measured=measured,
        warning=len(places) >= COPIES * n,
        remedy=remedy,
        items=_few(places),
    )


def _hubs(geometry: Geometry, side: Side, name: str) -> Finding | None:
    if len(geometry) < NEIGHBOURS + 2:
        return None  # all are neighbours of all
    counts = neighbour_counts(geometry)
    if np.ptp(counts) == 0:
        return None
    skewness = float(skew(counts))
    if skewness < HUB_SKEWNESS:
        return None
    places = np.argsort(-counts, kind="stable")
    return Finding(
        "hubs",
        side,
        model=name,
        figure=skewness,
        measured=f"one item is among the {NEIGHBOURS} nearest of {counts.max()} others, "
        f"{counts.max() / NEIGHBOURS:.1f} times the mean (skewness of these counts {skewness:.1f})",
        warning=True,
        remedy="MutualNN depends much on such items: compare it with scores that centre; if they order encoders "
        "differently, look at the item",
        items=_few(places[counts[places] >= HUB * NEIGHBOURS]),
    )


def _constant_features(geometry: Geometry, side: Side, name: str) -> Finding | None:
    values = geometry.embeddings
    constant = int((np.ptp(values, axis=0) <= RESOLUTION * np.abs(values).max(axis=0)).sum())
    if not constant:
        return None
    d = values.shape[1]
    warning = constant >= CONSTANT * d
    remedy = "Check the model's weights and its feature" if warning else "Nothing to do: they add nothing to any score"
    return Finding(
        "constant_features",
        side,
        model=name,
        figure=constant / d,
        measured=f"{constant} of {d} features are the same for all {side}",
        warning=warning,
        remedy=remedy,
    )


def _wide(geometry: Geometry, side: Side, name: str) -> Finding | None:
    n, d = geometry.embeddings.shape
    if d <= n:
        return None
    return Finding(
        "more_features_than_pairs",
        side,
        model=name,
        figure=d / n,
        measured=f"{d} features for {n} pairs, so that a linear map fits anything",
        warning=False,
        remedy="Use scores that are computed on held-out pairs (ridge R2) or debiased (cka_debiased), or add pairs",
    )


def _few(places: NDArray[np.intp]) -> tuple[int, ...]:
    return tuple(int(place) for place in places[:SHOWN])
