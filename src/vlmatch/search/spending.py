"""The budget of a search in whole trainings, hours or GPU-hours, and how much of it is spent."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmatch.errors import VlmatchError
from vlmatch.search.halving import ROUNDING, Part

HOUR = 3600.0


@dataclass(frozen=True)
class Spending:
    """What a search may cost: each limit that is not None holds. gpus: how many GPUs a training uses."""

    runs: float | None = None
    hours: float | None = None
    gpu_hours: float | None = None
    gpus: int = 1

    def affords(self, parts: Sequence[Part], further: float) -> bool:
        """Whether the budget pays for `further`, in whole trainings, if these take as long as those so far.

        With a limit of hours, the answer is no until a first training has shown how long it takes.
        """
        if not self.affords_runs(runs_of(parts) + further):
            return False
        if self.seconds is None:
            return True
        rate = seconds_of_a_run(parts)
        return rate is not None and seconds_of(parts) + further * rate <= self.seconds

    def affords_runs(self, cost: float) -> bool:
        """Whether the limit of runs pays for a search of this cost, in whole trainings."""
        return self.runs is None or cost <= self.runs + ROUNDING

    @property
    def seconds(self) -> float | None:
        """The limit in seconds; None if there is none."""
        found = [self.hours, None if self.gpu_hours is None else self.gpu_hours / self.gpus]
        return min((each * HOUR for each in found if each is not None), default=None)

    def needs_trial(self, parts: Sequence[Part]) -> bool:
        """Whether hours are limited, some are left, and no training has shown yet how long it takes."""
        if self.seconds is None or seconds_of_a_run(parts) is not None or seconds_of(parts) >= self.seconds:
            return False
        return self.affords_runs(runs_of(parts) + 1)

    def require_one_run(self, parts: Sequence[Part]) -> None:
        """Raise VlmatchError if hours are limited and the trainings so far show that not even a whole one fits."""
        rate = seconds_of_a_run(parts)
        if self.seconds is None or rate is None or rate <= self.seconds:
            return
        key = "hours" if self.hours is not None and self.hours * HOUR == self.seconds else "gpu_hours"
        per = 1 if key == "hours" else self.gpus
        raise VlmatchError(
            f"search.{key}={getattr(self, key)} is less than one whole training, which takes about "
            f"{rate / HOUR * per:.3g}, as the trainings so far show; give more, and the same command goes on"
        )

    def words(self) -> str:
        """The limits in words: '8 runs and 6 hours'."""
        given = [("runs", self.runs), ("hours", self.hours), ("GPU-hours", self.gpu_hours)]
        return " and ".join(f"{value:g} {name}" for name, value in given if value is not None)


def runs_of(parts: Sequence[Part]) -> float:
    """The cost of parts, in whole trainings."""
    return sum(part.cost for part in parts)


def seconds_of(parts: Sequence[Part]) -> float:
    """The time that parts took, in seconds."""
    return sum(part.seconds for part in parts)


def seconds_of_a_run(parts: Sequence[Part]) -> float | None:
    """The seconds of a whole training, estimated from the parts that did not fail; None if all failed."""
    well = [part for part in parts if part.value is not None]
    return seconds_of(well) / runs_of(well) if well else None
