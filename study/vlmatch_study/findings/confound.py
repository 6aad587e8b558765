"""Block 1: does the truth follow what a feature says, or over how many dimensions it spreads?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations, product
from statistics import fmean

import numpy as np
from scipy.stats import rankdata, spearmanr, ttest_rel

from vlmatch.evidence.truths import Comparison
from vlmatch.report.evidence import bare
from vlmatch_study.blocks.block import Block
from vlmatch_study.evidence.tables import DETECTED
from vlmatch_study.findings.holm import holm
from vlmatch_study.findings.section import Part, Section
from vlmatch_study.rows import Row, read
from vlmatch_study.tables import OPEN, PRELIMINARY, probability, seeds, table
from vlmatch_study.tables import within as with_error

AS_IT_IS, NOISE = "as it is", "noise"
VARIANTS = {AS_IT_IS: "", "whitened": "_whitened", "10 components": "_pca10", NOISE: "_noise"}
SCORES = {
    "cka_debiased": "debiased CKA",
    "mutual_nn": "MutualNN",
    "ridge_r2": "ridge R2",
    "participation_ratio": "participation ratio",
}
LEVEL = 0.05
TINY = 1e-9  # sums of equal correlations differ in their last digits


@dataclass(frozen=True)
class Within:
    """How well a score orders the variants within each encoder.

    spearman: its correlation with the truth, the mean over encoders. p: one-sided and exact: the share of all orders of
    the variants within encoders that correlate at least as much. corrected: p corrected for the number of scores.
    """

    spearman: float
    p: float
    corrected: float


@dataclass(frozen=True)
class Followed:
    """How well the truth follows one score: over all variants, and within encoders with and without noise variants."""

    score: str
    over_all: float
    within: Within
    without_noise: Within


@dataclass(frozen=True)
class Ordered:
    """How many pairs of variants of one encoder a score orders as the truth does.

    with_noise, others, clear: the pairs of which one variant is noise, all other pairs, and those of the others whose
    truths differ clearly. Each is (pairs in the right order, pairs).
    """

    score: str
    with_noise: tuple[int, int]
    others: tuple[int, int]
    clear: tuple[int, int]


@dataclass(frozen=True)
class Changed:
    """How one variant changes the truth: for each encoder the difference from 'as it is', and its standard error.

    p: of a paired t test over encoders. corrected: p corrected for the number of variants. Both are None for fewer
    than two encoders.
    """

    variant: str
    differences: Mapping[str, tuple[float, float]]
    p: float | None
    corrected: float | None

    @property
    def mean(self) -> float:
        """The mean difference over encoders."""
        return fmean(value for value, _ in self.differences.values())


def split(name: str) -> tuple[str, str]:
    """The encoder and the variant of a name of block 1."""
    for variant, ending in VARIANTS.items():
        if ending and name.endswith(ending):
            return name.removesuffix(ending), variant
    return name, AS_IT_IS


def changes(comparison: Comparison, encoders: Sequence[str]) -> list[Changed]:
    """The difference that each variant makes, over the encoders that have a truth both as they are and changed."""
    truths, found = comparison.by_encoder, []
    for variant, ending in list(VARIANTS.items())[1:]:
        pairs = {
            name: (truths[name + ending], truths[name]) for name in encoders if {name, name + ending} <= set(truths)
        }
        differences = {
            name: (changed.mean - plain.mean, changed.error_of_difference(plain))
            for name, (changed, plain) in pairs.items()
        }
        p = None
        if len(pairs) > 1:
            one, other = ([each[at].mean for each in pairs.values()] for at in (0, 1))
            p = float(ttest_rel(one, other).pvalue)
        found.append(Changed(variant, differences, p, None))
    tested = [each for each in found if each.p is not None]
    corrected = dict(zip((each.variant for each in tested), holm([each.p or 0.0 for each in tested]), strict=True))
    return [Changed(each.variant, each.differences, each.p, corrected.get(each.variant)) for each in found]


def followed(comparison: Comparison, rows: Sequence[Row]) -> list[Followed]:
    """How well the truth follows each score; empty as long as an encoder lacks one of its variants.

    rows: the committed scores of each variant, as in study/blocks/1/scores.csv.
    """
    truths = {name: each.mean for name, each in comparison.by_encoder.items()}
    kept = [row for row in rows if row["encoder"] in truths]
    if not kept or len(kept) < len(rows):
        return []
    truth = [truths[row["encoder"]] for row in kept]
    columns = {score: [float(row[score]) for row in kept] for score in SCORES}
    every, without = ([within(kept, truth, values, noise) for values in columns.values()] for noise in (True, False))
    corrected = [holm([p for _, p in each]) for each in (every, without)]
    return [
        Followed(
            score,
            float(spearmanr(truth, values).statistic),
            Within(*every[at], corrected[0][at]),
            Within(*without[at], corrected[1][at]),
        )
        for at, (score, values) in enumerate(columns.items())
    ]


def within(rows: Sequence[Row], truth: Sequence[float], values: Sequence[float], noise: bool) -> tuple[float, float]:
    """The mean over encoders of Spearman's correlation of truth and values within each, and its exact one-sided p.

    noise: whether the variants that are noise count.
    """
    by_encoder: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        name, variant = split(row["encoder"])
        if noise or variant != NOISE:
            by_encoder.setdefault(name, []).append(at)
    found, sums = 0.0, np.zeros(1)
    for places in by_encoder.values():
        own, ranks = rankdata([truth[at] for at in places]), rankdata([values[at] for at in places])
        by_order = [float(np.corrcoef(own, order)[0, 1]) for order in permutations(ranks)]  # the first is the score's
        found += by_order[0]
        sums = np.add.outer(sums, by_order).ravel()
    return found / len(by_encoder), float((sums >= found - TINY).mean())


def ordered(comparison: Comparison, rows: Sequence[Row]) -> list[Ordered]:
    """For each score, the pairs of variants of one encoder that it orders as the truth does; rows: as in `followed`."""
    truths = comparison.by_encoder
    pairs = [
        (one, two, truths[one["encoder"]].errors_above(truths[two["encoder"]]))
        for one, two in combinations([row for row in rows if row["encoder"] in truths], 2)
        if split(one["encoder"])[0] == split(two["encoder"])[0]
    ]
    noisy = [NOISE in (split(one["encoder"])[1], split(two["encoder"])[1]) for one, two, _ in pairs]
    found = []
    for score in SCORES if pairs else ():
        right = [(float(one[score]) - float(two[score])) * above > 0 for one, two, above in pairs]
        groups = {
            "with_noise": [each for each, noise in zip(right, noisy, strict=True) if noise],
            "others": [each for each, noise in zip(right, noisy, strict=True) if not noise],
            "clear": [
                each
                for each, noise, (_, _, above) in zip(right, noisy, pairs, strict=True)
                if not noise and abs(above) >= DETECTED
            ],
        }
        found.append(Ordered(score, **{name: (sum(each), len(each)) for name, each in groups.items()}))
    return found


def section(block: Block) -> Section:
    """Its section: truths, differences, the scores that the truth follows, and the answer."""
    comparison, scores = block.comparison, block.folder / "scores.csv"
    if comparison is None:
        return Section(OPEN)
    rows = read(scores) if scores.is_file() else []
    encoders = list(dict.fromkeys(split(name)[0] for name in block.encoders))
    made, found = changes(comparison, encoders), followed(comparison, rows)
    return Section(
        answer(made, found, block.finished),
        (
            Part(truths(comparison, encoders)),
            Part(
                differences(made, encoders),
                "Difference of each variant from the same encoder as it is, with the standard error over items and "
                "seeds. p is that of a paired t test over the encoders. Holm's method corrects the last column for the "
                "number of variants:",
            ),
            Part(
                correlations(found),
                "Spearman's correlation of each score with the truth. The first is over all variants, as planned. The "
                "other two are means of the correlations within encoders: with all variants, and without noise, "
                "because noise is easy: every score that uses the pairing puts it last. These two were added after the "
                "outcome. p is exact: the share of all orders of the variants within encoders that correlate as much. "
                "It is corrected by Holm's method for the number of scores:",
            ),
            Part(
                orders(ordered(comparison, rows)),
                "Pairs of variants of one encoder that the score orders as the truth does. This table was added after "
                "the first eight trainings. Pairs with noise were separated after the last one. A pair is clear if its "
                f"truths differ by {DETECTED:g} standard errors:",
            ),
        ),
    )


def truths(comparison: Comparison, encoders: Sequence[str]) -> str:
    """The table of truths: a line for each encoder and variant."""
    found = [
        (name, variant, comparison.by_encoder[name + ending])
        for name, (variant, ending) in product(encoders, VARIANTS.items())
        if name + ending in comparison.by_encoder
    ]
    rows = [[name, variant, seeds(each), with_error(each.mean, each.standard_error)] for name, variant, each in found]
    return table(["encoder", "variant", "truth of each seed", "mean (standard error)"], rows)


def differences(made: Sequence[Changed], encoders: Sequence[str]) -> str:
    """The table of differences: a line for each variant."""
    rows = [
        [each.variant,
         *(with_error(*each.differences[name]) if name in each.differences else "-" for name in encoders),
         bare(each.mean, 3), probability(each.p), probability(each.corrected)]
        for each in made if each.differences
    ]  # fmt: skip
    return table(["variant", *encoders, "mean", "p, paired t", "p by Holm"], rows)


def correlations(found: Sequence[Followed]) -> str:
    """The table of scores: a line for each."""
    rows = [
        [SCORES[each.score], bare(each.over_all), *(cell for part in (each.within, each.without_noise)
                                                    for cell in (bare(part.spearman), probability(part.corrected)))]
        for each in found
    ]  # fmt: skip
    return table(["score", "over all variants", "within encoders", "p by Holm", "without noise", "p by Holm"], rows)


def orders(found: Sequence[Ordered]) -> str:
    """The table of pairs in the right order: a line for each score."""
    rows = [
        [SCORES[each.score], *(f"{right} of {n}" for right, n in (each.with_noise, each.others, each.clear))]
        for each in found
    ]
    return table(["score", "pairs with noise", "other pairs", "clear ones among the other pairs"], rows)


def answer(made: Sequence[Changed], found: Sequence[Followed], finished: bool) -> str:
    """Which scores the truth follows, and how each variant changes it."""
    said = [] if finished else [PRELIMINARY if found else OPEN]
    if found:
        said += [
            f"Within encoders, the truth correlates significantly with {_significant(found, 'within')} (means of "
            "Spearman's correlation).",
            f"Without the noise variants, it correlates significantly with {_significant(found, 'without_noise')}.",
        ]
    for each in made:
        if each.corrected is not None:
            way = "higher" if each.mean > 0 else "lower"
            sure = "significant" if each.corrected <= LEVEL else "not significant"
            said.append(
                f"{each.variant.capitalize()}: truths are {way} by {bare(abs(each.mean), 3)} on average ({sure})."
            )
    return " ".join(said)


def _significant(found: Sequence[Followed], part: str) -> str:
    """The significant scores, the best first, and the others: 'ridge R2 (.90), but not with MutualNN (.75)'."""
    by_score = sorted(found, key=lambda each: -getattr(each, part).spearman)
    names = {True: [], False: []}  # type: dict[bool, list[str]]
    for each in by_score:
        own = getattr(each, part)
        names[own.corrected <= LEVEL].append(f"{SCORES[each.score]} ({bare(own.spearman)})")
    yes, no = (", ".join(names[each]) for each in (True, False))
    if not yes:
        return f"no score: {no}"
    return yes + (f", but not with {no}" if no else "")
