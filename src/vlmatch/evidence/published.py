"""Published results of other people's VLMs: an encoder's rank in each table of `evidence/tables/`."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean

from vlmatch import paths
from vlmatch.configs import mapped

FOLDER = paths.tables()
RANKS = "ranks.csv"  # of tables that state no licence: only their ranks are copied, not their scores


@dataclass(frozen=True)
class Table:
    """One file of published results.

    average: the benchmark that holds the table's own average; None: the mean over all benchmarks is taken.
    divisors: by benchmark, what to divide a score by to get percent.
    """

    title: str
    file: str
    average: str | None = None
    divisors: Mapping[str, int] = field(default_factory=dict)

    def measure(self, benchmarks: int) -> str:
        """How a score of this table was averaged, in words; '' for the table's own average."""
        if self.average:
            return ""
        scaled = "".join(f", {benchmark} / {divisor}" for benchmark, divisor in self.divisors.items())
        return f"mean of {benchmarks}{scaled}"


TABLES = (
    Table("Cambrian-1", "cambrian1.csv", average="Average"),
    Table("Law of Vision Representation", "law_of_vision.csv", divisors={"mme": 20}),
    Table("OpenVision", "openvision.csv", divisors={"MME": 20, "OCR": 10}),
    Table("TinyLLaVA", "tinyllava.csv", divisors={"MME": 20}),
    Table("LLaVA-MORE", "llava_more.csv", divisors={"MME-P": 20, "MME-C": 8}),
)


@dataclass(frozen=True)
class PublishedRank:
    """An encoder's rank in one table: `rank` of `n` encoders by `score` in percent, 1 the best; ties share a rank.

    score: None where only the rank may be copied. shared: whether another encoder has the same score.
    """

    table: str
    recipe: str
    their_name: str
    score: float | None
    measure: str
    rank: int
    n: int
    shared: bool

    def __str__(self) -> str:
        """One line: 'Cambrian-1, 1.2M frozen: 51.2, 3rd of 18'."""
        head = f"{self.table}, {self.recipe}" if self.recipe else self.table
        place = f"{'joint ' * self.shared}{ordinal(self.rank)} of {self.n}"
        measure = f" ({self.measure})" if self.measure else ""
        return f"{head}: {place}{measure}" if self.score is None else f"{head}: {self.score:.1f}{measure}, {place}"


def published_ranks(encoder: str, folder: Path = FOLDER) -> list[PublishedRank]:
    """The published ranks of an encoder of `conf/encoder`, first from `TABLES`, then from `RANKS`; empty for most."""
    return list(_by_encoder(folder).get(encoder, ()))


def ordinal(number: int) -> str:
    """'1st', '2nd', '3rd', '4th', '11th', '21st'."""
    teens = number % 100 in {11, 12, 13}
    ending = "th" if teens else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


@cache
def _by_encoder(folder: Path) -> dict[str, list[PublishedRank]]:
    named = {(row["table"], row["their_name"]): row["encoder"] for row in mapped(folder)}
    found: dict[str, list[PublishedRank]] = defaultdict(list)
    for table in TABLES:
        for published in _ranks_in(table, _rows(folder / table.file)):
            if encoder := named[table.file, published.their_name]:
                found[encoder].append(published)
    for row in _rows(folder / RANKS):
        rank, n, shared = int(row["rank"]), int(row["n"]), row["shared"] == "true"
        found[row["encoder"]].append(
            PublishedRank(row["table"], row["recipe"], row["their_name"], None, row["measure"], rank, n, shared)
        )
    return dict(found)


def _ranks_in(table: Table, rows: list[dict[str, str]]) -> Iterator[PublishedRank]:
    """The ranks in each comparison of a table. LLMs that were tried with the same encoders are averaged into one."""
    recipes = list(dict.fromkeys(row["recipe"] for row in rows))
    n_llms = len({row["llm"] for row in rows})
    for recipe in recipes:
        for llms, cells in _comparisons([row for row in rows if row["recipe"] == recipe]):
            parts = [recipe.replace("_", " ")] if len(recipes) > 1 else []
            parts += [llms[0] if len(llms) == 1 else f"{len(llms)} LLMs"] if n_llms > 1 else []
            scores = {encoder: fmean(_score(table, each) for each in by_llm) for encoder, by_llm in cells.items()}
            measure = table.measure(len(next(iter(cells.values()))[0]))
            for encoder, score in scores.items():
                rank = 1 + sum(other > score for other in scores.values())
                shared = sum(other == score for other in scores.values()) > 1
                yield PublishedRank(table.title, ", ".join(parts), encoder, score, measure, rank, len(scores), shared)


def _comparisons(rows: list[dict[str, str]]) -> Iterator[tuple[list[str], dict[str, list[dict[str, float]]]]]:
    """Groups of LLMs that were tried with the same two or more encoders on the same benchmarks, for rows of one recipe.

    Yields the LLMs, and by encoder one dict from benchmark to score for each LLM.
    """
    by_llm: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        by_llm[row["llm"]][row["encoder"]][row["benchmark"]] = float(row["score"])
    alike: dict[tuple[frozenset[str], frozenset[str]], list[str]] = defaultdict(list)
    for llm, encoders in by_llm.items():
        benchmarks = {frozenset(results) for results in encoders.values()}
        if len(encoders) > 1 and len(benchmarks) == 1:
            alike[frozenset(encoders), benchmarks.pop()].append(llm)
    for llms in alike.values():
        yield llms, {encoder: [by_llm[llm][encoder] for llm in llms] for encoder in by_llm[llms[0]]}


def _score(table: Table, results: Mapping[str, float]) -> float:
    if table.average:
        return results[table.average]
    return fmean(score / table.divisors.get(benchmark, 1) for benchmark, score in results.items())


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
