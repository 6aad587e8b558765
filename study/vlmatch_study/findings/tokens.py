"""Block 2: do more visual tokens help?"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import log2, sqrt
from statistics import fmean, stdev

from scipy.stats import linregress, ttest_1samp

from vlmatch.evidence.truths import Comparison
from vlmatch.report.evidence import bare
from vlmatch_study.blocks.block import Block
from vlmatch_study.evidence.tables import DETECTED
from vlmatch_study.findings.holm import holm
from vlmatch_study.findings.section import Part, Section
from vlmatch_study.tables import OPEN, PRELIMINARY, probability, table, within

LEVEL, LEAST = 0.05, 3  # a slope needs at least so many numbers of tokens
MEAN = "mean"
_GRID = re.compile(r"(?P<encoder>.+)_grid(?P<side>[0-9]+)")


@dataclass(frozen=True)
class Slope:
    """How much the truth rises with each doubling of tokens: of n features of one encoder, or the mean of n encoders.

    error: standard error of the slope. p: two-sided, of a slope of 0.
    """

    of: str
    n: int
    slope: float
    error: float
    p: float


@dataclass(frozen=True)
class Contrast:
    """How much higher the truth is with `tokens` tokens than with one, by encoder, and the standard error of that.

    p: of a paired t test over encoders. corrected: by Holm's method for the number of contrasts.
    """

    tokens: int
    differences: dict[str, tuple[float, float]]
    p: float
    corrected: float

    @property
    def values(self) -> list[float]:
        """The differences without their errors."""
        return [value for value, _ in self.differences.values()]

    @property
    def clear(self) -> list[str]:
        """The differences of single encoders that are shown: 'open_nsfw with 49 tokens (-.076)'."""
        return [
            f"{name} with {self.tokens} tokens ({bare(value, 3)})"
            for name, (value, error) in self.differences.items()
            if abs(value) >= DETECTED * error
        ]


def split(name: str) -> tuple[str, int]:
    """The encoder and the number of tokens of a name like 'open_nsfw_grid4': 16 tokens; ValueError for another name."""
    found = _GRID.fullmatch(name)
    if found is None:
        raise ValueError(f"'{name}' does not end in _gridK")
    return found["encoder"], int(found["side"]) ** 2


def by_encoder(comparison: Comparison) -> dict[str, dict[int, float]]:
    """The mean truth over seeds by encoder and number of tokens, in order of tokens."""
    found = sorted((*split(truth.encoder), truth.mean) for truth in comparison.truths)
    return {name: {tokens: mean for _, tokens, mean in each} for name, each in groupby(found, key=lambda row: row[0])}


def slopes(truths: dict[str, dict[int, float]]) -> list[Slope]:
    """The slope of each encoder with three numbers of tokens or more, then 'mean': the mean of these slopes.

    The error and p of the mean are those of a t test over encoders, and its n is the number of encoders.
    """
    known = {name: each for name, each in truths.items() if len(each) >= LEAST}
    found = []
    for name, each in known.items():
        line = linregress([log2(tokens) for tokens in each], list(each.values()))
        found.append(Slope(name, len(each), float(line.slope), float(line.stderr), float(line.pvalue)))
    if len(found) < 2:
        return found
    own = [each.slope for each in found]
    error, p = stdev(own) / sqrt(len(own)), float(ttest_1samp(own, 0).pvalue)
    return [*found, Slope(MEAN, len(own), fmean(own), error, p)]


def contrasts(comparison: Comparison) -> list[Contrast]:
    """Each number of tokens against one token, over the encoders that have both; empty for fewer than two encoders."""
    truths, found = {split(each.encoder): each for each in comparison.truths}, []
    for tokens in sorted({number for _, number in truths} - {1}):
        pairs = {name: (truths[name, tokens], truths[name, 1]) for name, number in sorted(truths) if number == tokens
                 and (name, 1) in truths}  # fmt: skip
        own = {name: (more.mean - one.mean, more.error_of_difference(one)) for name, (more, one) in pairs.items()}
        if len(own) > 1:
            p = float(ttest_1samp([value for value, _ in own.values()], 0).pvalue)
            found.append(Contrast(tokens, own, p, 1.0))
    corrected = holm([each.p for each in found])
    return [replace(each, corrected=p) for each, p in zip(found, corrected, strict=True)]


def section(block: Block) -> Section:
    """Its section: truths, slopes and the answer."""
    comparison = block.comparison
    if comparison is None:
        return Section(OPEN)
    found = by_encoder(comparison)
    return Section(
        answer(slopes(found), contrasts(comparison), block.finished),
        (
            Part(truths(comparison), "Mean truth over the finished seeds, with its standard error:"),
            Part(
                slopes_table(slopes(found)),
                "The rise of the truth with each doubling of tokens, by least squares, and its mean with a t test over "
                "encoders:",
            ),
            Part(
                contrasts_table(contrasts(comparison), list(found)),
                "Difference from one token, with the standard error over items and seeds. p is that of a paired t test "
                "over encoders, also corrected by Holm's method:",
            ),
        ),
    )


def truths(comparison: Comparison) -> str:
    """The table of truths with their standard errors: a line for each encoder, a column for each number of tokens."""
    cells = {split(each.encoder): within(each.mean, each.standard_error) for each in comparison.truths}
    numbers = sorted({tokens for _, tokens in cells})
    rows = [[name, *(cells.get((name, tokens), "-") for tokens in numbers)] for name in by_encoder(comparison)]
    return table(["encoder", *(f"{tokens} token{'s' * (tokens > 1)}" for tokens in numbers)], rows)


def slopes_table(found: Sequence[Slope]) -> str:
    """The table of slopes: a line for each encoder, and one for their mean."""
    rows = [[each.of, str(each.n), within(each.slope, each.error), bare(each.p, 3)] for each in found]
    return table(["encoder", "features, or encoders", "rise with each doubling (standard error)", "p"], rows)


def contrasts_table(found: Sequence[Contrast], encoders: Sequence[str]) -> str:
    """The table of differences: a line for each number of tokens."""
    rows = [
        [str(each.tokens),
         *(within(*each.differences[name]) if name in each.differences else "-" for name in encoders),
         bare(fmean(each.values), 3), probability(each.p), probability(each.corrected)]
        for each in found
    ]  # fmt: skip
    return table(["tokens", *encoders, "mean", "p, paired t", "p by Holm"], rows)


def answer(found: Sequence[Slope], against_one: Sequence[Contrast], finished: bool) -> str:
    """Whether the truth rises, falls or stays level with tokens, and which numbers of tokens differ from one."""
    mean = next((each for each in found if each.of == MEAN), None)
    if mean is None:
        return OPEN
    way = "rises" if mean.slope > 0 else "falls"
    outcome = (
        f"The truth {way} with tokens"
        if mean.p <= LEVEL
        else "The truth neither rises nor falls significantly with tokens"
    )
    alone = [name for each in against_one for name in each.clear]
    differ = [str(each.tokens) for each in against_one if each.corrected <= LEVEL]
    said = [
        "" if finished else PRELIMINARY,
        f"{outcome}: {within(mean.slope, mean.error)} for each doubling, over {mean.n} encoders, p {bare(mean.p, 3)}.",
        f"Significantly different from one token over the encoders: {', '.join(differ) or 'no number of tokens'}.",
        f"Single encoders that differ from one token by {DETECTED} of their own standard errors (looked at after 17 "
        f"trainings, without correction): {', '.join(alone) or 'none'}.",
    ]
    return " ".join(each for each in said if each)
