"""Block 1: does the truth follow what a feature says, or over how many dimensions it spreads?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from statistics import fmean

from scipy.stats import spearmanr, ttest_rel

from vlmatch.evidence.correlation import Correlation, correlation
from vlmatch.evidence.truths import Comparison
from vlmatch.report.evidence import bare
from vlmatch_study.evidence.tables import DETECTED
from vlmatch_study.evidence.worlds import read
from vlmatch_study.findings.block import Block
from vlmatch_study.findings.holm import holm
from vlmatch_study.findings.section import Part, Section
from vlmatch_study.findings.tables import OPEN, PRELIMINARY, figure, probability, seeds, table, within

AS_IT_IS = "as it is"
VARIANTS = {AS_IT_IS: "", "whitened": "_whitened", "10 components": "_pca10", "noise": "_noise"}
SCORES = {
    "cka_debiased": "debiased CKA",
    "mutual_nn": "MutualNN",
    "ridge_r2": "ridge R2",
    "participation_ratio": "participation ratio",
}
DIMENSIONS = "participation_ratio"
LEVEL = 0.05
Row = Mapping[str, str]


@dataclass(frozen=True)
class Followed:
    """How well the truth follows one score over the variants; p: two-sided, and corrected for the number of scores."""

    score: str
    correlation: Correlation
    p: float
    corrected: float


@dataclass(frozen=True)
class Ordered:
    """How many pairs of variants of one encoder a score orders as the truth does, of all and of the clear ones."""

    score: str
    right: int
    pairs: int
    clear_right: int
    clear: int


@dataclass(frozen=True)
class Changed:
    """What one variant changes of the truth: by encoder its difference to 'as it is' with the standard error.

    p: of a paired t test over encoders; corrected: for the number of variants. None with fewer than two encoders.
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
    """The difference that each variant makes, over the encoders that have a truth as it is and by this variant."""
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
    """How well the truth follows each score, over the variants that have both; empty for fewer than 4 of them.

    rows: the committed scores of each variant, as in study/blocks/1/scores.csv.
    """
    truth = {row["encoder"]: comparison.by_encoder[row["encoder"]].mean
             for row in rows if row["encoder"] in comparison.by_encoder}  # fmt: skip
    by_score = {
        score: {row["encoder"]: float(row[score]) for row in rows if row["encoder"] in truth} for score in SCORES
    }
    correlations = {score: correlation(truth, values) for score, values in by_score.items()}
    if any(each.spearman is None for each in correlations.values()):
        return []
    p_values = [float(spearmanr(list(truth.values()), list(values.values())).pvalue) for values in by_score.values()]
    return [
        Followed(score, correlations[score], p, corrected)
        for score, p, corrected in zip(SCORES, p_values, holm(p_values), strict=True)
    ]


def ordered(comparison: Comparison, rows: Sequence[Row]) -> list[Ordered]:
    """For each score, the pairs of variants of one encoder that it orders as the truth does; rows: as in `followed`."""
    truths = comparison.by_encoder
    pairs = [
        (one, two, truths[one["encoder"]].errors_above(truths[two["encoder"]]))
        for one, two in combinations([row for row in rows if row["encoder"] in truths], 2)
        if split(one["encoder"])[0] == split(two["encoder"])[0]
    ]
    found = []
    for score in SCORES if pairs else ():
        right = [(float(one[score]) - float(two[score])) * above > 0 for one, two, above in pairs]
        clear_right = [each for each, (_, _, above) in zip(right, pairs, strict=True) if abs(above) >= DETECTED]
        found.append(Ordered(score, sum(right), len(right), sum(clear_right), len(clear_right)))
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
                "Difference of each variant to the same encoder as it is, with the standard error over items and "
                "seeds; p of a paired t test over the encoders, and corrected by Holm's method for the number of "
                "variants:",
            ),
            Part(
                correlations(found),
                "Spearman's correlation of each score with the truth over the variants, with its 95% bootstrap "
                "interval over variants; p corrected by Holm's method for the number of scores:",
            ),
            Part(
                orders(ordered(comparison, rows)),
                "Pairs of variants of one encoder that the score orders as the truth does. This table was added after "
                f"the first eight trainings. A pair is clear if its truths differ by {DETECTED:g} standard errors:",
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
    rows = [[name, variant, seeds(each), within(each.mean, each.standard_error)] for name, variant, each in found]
    return table(["encoder", "variant", "truth of each seed", "mean (standard error)"], rows)


def differences(made: Sequence[Changed], encoders: Sequence[str]) -> str:
    """The table of differences: a line for each variant."""
    rows = [
        [each.variant,
         *(within(*each.differences[name]) if name in each.differences else "-" for name in encoders),
         bare(each.mean, 3), probability(each.p), probability(each.corrected)]
        for each in made if each.differences
    ]  # fmt: skip
    return table(["variant", *encoders, "mean", "p, paired t", "p by Holm"], rows)


def correlations(found: Sequence[Followed]) -> str:
    """The table of scores: a line for each."""
    rows = [
        [SCORES[each.score], figure(each.correlation.spearman, each.correlation.low, each.correlation.high),
         str(each.correlation.n), probability(each.p), probability(each.corrected)]
        for each in found
    ]  # fmt: skip
    return table(["score", "Spearman with the truth", "variants", "p", "p by Holm"], rows)


def orders(found: Sequence[Ordered]) -> str:
    """The table of pairs in the right order: a line for each score."""
    rows = [[SCORES[each.score], f"{each.right} of {each.pairs}", f"{each.clear_right} of {each.clear}"]
            for each in found]  # fmt: skip
    return table(["score", "pairs", "clear pairs"], rows)


def answer(made: Sequence[Changed], found: Sequence[Followed], finished: bool) -> str:
    """Which score the truth follows, and what each variant does, by what study/blocks.md says of the outcomes."""
    said = [] if finished else [PRELIMINARY if found else OPEN]
    if found:
        by_sign = {True: [], False: []}  # type: dict[bool, list[str]]
        for each in sorted(found, key=lambda each: -(each.correlation.spearman or 0.0)):
            follows = each.corrected <= LEVEL and (each.correlation.spearman or 0.0) > 0
            by_sign[follows].append(f"{SCORES[each.score]} ({bare(each.correlation.spearman)})")
        said.append(
            f"Over the variants, the truth correlates significantly with {', '.join(by_sign[True]) or 'no score'}, and "
            f"not with {', '.join(by_sign[False]) or 'none of the others'}, after Holm's correction for {len(found)} "
            "scores. This does not test the scores against each other. Variants of one encoder are not independent, so "
            "these p are too small, and the intervals too narrow."
        )
    for each in made:
        if each.corrected is not None:
            way = "higher" if each.mean > 0 else "lower"
            sure = "significant" if each.corrected <= LEVEL else "not significant"
            said.append(f"{each.variant.capitalize()}: {way} by {bare(abs(each.mean), 3)} on average, {sure}.")
    return " ".join(said)
