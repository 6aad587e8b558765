"""Principal components of an encoder's training features, and three ways to change a feature with them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from sklearn.covariance import ledoit_wolf_shrinkage

from vlmatch.encoders.weights import local_path, read_state_dict
from vlmatch.errors import VlmatchError
from vlmatch.files import renamed

SMALLEST = 1e-6
"""Components with less than this part of the first one's variance are left out: single precision is too coarse."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PrincipalComponents:
    """Mean (d,), orthonormal components (r, d) by falling variance, and their variances (r,), in double precision.

    r is d, unless a variance is below `SMALLEST` of the first, or there are too few rows: n rows have n - 1 components.

    shrunk: the variances (r,) under Ledoit and Wolf's estimate of the covariance (2004), which whitening uses. The
    sample's own are too small in the last components. Whitened by them, with 2,639 pictures and 1,280 dimensions,
    held-out pictures would have 7 times the variance of the training pictures in the last third of the components
    (1.9 times with shrinking), and n <= d pictures would all have the same distance from each other.
    """

    mean: Array
    components: Array
    variances: Array
    shrunk: Array

    @classmethod
    def fit(cls, features: NDArray[Any]) -> Self:
        """The components of n features (n, d), from their sample covariance (divisor n - 1).

        The sign of a component makes its largest entry positive, as in scikit-learn's PCA, so that equal features give
        equal components. Raises VlmatchError if fewer than two rows are given, or all are equal.
        """
        values = np.asarray(features, dtype=np.float64)
        mean = values.mean(axis=0)
        _, singular, components = np.linalg.svd(values - mean, full_matrices=False)
        variances = singular**2 / max(len(values) - 1, 1)
        kept = variances > SMALLEST * variances[0]
        kept[max(len(values) - 1, 0) :] = False
        if not kept.any():
            raise VlmatchError(
                f"{len(values)} features of width {values.shape[1]} have no variance; give different ones"
            )
        largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
        shrinkage = ledoit_wolf_shrinkage(values)
        shrunk = (1 - shrinkage) * variances + shrinkage * variances.sum() / values.shape[1]
        return cls(mean, (components * np.sign(largest))[kept], variances[kept], shrunk[kept])

    def scores(self, features: NDArray[Any], n: int | None = None) -> Array:
        """The coordinates of features (m, d) on the first n components, all by default: (m, n)."""
        return (np.asarray(features, dtype=np.float64) - self.mean) @ self.components[:n].T

    def whitened(self, features: NDArray[Any]) -> Array:
        """Features (m, d) multiplied by the inverse square root of the shrunk covariance: (m, d).

        They are rotated back to the original axes because a projector may standardise each dimension. In the axes of
        the components, that would undo the shrinking. No score depends on the axes.
        """
        return self.scores(features) / np.sqrt(self.shrunk) @ self.components

    def coloured(self, noise: NDArray[Any]) -> Array:
        """Standard normal numbers (m, r) as features (m, d) with the mean and covariance of the training features."""
        return self.mean + noise * np.sqrt(self.variances) @ self.components

    def write(self, path: Path, about: Mapping[str, Any]) -> None:
        """Write all to a .safetensors file in single precision. about: what it was fitted on, kept in the file.

        Equal components and an equal `about` give equal bytes.
        """
        tensors = {
            "mean": self.mean.astype(np.float32),
            "components": self.components.astype(np.float32),
            "variances": self.variances.astype(np.float32),
            "shrunk": self.shrunk.astype(np.float32),
        }
        with renamed(path) as temporary:
            temporary.write_bytes(save(tensors, metadata={"fitted_on": json.dumps(dict(about), sort_keys=True)}))

    @classmethod
    def read(cls, name: str, checkpoint: str) -> Self:
        """Read what `write` wrote. name: the encoder that needs it, for messages.

        Raises NotHereError if the file is missing, VlmatchError if it holds something else.
        """
        path = local_path(name, checkpoint)
        state = {key: value.double().numpy() for key, value in read_state_dict(name, path).items()}
        if set(state) != {"mean", "components", "variances", "shrunk"}:
            raise VlmatchError(
                f"encoder '{name}': checkpoint '{path}' holds {', '.join(sorted(state)[:6])}; wanted mean, components, "
                "variances and shrunk; make it by task=transform"
            )
        found = cls(**state)
        wanted = (*found.variances.shape, *found.mean.shape)
        if found.components.shape != wanted or found.shrunk.shape != wanted[:1] or not (found.shrunk > 0).all():
            raise VlmatchError(
                f"encoder '{name}': checkpoint '{path}': components {found.components.shape}, variances "
                f"{found.variances.shape}, shrunk {found.shrunk.shape}, mean {found.mean.shape} do not fit together; "
                "make it again by task=transform"
            )
        return found
