"""A world of evidence: encoders whose VLMs were trained by one recipe, with what was known of them before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmatch.errors import VlmatchError, one_line
from vlmatch.evidence.correlation import LEAST

Floats = NDArray[np.float64]
LANGUAGE, TOKENS = "language_supervised", "tokens"  # values that decide which pools a candidate may be in


@dataclass(frozen=True, eq=False)
class World:
    """n candidates with their measured truth and the values that were known before any VLM was trained.

    names, families: one for each candidate; siblings and heads of one backbone share a family. truth: (n, seeds), more
    is better. standard_error: of the difference of two candidates' truths, pooled over candidates; 0 if it is not
    known. A candidate within it of the best counts as good as the best. values: by name of a score or of a line of the
    spec sheet, one number for each candidate, as it is printed.
    """

    name: str
    names: tuple[str, ...]
    families: tuple[str, ...]
    truth: Floats
    standard_error: float
    values: Mapping[str, Floats]

    @classmethod
    def of(
        cls,
        name: str,
        names: Sequence[str],
        families: Sequence[str],
        truth: ArrayLike,
        values: Mapping[str, ArrayLike],
        standard_error: float | None = None,
    ) -> Self:
        """Check the figures and make a world of them.

        truth: (n,) for one number a candidate, or (n, seeds). standard_error: None takes it from the seeds:
        sqrt(2 s^2 / seeds) with the deviation s between seeds, pooled over candidates; 0 for one seed.
        Raises VlmatchError if there are fewer than 4 candidates, two of one name, a column of another length, or a
        figure that is missing, not a number or not finite, or a standard error below 0.
        """
        table = _figures(name, "truth", truth)
        table = table[:, None] if table.ndim == 1 else table
        columns = {key: _figures(name, key, column) for key, column in values.items()}
        _require(name, names, families, table, columns)
        if standard_error is None:
            seeds = table.shape[1]
            standard_error = float(np.sqrt(2 * table.var(axis=1, ddof=1).mean() / seeds)) if seeds > 1 else 0.0
        if not 0 <= standard_error < np.inf:
            raise VlmatchError(f"world '{name}': standard_error={standard_error}; wanted 0 or more, or None")
        return cls(name, tuple(names), tuple(families), table, standard_error, columns)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def mean_truth(self) -> Floats:
        """The truth of each candidate as the mean over seeds: (n,)."""
        return self.truth.mean(axis=1)

    @cached_property
    def halves(self) -> tuple[tuple[Floats, Floats], ...]:
        """The mean truth over each half of the seeds, in both orders; with one seed, one entry with that seed twice."""
        seeds = self.truth.shape[1]
        if seeds == 1:
            return ((self.mean_truth, self.mean_truth),)
        first, second = self.truth[:, : seeds // 2].mean(axis=1), self.truth[:, seeds // 2 :].mean(axis=1)
        return (first, second), (second, first)

    @cached_property
    def family_numbers(self) -> NDArray[np.intp]:
        """The number of each candidate's family, from 0, in the order of names: (n,)."""
        return np.unique(np.array(self.families), return_inverse=True)[1]

    @property
    def n_families(self) -> int:
        """How many families there are."""
        return len(set(self.families))

    def without(self, left_out: Sequence[str], name: str) -> "World":
        """The world `name` without some candidates; VlmatchError if one of them is not in it."""
        if unknown := sorted(set(left_out) - set(self.names)):
            raise VlmatchError(f"world '{self.name}' has no candidate '{unknown[0]}'; leave out one of its names")
        kept = np.array([each not in set(left_out) for each in self.names])
        return World.of(
            name,
            [each for each in self.names if each not in set(left_out)],
            [family for family, keep in zip(self.families, kept, strict=True) if keep],
            self.truth[kept],
            {key: column[kept] for key, column in self.values.items()},
            self.standard_error,
        )


def _figures(name: str, key: str, given: ArrayLike) -> Floats:
    """The column `key` of a world as numbers; one for each candidate, or a row of them. None becomes NaN."""
    try:
        column = np.asarray(given, dtype=float)
    except (TypeError, ValueError) as error:
        raise VlmatchError(
            f"world '{name}': {key} is not an array of numbers ({one_line(error)}); give each candidate as many numbers"
        ) from error
    if column.ndim not in (1, 2):
        raise VlmatchError(f"world '{name}': {key} has shape {column.shape}; wanted one row for each candidate")
    return column


def _require(
    name: str, names: Sequence[str], families: Sequence[str], truth: Floats, values: Mapping[str, Floats]
) -> None:
    """Raise VlmatchError about the first fault in the figures of a world."""
    if len(names) < LEAST:
        raise VlmatchError(f"world '{name}' has {len(names)} candidates; wanted at least {LEAST}")
    if twice := sorted({each for each in names if list(names).count(each) > 1}):
        raise VlmatchError(f"world '{name}' has two rows of candidate '{twice[0]}'; remove one")
    for key, column in {"families": np.array(families), "truth": truth, **values}.items():
        if len(column) != len(names) or (key not in ("families", "truth") and column.ndim != 1):
            raise VlmatchError(
                f"world '{name}': {key} has shape {column.shape}; wanted one row for each of {len(names)} candidates"
            )
    for key, column in {"truth": truth, **values}.items():
        bad = ~np.isfinite(column).reshape(len(names), -1).all(axis=1)
        if bad.any():
            raise VlmatchError(
                f"world '{name}': {key} of candidate '{names[int(bad.argmax())]}' is missing or not finite; give it, "
                f"or leave the candidate or {key} out"
            )
