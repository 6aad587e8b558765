"""Successive halving of a fixed list of encoders: decides what to train next from what is finished and affordable.

Jamieson and Talwalkar (2016). The pruners of Optuna and Ray Tune are asynchronous: when an encoder arrives at a rung,
they compare it with those that arrived earlier. So the winner depends on the order, and a search that is killed and
started again may decide differently. Here a rung is decided when all encoders have finished it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

ROUNDING = 1e-9  # what rounding may add to a sum of costs
KEEPS = tuple(n / 20 for n in range(20, 9, -1))  # 1, 0.95, ... 0.5: the largest that can be paid for is used


@dataclass(frozen=True)
class Part:
    """A finished part of an encoder's training, up to a rung.

    value: None if it failed; `failure` then says why. cost: in whole trainings. seconds: of training and measuring.
    """

    encoder: str
    rung: int
    steps: int | None
    value: float | None
    cost: float
    seconds: float
    failure: str | None = None


@dataclass(frozen=True)
class Step:
    """What is to be trained next: an encoder up to a rung, and what that costs in whole trainings."""

    encoder: str
    rung: int
    cost: float


@dataclass(frozen=True)
class Level:
    """One rung of a plan: how many encoders are trained up to it, and what that costs in whole trainings."""

    rung: int
    arms: int
    cost: float


@dataclass(frozen=True)
class Ladder:
    """The rungs of a search.

    rungs: fractions of a whole training, rising to 1. keep: the fraction of the encoders that continues from each rung;
    None: the largest of 0.5, 0.55, ... 1 that the budget pays for. continues: whether a training continues from the
    previous rung; otherwise it begins anew, and each rung costs all of its steps.
    """

    rungs: tuple[float, ...]
    keep: float | None
    continues: bool

    @property
    def last(self) -> int:
        """The rung of the whole training."""
        return len(self.rungs) - 1

    @property
    def keeps(self) -> tuple[float, ...]:
        """The possible values of `keep`, largest first."""
        return KEEPS if self.keep is None else (self.keep,)

    def cost(self, rung: int, before: int) -> float:
        """The cost, in whole trainings, of training one encoder from the rung `before` (-1: from 0) to `rung`."""
        return self.rungs[rung] - (self.rungs[before] if self.continues and before >= 0 else 0.0)

    def after(self, before: int, arms: int, keep: float) -> int:
        """The rung to which `arms` encoders are trained after `before`: the last one if the next would drop none."""
        return self.last if survivors(arms, keep) == arms else before + 1

    def levels(self, arms: int, keep: float, before: int = -1) -> Iterator[Level]:
        """The plan for `arms` encoders from the rung `before` on, if none fails."""
        while arms and before < self.last:
            rung = self.after(before, arms, keep)
            yield Level(rung, arms, arms * self.cost(rung, before))
            arms, before = survivors(arms, keep), rung

    def whole(self, arms: int, keep: float) -> float:
        """The cost of a search that begins with `arms` encoders, in whole trainings."""
        return sum(level.cost for level in self.levels(arms, keep))


def survivors(arms: int, keep: float) -> int:
    """How many of `arms` encoders continue: the fraction `keep` of them, rounded up."""
    return ceil(keep * arms - ROUNDING)


@dataclass(frozen=True)
class Race:
    """Encoders that race up a ladder. arms: the most promising first. higher: whether higher values win."""

    arms: tuple[str, ...]
    ladder: Ladder
    higher: bool = True

    def next_step(self, parts: Sequence[Part], affords: Callable[[float], bool], *, trial: bool = False) -> Step | None:
        """What to train next; None if the race is over or nothing more is affordable.

        parts: what is finished. affords: tells whether the budget pays for a further cost, in whole trainings. trial:
        train one more encoder to the next rung in any case, because nothing is known of costs yet.

        A rung takes in as many encoders, best first, as the budget can bring to the end of the race. A rung is closed
        when the next one has begun, so a larger budget changes only rungs that have not begun.
        """
        field, before = list(self.arms), -1
        while before < self.ladder.last and field:
            begun = min((part.rung for part in parts if part.rung > before), default=None)
            done = {part.encoder: part for part in parts if part.rung == begun}
            if begun is not None and any(part.rung > begun for part in parts):
                rung, field = begun, [encoder for encoder in field if encoder in done]
            else:
                taken, keep = self._affordable(len(field), before, begun, list(done.values()), affords)
                field = field[: max(taken, len(done) + trial)]
                ahead = before + 1 if trial else self.ladder.after(before, len(field), keep)
                rung = ahead if begun is None else begun
            for encoder in field:
                if encoder not in done:
                    return Step(encoder, rung, self.ladder.cost(rung, before))
            field, before = self.best(list(done.values())), rung
        return None

    def plan(self, affords: Callable[[float], bool]) -> list[Level]:
        """How many encoders reach each rung, if none fails and costs are as expected."""
        parts: list[Part] = []
        while step := self.next_step(parts, lambda further: affords(sum(part.cost for part in parts) + further)):
            parts.append(Part(step.encoder, step.rung, None, 0.0, step.cost, 0.0))
        rungs = sorted({part.rung for part in parts})
        costs = {rung: [part.cost for part in parts if part.rung == rung] for rung in rungs}
        return [Level(rung, len(found), sum(found)) for rung, found in costs.items()]

    def best(self, parts: Sequence[Part]) -> list[str]:
        """The encoders of parts of one rung, best first, without failed ones; of equal ones, the earlier of `arms`."""
        place = {encoder: number for number, encoder in enumerate(self.arms)}
        found = [(part.value, part.encoder) for part in parts if part.value is not None]
        sign = -1.0 if self.higher else 1.0
        return [encoder for _, encoder in sorted(found, key=lambda each: (sign * each[0], place[each[1]]))]

    def standing(self, parts: Sequence[Part]) -> tuple[int, list[str]]:
        """The highest rung that has a value, and its encoders, best first; (-1, []) if nothing has a value."""
        rung = max((part.rung for part in parts if part.value is not None), default=-1)
        return rung, self.best([part for part in parts if part.rung == rung])

    def _affordable(
        self, field: int, before: int, begun: int | None, done: Sequence[Part], affords: Callable[[float], bool]
    ) -> tuple[int, float]:
        """How many of `field` encoders continue from the rung `before`, and the fraction that continues later.

        It is the largest fraction for which the budget pays to the end; the parts `done` are paid already. If the
        budget does not even pay for the smallest fraction, fewer encoders continue.
        """
        least = self.ladder.keeps[-1]
        plans = [(field if before < 0 else survivors(field, keep), keep) for keep in self.ladder.keeps]
        plans += [(arms, least) for arms in range(plans[-1][0] - 1, len(done), -1)]
        paid = (plan for plan in plans if plan[0] > len(done) and affords(self._further(*plan, before, begun, done)))
        return next(paid, (len(done), least))

    def _further(self, arms: int, keep: float, before: int, begun: int | None, done: Sequence[Part]) -> float:
        """The remaining cost of a plan, in whole trainings."""
        rung = self.ladder.after(before, arms, keep) if begun is None else begun
        here = (arms - len(done)) * self.ladder.cost(rung, before)
        left = survivors(arms - sum(part.value is None for part in done), keep)
        return here + sum(level.cost for level in self.ladder.levels(left, keep, rung))
