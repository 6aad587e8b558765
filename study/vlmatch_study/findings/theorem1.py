"""Theorem 1: how well its bound, and what the bound is made of, order encoders as the truth does."""

from collections.abc import Mapping, Sequence
from math import sqrt

from scipy.stats import rankdata

from vlmatch.evidence.correlation import Correlation, by_subset, correlation
from vlmatch.evidence.truths import Comparison
from vlmatch.report.evidence import bare
from vlmatch_study.findings.section import Part, Section
from vlmatch_study.rows import Row
from vlmatch_study.tables import figure, table

SHOWN = {
    "bound": "the bound, `lipschitz_bound_99`",
    "measured": "the measured factor, `lipschitz_99`",
    "gw": "GW",
    "cka": "CKA",
    "participation_ratio": "participation ratio of the images",
    "closest": "r alone: the .5% quantile of image distances over their median",
    "bound_of_noise": "the bound of a noise twin",
}
"""What is compared, by column of study/worlds/theorem1.csv."""
HIGHER_IS_BETTER = ("cka", "participation_ratio", "closest")
ALL, PRETRAINED = "all, controls too", "without controls"
LLM, OTHER = "smollm2", "gemma3_270m"


def section(comparison: Comparison, rows: Sequence[Row]) -> Section:
    """The table and the figures of docs/gromov.md. rows: of study/worlds/theorem1.csv."""
    own = [row for row in rows if row["llm"] == LLM]
    lower = sum(float(row["bound_of_noise"]) < float(row["bound"]) for row in own)
    return Section(_table(comparison, own), (Part(_figures(comparison, rows, lower, len(own))),))


def goodness(rows: Sequence[Row], name: str) -> dict[str, float]:
    """The place of each encoder by a column, counted from the worst; an infinite bound is the worst."""
    sign = 1 if name in HIGHER_IS_BETTER else -1
    places = rankdata([sign * float(row[name]) for row in rows])
    return dict(zip((row["encoder"] for row in rows), places.tolist(), strict=True))


def given_ratio(comparison: Comparison, rows: Sequence[Row], subset: str) -> float:
    """The partial rank correlation of bound and truth, given participation ratio, over a subset of encoders."""
    bound, ratio = goodness(rows, "bound"), goodness(rows, "participation_ratio")
    with_bound = _value(by_subset(comparison, bound)[subset])
    with_ratio = _value(by_subset(comparison, ratio)[subset])
    between = _value(_with(bound, ratio, comparison, subset))
    return (with_bound - with_ratio * between) / sqrt((1 - with_ratio**2) * (1 - between**2))


def _table(comparison: Comparison, rows: Sequence[Row]) -> str:
    bound = goodness(rows, "bound")
    lines = []
    for name, title in SHOWN.items():
        cells = [title]
        for subset in (ALL, PRETRAINED):
            here = goodness(rows, name)
            found = by_subset(comparison, here)[subset]
            cells += [
                bare(_with(bound, here, comparison, subset).spearman),
                figure(found.spearman, found.low, found.high),
            ]
        lines.append(cells)
    n = {subset: by_subset(comparison, bound)[subset].n for subset in (ALL, PRETRAINED)}
    head = ["", f"all {n[ALL]}, with controls: with the bound", "with the truth"]
    return table([*head, f"{n[PRETRAINED]} without controls: with the bound", "with the truth"], lines)


def _figures(comparison: Comparison, rows: Sequence[Row], lower: int, n: int) -> str:
    by_llm = {llm: [row for row in rows if row["llm"] == llm] for llm in (LLM, OTHER)}
    partial = {
        llm: " and ".join(bare(given_ratio(comparison, own, subset)) for subset in (ALL, PRETRAINED))
        for llm, own in by_llm.items()
    }
    gemma = by_subset(comparison, goodness(by_llm[OTHER], "bound"))
    return (
        f"The bound's partial rank correlation with the truth, given participation ratio, is {partial[LLM]} (with and "
        f"without controls). Noise in place of the images lowers the bound for {lower} of {n} encoders. By Gemma 3's "
        f"captions, the bound has {' and '.join(bare(gemma[subset].spearman) for subset in (ALL, PRETRAINED))} with "
        f"the truth, which was measured with SmolLM2 only, and partial correlations of {partial[OTHER]}."
    )


def _with(one: Mapping[str, float], other: Mapping[str, float], comparison: Comparison, subset: str) -> Correlation:
    """The correlation of two orders over the encoders of a subset that have a truth."""
    chosen = {t.encoder for t in comparison.truths} & set(one)
    if subset == PRETRAINED:
        chosen &= {truth.encoder for truth in comparison.pretrained}
    return correlation({name: one[name] for name in sorted(chosen)}, other)


def _value(found: Correlation) -> float:
    return float("nan") if found.spearman is None else found.spearman
