"""What a budget does to a pool: the candidates inside and outside of it, and what staying inside costs."""

from collections.abc import Mapping
from dataclasses import dataclass

from vlmatch.costs.budget import Budget, Miss
from vlmatch.costs.candidate import DECIMALS, CandidateCost
from vlmatch.errors import enumerated

NAMED = 8  # candidates that a line names


@dataclass(frozen=True)
class Excluded:
    """A candidate outside of the budget, with its value and the limits that it does not meet."""

    encoder: str
    value: float
    misses: tuple[Miss, ...]

    def __str__(self) -> str:
        return f"{self.encoder} ({'; '.join(miss.reason for miss in self.misses)})"

    @property
    def admits(self) -> str:
        """The settings that would let it in."""
        return " ".join(dict.fromkeys(miss.admits for miss in self.misses))

    @property
    def distance(self) -> tuple[int, float]:
        """How far it is outside: how many limits no larger number meets, then the greatest excess of the others."""
        numbers = [miss.excess for miss in self.misses if miss.figure is not None]
        return len(self.misses) - len(numbers), max(numbers, default=1.0)


@dataclass(frozen=True)
class Restriction:
    """A pool divided by a budget, each side best first. inside: the value of each candidate that meets the budget."""

    budget: Budget
    inside: Mapping[str, float]
    outside: tuple[Excluded, ...]

    @property
    def best(self) -> str | None:
        """The best candidate inside; None if there is none."""
        return next(iter(self.inside), None)

    @property
    def ahead(self) -> tuple[Excluded, ...]:
        """The candidates outside whose value is above that of the best inside; all, if there is none inside."""
        return tuple(each for each in self.outside if self.best is None or each.value > self.inside[self.best])

    @property
    def nearest(self) -> Excluded | None:
        """The candidate outside that misses the budget by least, the better one of equals; None if all are inside."""
        return min(self.outside, key=lambda each: each.distance, default=None)

    @property
    def meets(self) -> str:
        """How many candidates meet the budget, in words."""
        n = len(self.inside) + len(self.outside)
        none = f"none of the {n} candidates, so nothing is recommended"
        return none if self.best is None else f"{len(self.inside)} of {n} candidates"

    @property
    def price(self) -> str:
        """What the budget costs, in words; if nobody meets it, what would let in the nearest; '' without candidates."""
        if self.best is None:
            near = self.nearest
            return f"the nearest is {near.encoder}: {near.admits} would let it in" if near else ""
        if not self.ahead:
            return f"the budget costs nothing: no candidate outside of it is better than {self.best}"
        first, value = self.ahead[0], self.inside[self.best]
        return (
            f"the budget costs {first.value - value:.2f} of the rule's value: {self.best}, the best inside, has "
            f"{value:.2f}, and {first.encoder}, the best outside, {first.value:.2f}"
        )

    @property
    def kept_out(self) -> list[str]:
        """Lines: which candidates each limit keeps out, and how to state unknown figures; none without a budget."""
        missing = [miss.admits for each in self.outside for miss in each.misses if not miss.checked]
        said = f"what is not known can be stated, with your own figures: {enumerated(missing, NAMED)}"
        return [*(self._by_limit() if self.best is None else self._by_value()), *([said] if missing else [])]

    def _by_value(self) -> list[str]:
        parts = {"ahead": self.ahead, "not ahead": self.outside[len(self.ahead) :]}
        return [
            f"kept out, and {where} of {self.best}: {enumerated(those, NAMED)}"
            for where, those in parts.items()
            if those
        ]

    def _by_limit(self) -> list[str]:
        """Which candidates each limit keeps out, the nearest first, and the nearest of all."""
        missed = [(miss, each) for each in self.outside for miss in each.misses]
        lines = []
        for key in dict.fromkeys(miss.key for miss, _ in missed):
            those = sorted((pair for pair in missed if pair[0].key == key), key=lambda pair: pair[0].excess)
            named = [f"{each.encoder} ({miss.reason})" for miss, each in those]
            lines.append(f"kept out by budget.{key}: {enumerated(named, NAMED)}")
        return lines


def restricted(budget: Budget, values: Mapping[str, float], costs: Mapping[str, CandidateCost]) -> Restriction:
    """Divide the candidates of `values` (more is better) by what they cost.

    A candidate for which a limit can't be checked is kept out, with that reason. `costs` has every name of `values`.
    Candidates with equal values stay in the order of `values`.
    """
    values = {name: round(value, DECIMALS) for name, value in values.items()}
    order = sorted(values, key=lambda name: -values[name])
    misses = {name: budget.misses(costs[name]) for name in order}
    return Restriction(
        budget,
        {name: values[name] for name in order if not misses[name]},
        tuple(Excluded(name, values[name], misses[name]) for name in order if misses[name]),
    )
