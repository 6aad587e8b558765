"""Block 6: must the probe be of the user's own domain? Each probe's scores beside the truth of each domain."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from vlmatch.evidence.correlation import LEAST, spearman
from vlmatch.evidence.pools import family_draws
from vlmatch.evidence.truths import Comparison
from vlmatch.report.evidence import bare
from vlmatch_study.blocks.block import Block, together
from vlmatch_study.blocks.worlds import shared_seeds
from vlmatch_study.evidence.domains import PROBES, values
from vlmatch_study.evidence.domains import RULES as SCORED
from vlmatch_study.evidence.recording import RULES
from vlmatch_study.evidence.tables import DETECTED
from vlmatch_study.findings.section import Part, Section
from vlmatch_study.findings.trained import shared
from vlmatch_study.rows import Row, read
from vlmatch_study.tables import OPEN, PRELIMINARY, figure, table

SOURCES: Mapping[str, Sequence[str]] = {"clip-art": ("clipart",), "emoji": ("emoji_google", "openmoji")}
DRAWINGS, OBJECTS = "drawings", "objects"
TITLES = {name: next(rule.title for rule in RULES if rule.name == name) for name in SCORED}
PRIMARY = SCORED[0]
CATEGORY = "category"  # the part of the truth that no VLM was trained on
RESAMPLES = 2000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interaction:
    """How much better a probe follows the truth of its own domain than that of the other one, by one score.

    low, high: the 95% interval over families.
    """

    score: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """How alike two different seeds order encoders: both of drawings, both of objects, one of each.

    Across domains, too, the two seeds are different, because the VLM of one seed answers about both domains, so its
    noise is in both truths. lower: by how much the correlation across domains lies below the geometric mean of those
    within a domain, with its interval.
    """

    encoders: int
    drawings: float
    objects: float
    across: float
    lower: tuple[float, float, float]


def section(block: Block) -> Section:
    """Its section: the agreement of both domains' truths, every score on each probe, and the answer."""
    objects, drawings = block.comparison, together([Block.of(number, block.root) for number in (4, "4_others")])
    if objects is None or drawings is None:
        return Section(OPEN)
    names = shared(drawings, objects)
    if len(names) < LEAST:
        return Section(f"{OPEN} Four encoders are needed.")
    rows = read(block.folder / "scores.csv")
    found, alike = interactions(rows, drawings, objects), agreement(rows, drawings, objects)
    parts = [
        Part(
            agreement_table(alike) if alike else "",
            "Mean Spearman's correlation of two different seeds over the pretrained encoders. If both domains ordered "
            "the encoders alike, the correlation across domains would be the geometric mean of the two within a "
            "domain. The last column says by how much it is lower, with its 95% interval over families:",
        ),
        *tables(rows, drawings, objects, found),
    ]
    if not askable(objects.made_of([CATEGORY])):
        named = [part.name for part in objects.definition.parts if part.name != CATEGORY]
        kept, others = objects.made_of(named), drawings.made_of(named)
        note = Part(
            "No VLM names the categories of objects clearly better than the VLM of the network with random weights. So "
            "the tables follow again without the categories:"
        )
        parts += [note, *tables(rows, others, kept, interactions(rows, others, kept))]
    return Section(answer(found[0], alike, askable(objects), block.finished), parts)


def askable(objects: Comparison) -> bool:
    """Whether some encoder's truth lies clearly above the network with random weights; True without that network."""
    random = objects.random
    return random is None or any(truth.errors_above(random) >= DETECTED for truth in objects.pretrained)


def truths_of(drawings: Comparison, objects: Comparison) -> dict[str, dict[str, float]]:
    """By domain, the truth of each pretrained encoder: of each kind of drawings, of all drawings, of the objects."""
    by_kind = {
        kind: {each.encoder: fmean(each.source(name) or 0.0 for name in sources) for each in drawings.pretrained}
        for kind, sources in SOURCES.items()
    }
    whole = {DRAWINGS: drawings, OBJECTS: objects}
    return {**by_kind, **{name: {each.encoder: each.mean for each in c.pretrained} for name, c in whole.items()}}


def aligned(
    rows: Sequence[Row], drawings: Comparison, objects: Comparison
) -> tuple[list[Row], list[str], dict[str, Floats]]:
    """The rows of encoders with a truth in every domain, their families, and these truths by domain: (encoders,).

    rows: of study/blocks/6/scores.csv, the same encoders in the same order on each probe.
    """
    truths = truths_of(drawings, objects)
    kept = [row for row in rows if all(row["encoder"] in truth for truth in truths.values())]
    first = [row for row in kept if row["probe"] == PROBES[0]]
    by_domain = {domain: np.array([truth[row["encoder"]] for row in first]) for domain, truth in truths.items()}
    return kept, [row["family"] for row in first], by_domain


def interactions(rows: Sequence[Row], drawings: Comparison, objects: Comparison) -> list[Interaction]:
    """The interaction of every score; the first is the primary one."""
    kept, families, by_domain = aligned(rows, drawings, objects)
    found = []
    for score in SCORED:
        stamps, own = (values(kept, probe, score) for probe in PROBES)
        four = own, stamps, by_domain[OBJECTS], by_domain[DRAWINGS]
        found.append(Interaction(score, interaction(*four), *interval(families, *four)))
    return found


def interaction(own: Floats, stamps: Floats, objects: Floats, drawings: Floats) -> float:
    """How much better a probe follows the truth of its own domain than that of the other one.

    Half of [rho(own, objects) - rho(stamps, objects)] + [rho(stamps, drawings) - rho(own, drawings)], by Spearman.
    own, stamps: the scores on the two probes, (encoders,). objects, drawings: the truths, (encoders,).
    """
    with np.errstate(invalid="ignore"):  # of a constant column, as a draw of few families has: nan
        rho = np.atleast_2d(np.corrcoef(rankdata([own, stamps, objects, drawings], axis=1)))
    return float((rho[0, 2] - rho[1, 2]) + (rho[1, 3] - rho[0, 3])) / 2


def interval(families: Sequence[str], *columns: Floats, seed: int = 0) -> tuple[float, float]:
    """The 95% interval of `interaction(*columns)`: families are drawn with replacement, with all their encoders."""
    draws = family_draws(families, RESAMPLES, np.random.default_rng(seed))
    return bounds([interaction(*(column[drawn] for column in columns)) for drawn in draws])


def bounds(found: Sequence[float]) -> tuple[float, float]:
    """The 95% percentile interval of bootstrapped figures; those of a constant column don't count."""
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def agreement(rows: Sequence[Row], drawings: Comparison, objects: Comparison) -> Agreement | None:
    """How alike both domains order the encoders that have scores; None without two seeds that all of them have."""
    kept, families, _ = aligned(rows, drawings, objects)
    names = [row["encoder"] for row in kept if row["probe"] == PROBES[0]]
    seeds = sorted(set(shared_seeds(drawings, names)) & set(shared_seeds(objects, names)))
    if len(seeds) < 2:
        return None
    columns = np.array(
        [[c.by_encoder[name].by_seed[seed] for name in names] for c in (drawings, objects) for seed in seeds]
    )
    whole = correlations(columns)
    draws = family_draws(families, RESAMPLES, np.random.default_rng(0))
    low, high = bounds([lower(*correlations(columns[:, drawn])) for drawn in draws])
    return Agreement(len(names), *whole, (lower(*whole), low, high))


def correlations(columns: Floats) -> tuple[float, float, float]:
    """Mean Spearman's correlation of two different seeds: of drawings, of objects, of one and the other.

    columns: one row for each seed of the drawings' truth, then one for each of the objects': (2 * seeds, encoders).
    """
    with np.errstate(invalid="ignore"):  # of a constant column, as a draw of few families has: nan
        rho = np.atleast_2d(np.corrcoef(rankdata(columns, axis=1)))
    n = len(columns) // 2
    differ = ~np.eye(n, dtype=bool)
    one, other, across = (float(block[differ].mean()) for block in (rho[:n, :n], rho[n:, n:], rho[:n, n:]))
    return one, other, across


def lower(one: float, other: float, across: float) -> float:
    """By how much the correlation across domains lies below its value if both domains ordered encoders alike."""
    return math.sqrt(max(one, 0.0) * max(other, 0.0)) - across


def agreement_table(alike: Agreement) -> str:
    """The table of one line that says how alike both domains order encoders."""
    cells = bare(alike.drawings), bare(alike.objects), bare(alike.across), figure(*alike.lower)
    head = ["encoders", "two seeds, drawings", "two seeds, objects", "one of each", "lower by"]
    return table(head, [[str(alike.encoders), *cells]])


def tables(
    rows: Sequence[Row], drawings: Comparison, objects: Comparison, found: Sequence[Interaction]
) -> tuple[Part, Part]:
    """The interaction of each score, and Spearman's correlation of each score on each probe with each truth."""
    kept, families, by_domain = aligned(rows, drawings, objects)
    lines = [
        [
            TITLES[each.score],
            probe,
            *(bare(spearman(values(kept, probe, each.score), truth)) for truth in by_domain.values()),
        ]
        for each, probe in product(found, PROBES)
    ]
    return (
        Part(
            table(
                ["score", "interaction"],
                [[TITLES[each.score], figure(each.value, each.low, each.high)] for each in found],
            ),
            "How much better a probe follows its own domain's truth than the other one's, with the 95% interval over "
            f"families ({len(families)} encoders); {TITLES[PRIMARY]} is the primary score:",
        ),
        Part(
            table(["score", "probe", *(f"truth: {domain}" for domain in by_domain)], lines),
            "Spearman's correlation of each score on each probe with the truth of each domain:",
        ),
    )


def answer(primary: Interaction, alike: Agreement | None, can_be_asked: bool, finished: bool) -> str:
    """What study/blocks.md says of the outcome.

    The truths of both domains agree as two seeds do if the interval of `Agreement.lower` does not lie above 0.
    """
    if not can_be_asked:
        return (
            f"No encoder's truth of the objects lies {DETECTED:g} standard errors above that of the network with "
            "random weights. So the VLMs can't answer questions about objects, and the block says nothing."
        )
    ahead = "" if finished else f"{PRELIMINARY} "
    said = f"The interaction is {figure(primary.value, primary.low, primary.high)} by {TITLES[primary.score]}"
    if alike is None:
        return (
            f"{ahead}{said}. Whether both domains order the encoders as two seeds do needs two seeds, so that is open."
        )
    if primary.low > 0:
        outcome = "the probe must be the user's own"
    elif primary.high < 0:
        outcome = "a probe's pictures matter for another reason than their domain"
    elif alike.lower[1] <= 0:
        outcome = "any captioned pictures do, at this distance between domains"
    else:
        outcome = "the best encoder depends on the domain, and no probe sees it: train and measure on the domain"
    return f"{ahead}{said}: {outcome}."
