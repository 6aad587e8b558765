"""The paper's score: the Gromov-Wasserstein distance between image distances and caption distances."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from vlmatch.geometry import Geometry, PairedGeometry
from vlmatch.scores.base import Score, ScoreResult

if TYPE_CHECKING:
    from vlmatch.gromov import GromovWasserstein, Space

QUANTILE = 0.99  # the share of pairs that the details `lipschitz_bound_99` and `lipschitz_99` hold for


@dataclass(frozen=True)
class GW(Score):
    """E^(1/2) of the l1 Gromov-Wasserstein coupling that conditional gradient reaches from the product coupling::

        E(pi) = sum_ijkl |s D^X_ik - D^Y_jl| pi_ij pi_kl

    The paper (arXiv 2605.01325). The score does not use the pairing of images and captions. Range [0, inf), smaller is
    better. Its unit is the root of a radian of D^Y, so values are comparable only within one LLM, recipe and probe set;
    the detail `gw_relative` = (E / median D^Y)^(1/2) has no unit.

    The details `lipschitz_bound_99` and `lipschitz_99` are about theorem 1. The coupling defines a map from images to
    captions, which stretches at most 1% of all distances by more than either number. The first is the theorem's bound
    after the most extreme pairs are dropped; the second is the measured quantile. Both can be infinite if many pairs of
    images coincide (`gromov.lipschitz`).

    local_search: afterwards exchange the partners of two points as long as that helps (not part of the paper).
    Time O(n^3) an iteration, memory O(n^2): less than a second at n = 644 on two cores.
    """

    max_iterations: int = 1000
    tolerance: float = 1e-12
    local_search: bool = False

    title: ClassVar[str] = "GW"
    version: ClassVar[int] = 4  # 2: detail `lower_bound`; 3: ties in the solver, detail `start`; 4: Lipschitz details
    higher_is_better: ClassVar[bool] = False
    uses: ClassVar[tuple[str, ...]] = ("images", "captions")
    squares: ClassVar[int] = 54
    most_resampled: ClassVar[int | None] = 300
    start: ClassVar[str] = "product"

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        """Score `pair`, of n >= 2 pairs."""
        from vlmatch.gromov import lipschitz_bound

        images, captions = self._spaces(pair)
        found = self._found(images, captions)
        lipschitz = lipschitz_bound(images, captions, found.coupling, quantile=QUANTILE)
        details: dict[str, float | int | str] = {
            "gw_relative": math.sqrt(found.energy / pair.text.median),
            "energy": found.energy,
            "lower_bound": found.lower_bound or 0.0,
            "lipschitz_bound_99": lipschitz.bound_quantile,
            "lipschitz_99": lipschitz.measured_quantile,
            "gap": found.gap,
            "converged": "yes" if found.converged else "no",
            "start": found.start,
            "iterations": found.iterations,
            "seconds": found.seconds,
            "scale": pair.scale,
        }
        return ScoreResult(found.distance, details)

    def value(self, pair: PairedGeometry) -> float:
        """The score without its bounds. A subsample uses one thread, because several are computed at the same time."""
        workers = 1 if len(pair) <= (self.most_resampled or 0) else None
        return self._found(*self._spaces(pair), lower_bound=None, workers=workers).distance

    def _spaces(self, pair: PairedGeometry) -> tuple["Space", "Space"]:
        from vlmatch.gromov import Space  # compiled code: importing it takes half a second

        return Space.of(pair.scaled_image_distances, name="D_x"), pair.text.derived(_space)

    def _found(self, images: "Space", captions: "Space", **options: Any) -> "GromovWasserstein":
        from vlmatch.gromov import gromov_wasserstein

        return gromov_wasserstein(
            images,
            captions,
            start=self.start,
            local_search=self.local_search,
            max_iterations=self.max_iterations,
            tolerance=self.tolerance,
            **options,
        )


def _space(captions: Geometry) -> "Space":
    from vlmatch.gromov import Space

    return Space.of(captions.distances, name="D_y")


@dataclass(frozen=True)
class GWIdentity(GW):
    """GW where conditional gradient starts at the known pairing: each image with its own caption.

    This is the optimum nearest to the known pairing, not the lowest one; it is never above GW paired. Everything else
    is as for GW.
    """

    title: ClassVar[str] = "GW identity"
    version: ClassVar[int] = 2  # 2: Lipschitz details
    uses: ClassVar[tuple[str, ...]] = ("images", "captions", "pairing")
    start: ClassVar[str] = "identity"


@dataclass(frozen=True)
class GWBest(GW):
    """GW at the lowest energy that is reached from five starts, one of which is the known pairing.

    Of all GW scores this is the nearest to the optimum. The detail `start` names the start that gave it. Everything
    else is as for GW, at five times the cost.
    """

    title: ClassVar[str] = "GW best"
    version: ClassVar[int] = 2  # 2: Lipschitz details
    uses: ClassVar[tuple[str, ...]] = ("images", "captions", "pairing")
    resampled: ClassVar[bool] = False
    squares: ClassVar[int] = 80
    start: ClassVar[str] = "best"
