"""Geometry: the angles within a set of embeddings, checked, and scaled as in the paper."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import pdist, squareform

from vlmatch.encoders.spec_sheet import SpecSheet
from vlmatch.errors import VlmatchError

P = ParamSpec("P")
T = TypeVar("T")
G = TypeVar("G")
Rows = NDArray[np.intp]
Labels = Sequence[str | None]

RESOLUTION = 1e-6
"""Radians: a float32 forward pass cannot resolve smaller angles, so embeddings with a median below it are constant."""


def upper_triangle(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """The n (n - 1) / 2 off-diagonal entries of a symmetric (n, n) matrix, row by row."""
    return squareform(distances, checks=False)


def angular_distances(embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles between the rows of an (n, d) array: (n, n), radians in [0, pi], symmetric, exactly 0 on the diagonal.

    With u, v the normalised rows::

        angle = 2 arcsin(|u - v| / 2)

    |u - v| is computed from differences. So small angles keep all their digits; arccos(cosine) and a Gram matrix would
    lose half of them. Within 1e-8 of pi the error is below 3e-8. No row may be 0. Time O(n^2 d), memory O(n^2 + n d).
    """
    rows = embeddings / np.abs(embeddings).max(axis=1, keepdims=True)  # so that squares neither overflow nor underflow
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return squareform(2 * np.arcsin(np.minimum(pdist(rows) / 2, 1)), checks=False)


def known_labels(labels: Labels | None) -> tuple[str | None, ...] | None:
    """The labels of the pairs; None if no pair has one."""
    return tuple(labels) if labels is not None and any(label is not None for label in labels) else None


def compacted(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rows of an (n, d) array rotated into n dimensions, or the array itself if d <= n; angles and lengths stay."""
    if rows.shape[1] <= rows.shape[0]:
        return rows
    triangle: NDArray[np.float64] = np.asarray(np.linalg.qr(rows.T, mode="r")).T
    return triangle


@dataclass(frozen=True, eq=False)
class Geometry:
    """Embeddings (n, d) and the angles between them (n, n), both float64; angles in radians."""

    embeddings: NDArray[np.float64]
    distances: NDArray[np.float64]
    _derived: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def angular(cls, embeddings: ArrayLike, *, kind: str = "these") -> Self:
        """Measure the angles between n embeddings, given as an (n, d) array of any float dtype.

        `kind` ("image", "text") names the embeddings in errors.
        Raises VlmatchError unless the array is n x d with n >= 2, finite, and has no row of zeros.
        """
        checked = _checked(embeddings, kind)
        return cls(checked, angular_distances(checked))

    def __len__(self) -> int:
        return len(self.distances)

    @cached_property
    def median(self) -> float:
        """Median angle between two different items, in radians."""
        return float(np.median(upper_triangle(self.distances)))

    @cached_property
    def compact(self) -> NDArray[np.float64]:
        """The embeddings rotated into at most n dimensions: (n, min(n, d)). Use it for what no rotation changes."""
        return compacted(self.embeddings)

    def derived(self, compute: Callable[Concatenate["Geometry", P], T], *args: P.args, **options: P.kwargs) -> T:
        """`compute(self, *args)`, computed once: its result for this side is reused in every pair with this side."""
        return _remembered(self._derived, self, compute, *args, **options)

    def subset(self, rows: Rows) -> "Geometry":
        """The geometry of some of the items; their angles are not measured again."""
        part = Geometry(self.embeddings[rows], self.distances[np.ix_(rows, rows)])
        part.__dict__["compact"] = compacted(self.compact[rows])
        return part

    @property
    def centred(self) -> "Geometry":
        """The embeddings minus their mean, rotated, and the angles between them, measured once.

        Raises VlmatchError if an embedding is the mean of all.
        """
        return self.derived(_centred)


@dataclass(frozen=True, eq=False)
class PairedGeometry:
    """Two geometries over the same n pairs: item i of one belongs to item i of the other.

    spec: the image encoder's spec sheet, empty if nothing is known. labels: the category of each pair, None for a
    pair without one; None instead of the tuple if no pair has one.
    """

    image: Geometry
    text: Geometry
    spec: SpecSheet = field(default_factory=SpecSheet)
    labels: tuple[str | None, ...] | None = None
    _derived: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.image) != len(self.text):
            raise VlmatchError(
                f"{len(self.image)} image embeddings but {len(self.text)} text embeddings; a pair needs one of each, "
                "so embed the same probe set on both sides"
            )
        if self.labels is not None and len(self.labels) != len(self.image):
            raise VlmatchError(
                f"labels: {len(self.labels)} for {len(self.image)} pairs; give one, or None, for each pair"
            )
        for kind, geometry in (("image", self.image), ("text", self.text)):
            if geometry.median < RESOLUTION:
                raise VlmatchError(
                    f"{kind} embeddings: the median angle between them is {geometry.median:.2g} rad, wanted at least "
                    f"{RESOLUTION:g}: they are constant or nearly so; check the model's weights and its pooling"
                )

    @classmethod
    def angular(
        cls,
        image_embeddings: ArrayLike,
        text_embeddings: ArrayLike,
        *,
        spec: SpecSheet | None = None,
        labels: Labels | None = None,
    ) -> Self:
        """Measure the angles of both sides: (n, d) image and (n, e) text embeddings; row i of both is pair i.

        labels: of the n pairs; if all are None, the geometry has no labels.

        Raises VlmatchError as `Geometry.angular` does, if sides or labels differ in n, and if one side is constant.
        """
        image = Geometry.angular(image_embeddings, kind="image")
        return cls(image, Geometry.angular(text_embeddings, kind="text"), spec or SpecSheet(), known_labels(labels))

    def __len__(self) -> int:
        return len(self.image)

    def subset(self, rows: Rows) -> "PairedGeometry":
        """Some of the pairs. Raises VlmatchError if one side is constant on them."""
        labels = None if self.labels is None else tuple(self.labels[row] for row in rows)
        return PairedGeometry(self.image.subset(rows), self.text.subset(rows), self.spec, labels)

    def derived(self, compute: Callable[Concatenate["PairedGeometry", P], T], *args: P.args, **options: P.kwargs) -> T:
        """`compute(self, *args)`, computed only once: for results of both sides that several scores need."""
        return _remembered(self._derived, self, compute, *args, **options)

    @property
    def scale(self) -> float:
        """s = median off-diagonal text angle / median off-diagonal image angle (the paper's fourth step)."""
        return self.text.median / self.image.median

    @cached_property
    def scaled_image_distances(self) -> NDArray[np.float64]:
        """s D^X: the image angles scaled to the captions' median, (n, n)."""
        return self.scale * self.image.distances


def _remembered(
    kept: dict[Any, Any], of: G, compute: Callable[Concatenate[G, P], T], *args: P.args, **options: P.kwargs
) -> T:
    key = (compute, args, tuple(options.items()))
    if key not in kept:
        kept[key] = compute(of, *args, **options)
    found: T = kept[key]
    return found


def _centred(geometry: Geometry) -> Geometry:
    centred = geometry.compact - geometry.compact.mean(axis=0)
    empty = ~centred.any(axis=1)
    if empty.any():
        raise VlmatchError(
            f"{empty.sum()} of {len(centred)} embeddings are the mean of all, the first at row {empty.argmax()}; "
            "wanted none, because they have no direction from the mean; leave the score out"
        )
    return Geometry(centred, angular_distances(centred))


def _checked(embeddings: ArrayLike, kind: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(embeddings)
    except ValueError as error:  # lists of different lengths
        raise VlmatchError(
            f"{kind} embeddings: they can't be turned into an array ({error}); wanted n x d numbers"
        ) from error
    if array.dtype.kind not in "biuf":
        raise VlmatchError(f"{kind} embeddings: dtype {array.dtype}, wanted real numbers, such as float32")
    if array.ndim != 2 or array.shape[0] < 2 or array.shape[1] < 1:
        raise VlmatchError(
            f"{kind} embeddings: shape {array.shape}, wanted n x d with n >= 2; a model must give one vector per item"
        )
    array = array.astype(np.float64)
    unusable = ~np.isfinite(array).all(axis=1)
    if unusable.any():
        raise VlmatchError(
            f"{kind} embeddings: {unusable.sum()} of {len(array)} rows hold NaN or infinity, the first at row "
            f"{unusable.argmax()}; run the model in float32, and look at that item"
        )
    empty = ~array.any(axis=1)
    if empty.any():
        raise VlmatchError(
            f"{kind} embeddings: {empty.sum()} of {len(array)} rows are all zeros and have no direction, the first "
            f"at row {empty.argmax()}; look at that item, or choose another feature"
        )
    return array
