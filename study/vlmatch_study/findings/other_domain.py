"""Block 6: must the probe be of the user's own domain? Each probe's scores beside the truth of each domain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from vlmatch.evidence.correlation import LEAST, Correlation, spearman
from vlmatch.evidence.truths import Comparison
from vlmatch.report.evidence import bare
from vlmatch_study.evidence.domains import PROBES, values
from vlmatch_study.evidence.domains import RULES as SCORED
from vlmatch_study.evidence.recording import RULES
from vlmatch_study.evidence.tables import DETECTED
from vlmatch_study.evidence.worlds import read
from vlmatch_study.findings.block import Block, together
from vlmatch_study.findings.ceilings import Seeds, seeds_agree
from vlmatch_study.findings.repeated import from_recipe_to_recipe
from vlmatch_study.findings.section import Part, Section
from vlmatch_study.findings.tables import OPEN, PRELIMINARY, figure, table
from vlmatch_study.findings.trained import shared

SOURCES: Mapping[str, Sequence[str]] = {"clip-art": ("clipart",), "emoji": ("emoji_google", "openmoji")}
DRAWINGS, OBJECTS = "drawings", "objects"
TITLES = {name: next(rule.title for rule in RULES if rule.name == name) for name in SCORED}
PRIMARY = SCORED[0]
CATEGORY = "category"  # the part of the truth that no VLM was trained on
RESAMPLES = 2000

Floats = NDArray[np.float64]
Row = dict[str, str]


@dataclass(frozen=True)
class Interaction:
    """How much better a probe follows the truth of its own domain than that of the other one, by one score.

    low, high: the 95% interval over families.
    """

    score: str
    value: float
    low: float
    high: float


def section(block: Block) -> Section:
    """Its section: the agreement of both domains' truths, every score on each probe, and the answer."""
    objects, drawings = block.comparison, together([Block.of(number, block.root) for number in (4, "4_others")])
    if objects is None or drawings is None:
        return Section(OPEN)
    names = shared(drawings, objects)
    if len(names) < LEAST:
        return Section(f"{OPEN} Four encoders are needed.")
    rows = read(block.folder / "scores.csv")
    found = interactions(rows, drawings, objects)
    alike = from_recipe_to_recipe(drawings, objects)
    seeds = seeds_agree(drawings, names), seeds_agree(objects, names)
    parts = [
        Part(
            agreement_table(alike, seeds),
            "Spearman's correlation of both domains' truths over the pretrained encoders, with its 95% interval over "
            "encoders, beside that of two seeds of each:",
        ),
        *tables(rows, drawings, objects, found),
    ]
    if not askable(objects.made_of([CATEGORY])):
        named = [part.name for part in objects.definition.parts if part.name != CATEGORY]
        kept, others = objects.made_of(named), drawings.made_of(named)
        note = Part(
            "No VLM names the categories of objects above the network with random weights. Without the categories:"
        )
        parts += [note, *tables(rows, others, kept, interactions(rows, others, kept))]
    return Section(answer(found[0], alike, seeds, askable(objects), block.finished), parts)


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
    """The rows of encoders that every domain has a truth of, their families, and by domain these truths: (encoders,).

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
    rng, names = np.random.default_rng(seed), np.array(families)
    members = [np.flatnonzero(names == name) for name in np.unique(names)]
    found = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([members[n] for n in rng.integers(len(members), size=len(members))])
        found.append(interaction(*(column[drawn] for column in columns)))
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def agreement_table(alike: Correlation, seeds: Sequence[Seeds]) -> str:
    """The table of one line that says how alike both domains order encoders."""
    cells = figure(alike.spearman, alike.low, alike.high), *(bare(each.spearman) for each in seeds)
    head = ["encoders", "drawings and objects", "two seeds, drawings", "two seeds, objects"]
    return table(head, [[str(alike.n), *cells]])


def tables(
    rows: Sequence[Row], drawings: Comparison, objects: Comparison, found: Sequence[Interaction]
) -> tuple[Part, Part]:
    """The interaction of each score, and Spearman's correlation of each score on each probe with each truth."""
    kept, _, by_domain = aligned(rows, drawings, objects)
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
            f"families; {TITLES[PRIMARY]} is the primary score:",
        ),
        Part(
            table(["score", "probe", *(f"truth: {domain}" for domain in by_domain)], lines),
            "Spearman's correlation of each score on each probe with the truth of each domain:",
        ),
    )


def answer(primary: Interaction, alike: Correlation, seeds: Sequence[Seeds], can_be_asked: bool, finished: bool) -> str:
    """What study/blocks.md says of the outcome.

    The truths of both domains agree as two seeds do if their Spearman is not below both domains' mean over two seeds.
    """
    if not can_be_asked:
        return (
            f"No encoder's truth of the objects lies {DETECTED:g} errors above the network with random weights: the "
            "VLMs can't be asked about objects, and the block says nothing."
        )
    known = [each.spearman for each in seeds if each.spearman is not None]
    if alike.spearman is None or not known:
        return f"{OPEN} Two seeds are needed."
    said = figure(primary.value, primary.low, primary.high)
    if primary.low > 0:
        outcome = "the probe must be the user's own"
    elif primary.high < 0:
        outcome = "a probe's pictures matter for another reason than their domain"
    elif alike.spearman >= min(known):
        outcome = "any captioned pictures do, at this distance between domains"
    else:
        outcome = "the best encoder depends on the domain, and no probe sees it: train and measure on the domain"
    ahead = "" if finished else f"{PRELIMINARY} "
    return f"{ahead}The interaction is {said} by {TITLES[primary.score]}: {outcome}."
