"""Block 5: is anything of the order of encoders specific to the LLM?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr

from vlmatch.evidence.correlation import LEAST, Correlation, correlation
from vlmatch.evidence.truths import Comparison
from vlmatch.report.evidence import bare
from vlmatch_study.blocks.block import Block, n_runs
from vlmatch_study.blocks.worlds import shared_seeds
from vlmatch_study.findings.captions import LOWER_IS_BETTER, PAPER, TITLES
from vlmatch_study.findings.holm import holm
from vlmatch_study.findings.section import Part, Section
from vlmatch_study.findings.trained import Trained, trained
from vlmatch_study.power import spearmans
from vlmatch_study.rows import Row, read
from vlmatch_study.tables import OPEN, PRELIMINARY, figure, probability, table

NAMES = {"gemma3_270m": "Gemma 3 270M", "smollm2": "SmolLM2"}
OTHER, USUAL = NAMES
PREDICTED, SHOWN = 0.95, 0.8  # study/blocks.md: Pearson's correlation without any influence of the LLM; the limit
RESAMPLES, CONFIDENCE = 2_000, 0.95
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """How alike two trainings of each encoder order the encoders: one seed of each of two LLMs, or two of one."""

    one: tuple[str, int]
    other: tuple[str, int]
    pearson: float
    spearman: float

    @property
    def of_two_llms(self) -> bool:
        """Whether the trainings differ in the LLM."""
        return self.one[0] != self.other[0]


@dataclass(frozen=True)
class Agreement:
    """All pairs over the same encoders; lower: by how much two LLMs' mean Spearman lies below that of two seeds.

    lower comes with its 95% interval over encoders, drawn with replacement; None without two seeds of one LLM.
    """

    encoders: int
    pairs: tuple[Pair, ...]
    lower: tuple[float, float, float] | None

    def mean(self, what: str, of_two_llms: bool) -> float | None:
        """The mean 'pearson' or 'spearman' over the pairs of one kind; None if there are none."""
        found = [getattr(pair, what) for pair in self.pairs if pair.of_two_llms == of_two_llms]
        return fmean(found) if found else None


def agreement(other: Comparison, usual: Comparison) -> Agreement | None:
    """How alike both LLMs order the encoders that both have; None for fewer than four.

    Seeds are those that all of these encoders have.
    """
    names = [truth.encoder for truth in other.pretrained if truth.encoder in usual.by_encoder]
    if len(names) < LEAST:
        return None
    columns = {
        (each.setting.llm, seed): np.array([each.by_encoder[name].by_seed[seed] for name in names])
        for each in (other, usual)
        for seed in shared_seeds(each, names)
    }
    keys = [(one, two) for one, two in combinations(columns, 2) if one[0] != two[0] or one[0] == usual.setting.llm]
    pairs = tuple(
        Pair(one, two, float(pearsonr(columns[one], columns[two]).statistic),
             float(spearmanr(columns[one], columns[two]).statistic))
        for one, two in keys
    )  # fmt: skip
    return Agreement(len(names), pairs, _lower(columns, keys)) if pairs else None


def _lower(
    columns: dict[tuple[str, int], Floats], keys: Sequence[tuple[tuple[str, int], tuple[str, int]]]
) -> tuple[float, float, float] | None:
    """Two seeds' mean Spearman minus two LLMs', with its percentile interval over encoders."""
    across = [one[0] != two[0] for one, two in keys]
    if all(across) or not any(across):
        return None
    n, random = len(next(iter(columns.values()))), np.random.default_rng(0)

    def differences(rows: NDArray[np.intp]) -> Floats:
        """For each draw of encoders (m, n): (m,)."""
        found = np.array([spearmans(columns[one][rows], columns[two][rows]) for one, two in keys])
        apart: Floats = found[~np.array(across)].mean(axis=0) - found[np.array(across)].mean(axis=0)
        return apart

    draws = random.integers(n, size=(RESAMPLES, n))
    different = (np.diff(np.sort(draws, axis=1), axis=1) > 0).sum(axis=1) + 1
    drawn = differences(draws[different >= LEAST])
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(differences(np.arange(n)[None])[0]), float(low), float(high)


@dataclass(frozen=True)
class ByCaptions:
    """How well a score follows the other LLM's truth, with the captions embedded by one of both LLMs."""

    score: str
    llm: str
    correlation: Correlation
    p: float
    corrected: float


def by_captions(other: Comparison, rows: Sequence[Row]) -> list[ByCaptions]:
    """Every score by either LLM's captions, corrected for the number of both; empty for fewer than four encoders.

    rows: of study/worlds/caption_choices.csv, all LLMs, at the paper's choice alone.
    """
    truth = {each.encoder: each.mean for each in other.pretrained}
    found = []
    for score in TITLES:
        sign = -1 if score in LOWER_IS_BETTER else 1
        for llm in NAMES:
            values = {row["encoder"]: sign * float(row[score]) for row in rows if row["llm"] == llm}
            each = correlation(truth, values)
            if each.spearman is None:
                return []
            known = [name for name in truth if name in values]
            p = float(spearmanr([truth[name] for name in known], [values[name] for name in known]).pvalue)
            found.append(ByCaptions(score, llm, each, p, p))
    corrected = holm([each.p for each in found])
    return [replace(each, corrected=p) for each, p in zip(found, corrected, strict=True)]


def section(block: Block) -> Section:
    """Its section: the agreement of both LLMs beside that of two seeds, the scores, and the answer."""
    comparison = block.comparison
    if comparison is None:
        return Section(OPEN)
    usual = counterpart(comparison, trained(block.root))
    if usual is None:
        return Section(f"{OPEN} No encoder has a truth with {NAMES[USUAL]} by the same recipe yet.")
    found = agreement(comparison, usual)
    choices = read(block.root / "study" / "worlds" / "caption_choices.csv")
    at_paper_choice = [row for row in choices if (row["layer"], row["pooling"], row["centring"]) == PAPER]
    return Section(
        answer(found, block.finished),
        (
            Part(pairs_table(found) if found else ""),
            Part(
                captions_table(by_captions(comparison, at_paper_choice)),
                f"Spearman's correlation of scores with the truth of {NAMES[OTHER]}, by its own captions and by those "
                f"of {NAMES[USUAL]}, with 95% bootstrap intervals over encoders; p corrected for the number of lines:",
            ),
        ),
    )


def counterpart(comparison: Comparison, truths: Sequence[Trained]) -> Comparison | None:
    """The truths of the same setting with the usual LLM, those with the most trainings; None without any."""
    wanted = replace(comparison.setting, llm=USUAL)
    found = [each.comparison for each in truths if each.comparison.setting == wanted]
    return max(found, key=n_runs, default=None)


def pairs_table(found: Agreement) -> str:
    """The table of agreements: a line for each pair of trainings, those of two LLMs first."""
    rows = [
        [
            *(f"{NAMES[llm]}, seed {seed}" for llm, seed in (pair.one, pair.other)),
            str(found.encoders),
            bare(pair.pearson),
            bare(pair.spearman),
        ]
        for pair in found.pairs
    ]
    return table(["truth", "other truth", "encoders", "Pearson", "Spearman"], rows)


def captions_table(found: Sequence[ByCaptions]) -> str:
    """The table of scores: a line for each score and LLM of the captions."""
    rows = [
        [TITLES[each.score], NAMES[each.llm],
         figure(each.correlation.spearman, each.correlation.low, each.correlation.high),
         str(each.correlation.n), probability(each.corrected)]
        for each in found
    ]  # fmt: skip
    return table(["score", "captions by", "Spearman", "encoders", "p by Holm"], rows)


def answer(found: Agreement | None, finished: bool) -> str:
    """Whether both LLMs order encoders as two seeds of one do, by what study/blocks.md says of the outcomes."""
    if found is None:
        return f"{OPEN} Four encoders are needed."
    pearson, alike = found.mean("pearson", True), found.mean("spearman", True)
    said = [
        "" if finished else PRELIMINARY,
        f"On average over seeds, the truths of both LLMs correlate by {bare(pearson)} (Pearson; predicted without any "
        f"influence of the LLM: {bare(PREDICTED)}) and {bare(alike)} (Spearman) over {found.encoders} encoders.",
    ]
    if pearson is not None and pearson < SHOWN:
        said.append(f"{NAMES[USUAL]}'s noise of seeds and items alone does not explain a value below {bare(SHOWN)}.")
    if found.lower is None:
        said.append(f"It can't be compared with seeds, because {NAMES[USUAL]} lacks two seeds of these encoders.")
    else:
        value, low, high = found.lower
        outcome = (
            f"the LLM plays a part, or trainings with {NAMES[OTHER]} are noisier; its one seed can't decide which"
            if low > 0
            else "the difference is not significant"
        )
        said.append(
            f"Two seeds of {NAMES[USUAL]} have a Spearman of {bare(found.mean('spearman', False))} over the same "
            f"encoders, {figure(value, low, high)} more: {outcome}. This is the only test, so it is not corrected."
        )
    return " ".join(each for each in said if each)
