"""Block 2: do more visual tokens help?"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import log2, nan, sqrt
from statistics import fmean

from scipy.stats import linregress, page_trend_test
from scipy.stats import t as student

from vlmatch.evidence.truths import Comparison
from vlmatch.report.evidence import bare
from vlmatch_study.findings.block import Block
from vlmatch_study.findings.section import Part, Section
from vlmatch_study.findings.tables import OPEN, PRELIMINARY, table, within

LEVEL, LEAST = 0.05, 3  # numbers of tokens that a slope is taken over
_GRID = re.compile(r"(?P<encoder>.+)_grid(?P<side>[0-9]+)")


@dataclass(frozen=True)
class Slope:
    """How much the truth rises with each doubling of tokens: by least squares on n trained features.

    error: standard error of the slope. p: two-sided, of a slope of 0.
    """

    of: str
    n: int
    slope: float
    error: float
    p: float


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
    """The slope of each encoder with three numbers of tokens or more, then 'all': that of all of them together.

    'all' has one slope, and a level for each encoder: least squares after the encoder's mean is removed from both. Its
    degrees of freedom are n - 1 - encoders.
    """
    known = {name: each for name, each in truths.items() if len(each) >= LEAST}
    found = []
    for name, each in known.items():
        line = linregress([log2(tokens) for tokens in each], list(each.values()))
        found.append(Slope(name, len(each), float(line.slope), float(line.stderr), float(line.pvalue)))
    if len(known) < 2:
        return found
    doublings, values = [], []
    for each in known.values():
        middle, level = fmean(map(log2, each)), fmean(each.values())
        doublings += [log2(tokens) - middle for tokens in each]
        values += [value - level for value in each.values()]
    line, n = linregress(doublings, values), len(values)
    freedom = n - 1 - len(known)
    error = float(line.stderr) * sqrt((n - 2) / freedom)  # linregress does not know of the encoders' levels
    p = float(2 * student.sf(abs(line.slope) / error, freedom)) if error else nan
    return [*found, Slope("all", n, float(line.slope), error, p)]


def trend(truths: dict[str, dict[int, float]]) -> float | None:
    """p of Page's test that the order rises with tokens, over encoders with every number; None for fewer than two."""
    numbers = sorted({tokens for each in truths.values() for tokens in each})
    whole = [[each[tokens] for tokens in numbers] for each in truths.values() if len(each) == len(numbers)]
    return float(page_trend_test(whole).pvalue) if len(whole) > 1 and len(numbers) >= LEAST else None


def section(block: Block) -> Section:
    """Its section: truths, slopes and the answer."""
    comparison = block.comparison
    if comparison is None:
        return Section(OPEN)
    found = by_encoder(comparison)
    return Section(
        answer(slopes(found), trend(found), block.finished),
        (
            Part(truths(comparison), "Mean truth over seeds, with its standard error:"),
            Part(
                slopes_table(slopes(found)),
                "The rise of the truth with each doubling of tokens, by least squares; over all encoders, each with a "
                "level of its own:",
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
    """The table of slopes: a line for each encoder, and one for all."""
    rows = [[each.of, str(each.n), within(each.slope, each.error), bare(each.p, 3)] for each in found]
    return table(["encoder", "features", "rise with each doubling (standard error)", "p"], rows)


def answer(found: Sequence[Slope], page: float | None, finished: bool) -> str:
    """Whether the truth rises, falls or stays level with tokens; the slope of all encoders is the one test."""
    pooled = next((each for each in found if each.of == "all"), None)
    if pooled is None:
        return OPEN
    way = "rises" if pooled.slope > 0 else "falls"
    outcome = (
        f"The truth {way} with tokens"
        if pooled.p <= LEVEL
        else "The truth neither rises nor falls significantly with tokens"
    )
    said = [
        "" if finished else PRELIMINARY,
        f"{outcome}: {within(pooled.slope, pooled.error)} for each doubling over all encoders, p {bare(pooled.p, 3)}.",
        "This is the one test, so it is not corrected; the slopes of single encoders are a description.",
        "" if page is None else f"Page's test of a rising order has p {bare(page, 3)}.",
    ]
    return " ".join(each for each in said if each)
