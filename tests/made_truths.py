"""Runs of trainings with chosen truths, made from a committed result."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vlmatch import paths
from vlmatch.results import Benchmark, Estimate, Result, read


def runs(truths: Mapping[str, Sequence[float]], **changes: object) -> list[Result]:
    """Runs of the truth's version 2 with these means, one for each seed, made from a committed result."""
    any_run = replace(read(paths.results())[0], **changes)
    return [_with_mean(replace(any_run, encoder=name, seed=seed), mean) for name, means in truths.items()
            for seed, mean in enumerate(means)]  # fmt: skip


def _with_mean(run: Result, mean: float) -> Result:
    """The run with a suite of one benchmark that has this mean as its score, so that the truth is the mean itself."""
    asked = Benchmark(mean, 0.01, 10, 0.0, None, {})
    group = replace(next(iter(run.groups.values())), score=mean, standard_error=0.01, of=("only",))
    suite = replace(run.suite, name="made")
    return replace(
        run, benchmarks={"only": asked}, groups={"only": group}, mean=Estimate(mean, 0.01), suite=suite, milestones=()
    )
