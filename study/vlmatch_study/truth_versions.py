"""Print the study's tables by both versions of the truth, in Markdown.

`python -m vlmatch_study.truth_versions outputs/ranking.csv smollm2` reads the table of a ranking (`answer.table`) and
takes the scores for one LLM from it. experiment=embedded_all ranks the whole pool.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from vlmatch import paths
from vlmatch.errors import VlmatchError, one_line
from vlmatch.evidence.correlation import SUBSETS, Correlation, by_subset
from vlmatch.evidence.definitions import LATEST, STORED
from vlmatch.evidence.seeds import agreements, spread
from vlmatch.evidence.truths import Comparison, comparisons_in
from vlmatch.report.evidence import bare, interval

VERSIONS = (LATEST, STORED)


def main() -> None:
    """Print the tables of the ranking and LLM that the command line names."""
    if len(sys.argv) != 3:
        raise SystemExit("give a table and an LLM: python -m vlmatch_study.truth_versions outputs/ranking.csv smollm2")
    try:
        print("\n".join(tables(truths_of(sys.argv[2]), goodness(Path(sys.argv[1]), sys.argv[2]))))
    except (VlmatchError, OSError) as error:
        raise SystemExit(one_line(error)) from error


def truths_of(llm: str) -> dict[int, Comparison]:
    """The study's truths for an LLM, by version. Raises VlmatchError if it has none."""
    found = {}
    for version in VERSIONS:
        for comparison in comparisons_in([paths.results()], version):
            if comparison.setting.llm == llm:
                found[version] = comparison
    if not found:
        raise VlmatchError(f"llm={llm}: no results of trainings with it in '{paths.results()}'")
    return found


def goodness(table: Path, llm: str) -> dict[str, dict[str, float]]:
    """By score and encoder, the negated rank of the encoder in the table: higher is better.

    Raises VlmatchError if the table has no row of this LLM.
    """
    frame = pd.read_csv(table)
    rows = frame[frame.llm == llm].set_index("encoder")
    if rows.empty:
        raise VlmatchError(f"'{table}' has no encoder ranked for llm={llm}; it has {', '.join(sorted(set(frame.llm)))}")
    columns = [name for name in rows.columns if name.startswith("rank_")]
    return {name.removeprefix("rank_"): {str(k): -float(v) for k, v in rows[name].items()} for name in columns}


def tables(truths: Mapping[int, Comparison], scores: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """The lines of the three tables: encoders, scores against the truth, and the agreement of seeds."""
    yield _line("encoder", *(f"version {version} | seeds | place" for version in VERSIONS))
    yield "|---" * (1 + 3 * len(VERSIONS)) + "|"
    for encoder in truths[LATEST].by_encoder:
        yield _line(encoder, *(_truth(truths[version], encoder) for version in VERSIONS))
    yield "\n" + _line("score", "version", *SUBSETS) + "\n" + "|---" * (2 + len(SUBSETS)) + "|"
    for name, good in scores.items():
        for version in VERSIONS:
            yield _line(name, str(version), *map(_correlation, by_subset(truths[version], good).values()))
    both = by_subset(truths[LATEST], {truth.encoder: truth.mean for truth in truths[STORED].truths})
    yield _line(f"version {STORED}", str(LATEST), *map(_correlation, both.values()))
    yield "\n" + _line("version", "between encoders", "between seeds", "ratio", "seeds agree", "in the best tier")
    yield "|---" * 6 + "|"
    for version in VERSIONS:
        yield _line(str(version), *_seeds(truths[version]))


def _truth(comparison: Comparison, encoder: str) -> str:
    truth = comparison.by_encoder[encoder]
    place = list(comparison.by_encoder).index(encoder) + 1
    seeds = ", ".join(bare(value, 3) for value in truth.by_seed.values())
    return f"{bare(truth.mean, 3)} ± {bare(truth.standard_error, 3)} | {seeds} | {place}"


def _seeds(comparison: Comparison) -> Iterator[str]:
    """The spread between encoders and seeds, and the agreement of every two seeds; '-' if there is none."""
    width, agreed = spread(comparison), agreements(comparison)
    if width is None:
        yield from "---"
    else:
        yield bare(width.between_encoders, 3)
        yield bare(width.between_seeds, 3)
        yield bare(width.between_encoders / width.between_seeds)
    yield ", ".join(bare(each.spearman) for each in agreed) or "-"
    yield ", ".join(bare(each.spearman_best) for each in agreed) or "-"


def _correlation(found: Correlation) -> str:
    return f"{bare(found.spearman)} {interval(found)}".strip()


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
