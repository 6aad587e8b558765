"""Successive halving of a fixed list of encoders: what is trained next follows from what is finished and affordable.

Jamieson and Talwalkar (2016). The pruners of Optuna and Ray Tune are asynchronous: they decide about an encoder when
it arrives at a rung, by those that arrived before, so the winner depends on the order, and a killed search does not
repeat its decisions. Here a rung is decided when all have finished it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

ROUNDING = 1e-9  # of costs that are added up


@dataclass(frozen=True)
class Part:
    """A finished part of an encoder's training, up to a rung.

    value: None if it failed, and `failure` says why. cost: in whole trainings. seconds: what it took, with measuring.
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

    rungs: parts of a whole training, rising to 1. keep: the part of the encoders that goes on from each. continues:
    whether a training goes on from the rung before; otherwise it begins anew and each rung costs all of its steps.
    """

    rungs: tuple[float, ...]
    keep: float
    continues: bool

    @property
    def last(self) -> int:
        """The rung of the whole training."""
        return len(self.rungs) - 1

    def survivors(self, arms: int) -> int:
        """How many of so many encoders go on: rounded up, so at least one of one or more."""
        return ceil(self.keep * arms - ROUNDING)

    def after(self, rung: int, arms: int) -> int:
        """The rung that so many encoders are trained up to after `rung`; -1 stands for the start.

        A single encoder has nobody to be compared with, so it skips the rungs between if that saves steps.
        """
        return self.last if arms == 1 and not self.continues else rung + 1

    def cost(self, rung: int, before: int) -> float:
        """What one encoder's training from the rung `before` up to `rung` costs, in whole trainings."""
        return self.rungs[rung] - (self.rungs[before] if self.continues and before >= 0 else 0.0)

    def levels(self, arms: int, before: int = -1) -> Iterator[Level]:
        """The plan for so many encoders that have finished the rung `before`, if none fails."""
        while arms and before < self.last:
            rung = self.after(before, arms)
            yield Level(rung, arms, arms * self.cost(rung, before))
            arms, before = self.survivors(arms), rung

    def whole(self, arms: int) -> float:
        """What a search that begins with so many encoders costs, in whole trainings."""
        return sum(level.cost for level in self.levels(arms))


@dataclass(frozen=True)
class Race:
    """Encoders that race up a ladder. arms: best first by what is known before. higher: whether higher values win."""

    arms: tuple[str, ...]
    ladder: Ladder
    higher: bool = True

    def next_step(self, parts: Sequence[Part], affords: Callable[[float], bool], *, trial: bool = False) -> Step | None:
        """What to train next; None if the race is over or nothing more is affordable.

        parts: what is finished. affords: whether further trainings of this cost, in whole trainings, can be paid.
        trial: whether one more encoder is trained in any case, because nothing is known of costs.

        A rung takes in as many encoders as can be paid to the end of the race, best first. It is closed when the next
        one has begun, so a larger budget changes only rungs that have not begun.
        """
        field, before = list(self.arms), -1
        while before < self.ladder.last and field:
            begun = min((part.rung for part in parts if part.rung > before), default=None)
            done = {part.encoder: part for part in parts if part.rung == begun}
            if begun is not None and any(part.rung > begun for part in parts):
                field = [encoder for encoder in field if encoder in done]
            else:
                taken = self._affordable(len(field), before, begun, list(done.values()), affords)
                field = field[: max(taken, len(done) + trial)]
            rung = self.ladder.after(before, len(field)) if begun is None else begun
            for encoder in field:
                if encoder not in done:
                    return Step(encoder, rung, self.ladder.cost(rung, before))
            finished = self.best(list(done.values()))
            field, before = finished[: self.ladder.survivors(len(finished))], rung
        return None

    def best(self, parts: Sequence[Part]) -> list[str]:
        """The encoders of some parts of one rung, best first, without those that failed; the list decides ties."""
        place = {encoder: number for number, encoder in enumerate(self.arms)}
        found = [(part.value, part.encoder) for part in parts if part.value is not None]
        sign = -1.0 if self.higher else 1.0
        return [encoder for _, encoder in sorted(found, key=lambda each: (sign * each[0], place[each[1]]))]

    def standing(self, parts: Sequence[Part]) -> tuple[int, list[str]]:
        """The highest rung that has a value, and its encoders, best first; -1 and none if nothing has a value."""
        rung = max((part.rung for part in parts if part.value is not None), default=-1)
        return rung, self.best([part for part in parts if part.rung == rung])

    def _affordable(
        self, wanted: int, before: int, begun: int | None, done: Sequence[Part], affords: Callable[[float], bool]
    ) -> int:
        """How many of `wanted` encoders can be paid from the rung `before` to the end, with those that are `done`."""
        failed = sum(part.value is None for part in done)
        for arms in range(wanted, len(done), -1):
            rung = self.ladder.after(before, arms) if begun is None else begun
            here = (arms - len(done)) * self.ladder.cost(rung, before)
            later = sum(level.cost for level in self.ladder.levels(self.ladder.survivors(arms - failed), rung))
            if affords(here + later):
                return arms
        return len(done)
