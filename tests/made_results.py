"""Results of trainings with chosen means, for the tests of results, study, report and collection."""

from typing import Any

from vlmatch.results import (
    Benchmark,
    Estimate,
    Group,
    Milestone,
    RecipeId,
    Result,
    Seconds,
    SourceEstimate,
    SuiteId,
    Visual,
)

SOURCES = {"clipart": 207, "emoji": 117}


def benchmark(score: float, chance: float | None, error: float = 0.02) -> Benchmark:
    """Clip-art is .02 above `score`, emoji as far below as makes `score` their mean over items."""
    apart = {"clipart": 0.02, "emoji": -0.02 * 207 / 117}
    sources = {name: SourceEstimate(score + apart[name], 1.5 * error, n) for name, n in SOURCES.items()}
    return Benchmark(score, error, chance, chance, sum(SOURCES.values()), sources)


def result(encoder: str, mean: float, seed: int = 0, **others: Any) -> Result:
    """A run whose groups 'captions' and 'categories' lie .05 above and below `mean`; `others` are fields of Result."""
    captions, categories = mean + 0.05, mean - 0.05
    choice, hard = 0.25 + 0.75 * (captions + 0.1), 0.25 + 0.75 * (captions - 0.1)
    fields: dict[str, Any] = {
        "llm": "llm",
        "data": "vlm_a",
        "control": False,
        "recipe": RecipeId("embedded", 1, "f" * 64),
        "visual": Visual("global average", 1280, 2, None),
        "split": "5" * 64,
        "suite": SuiteId("embedded", 1, 420),
        "benchmarks": {
            "caption choice": benchmark(choice, 0.25),
            "caption choice, same category": benchmark(hard, 0.25),
            "category": benchmark(1 / 13 + 12 / 13 * categories, 1 / 13),
            "caption gain": benchmark(2 * mean, None, 0.05),
        },
        "groups": {
            "captions": Group(captions, 0.02, ("caption choice", "caption choice, same category")),
            "categories": Group(categories, 0.025, ("category",)),
        },
        "mean": Estimate(mean, 0.017),
        "milestones": tuple(Milestone(25 * 2**k, 4 / 2**k, mean * part) for k, part in enumerate((0.4, 0.7, 0.9, 1.0))),
        "steps": 200,
        "loss": 2.25,
        "seconds": Seconds(105.25, 17.5),
        "peak_bytes": 2_200_000_000,
        "config": {"name": "embedded", "stages": [{"trains": {"projector": 2e-3}, "steps": 200}]},
        "machine": "2 cores",
        "libraries": {"torch": "2.14.1"},
        "source": "trained here",
    }
    return Result(encoder=encoder, seed=seed, **{**fields, **others})
