"""Block 6: the probe's domain against the truth's. `python -m vlmatch_study.evidence.domain_table` prints the table.

It reads study/blocks/6/scores.csv, the results of block 4 (drawings) and those of block 6 (objects).
"""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from vlmatch.errors import VlmatchError
from vlmatch.evidence.correlation import spearman
from vlmatch.evidence.truths import Comparison, comparisons_in
from vlmatch_study.evidence.domains import PROBES, RULES, TABLE, values
from vlmatch_study.evidence.worlds import LLM, STUDY, read
from vlmatch_study.findings.block import Block, n_runs

DRAWINGS, OBJECTS = STUDY / "blocks" / "results", STUDY / "blocks" / "6" / "results"
SOURCES: Mapping[str, Sequence[str]] = {"clip-art": ("clipart",), "emoji": ("emoji_google", "openmoji")}
RESAMPLES = 2000

Floats = NDArray[np.float64]


def main(drawings: Path = DRAWINGS, objects: Path = OBJECTS) -> None:
    """Print Spearman's correlation of each probe's scores with each domain's truth, and the interaction."""
    rows = read(TABLE)
    truths = truths_of(most_runs(drawings, "embedded"), most_runs(objects, "furniture"))
    rows = [row for row in rows if all(row["encoder"] in truth for truth in truths.values())]
    names, families = zip(*((row["encoder"], row["family"]) for row in rows if row["probe"] == "stamps"), strict=True)
    by_domain = {domain: np.array([truth[name] for name in names]) for domain, truth in truths.items()}
    print(
        f"{len(names)} encoders; truths agree: drawings-objects {_rho(by_domain['drawings'], by_domain['objects']):.2f}"
    )
    for score in RULES:
        by_probe = {probe: values(rows, probe, score) for probe in PROBES}
        cells = (f"{p} probe, {t} truth {_rho(by_probe[p], by_domain[t]):.2f}" for p, t in product(PROBES, by_domain))
        four = by_probe["furniture"], by_probe["stamps"], by_domain["objects"], by_domain["drawings"]
        low, high = interval(families, *four)
        print(f"{score}: {'; '.join(cells)}; interaction {interaction(*four):.3f} [{low:.3f}, {high:.3f}]")


def most_runs(folder: Path, suite: str) -> Comparison:
    """The comparison of SmolLM2's trainings by this suite with the most runs; VlmatchError where there is none."""
    (recipe,) = Block.of(6, STUDY.parent).recipes
    found = [
        each
        for each in comparisons_in([folder])
        if (each.setting.llm, each.setting.recipe.name, each.setting.suite.name) == (LLM, recipe, suite)
    ]
    if not found:
        raise VlmatchError(f"'{folder}' has no results of suite '{suite}'; run experiment=block6 multirun, and collect")
    return max(found, key=n_runs)


def truths_of(drawings: Comparison, objects: Comparison) -> dict[str, dict[str, float]]:
    """By domain, the truth of each pretrained encoder: of all drawings, of each kind of them, and of the objects."""
    by_kind = {
        kind: {each.encoder: fmean(each.source(name) or 0.0 for name in sources) for each in drawings.pretrained}
        for kind, sources in SOURCES.items()
    }
    whole = {"drawings": drawings, "objects": objects}
    return {**by_kind, **{name: {each.encoder: each.mean for each in c.pretrained} for name, c in whole.items()}}


def interaction(own: Floats, stamps: Floats, objects: Floats, drawings: Floats) -> float:
    """How much better a probe follows the truth of its own domain than that of the other one.

    Half of [rho(own, objects) - rho(stamps, objects)] + [rho(stamps, drawings) - rho(own, drawings)], by Spearman.
    own, stamps: the scores on the two probes, (encoders,). objects, drawings: the truths, (encoders,).
    """
    gained = _rho(own, objects) - _rho(stamps, objects) + _rho(stamps, drawings) - _rho(own, drawings)
    return gained / 2


def interval(
    families: Sequence[str], *columns: Floats, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The 95% interval of `interaction(*columns)`: families are drawn with replacement, with all their encoders."""
    rng, names = np.random.default_rng(seed), np.array(families)
    members = [np.flatnonzero(names == name) for name in np.unique(names)]
    found = []
    for _ in range(resamples):
        drawn = np.concatenate([members[n] for n in rng.integers(len(members), size=len(members))])
        found.append(interaction(*(column[drawn] for column in columns)))
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def _rho(one: Floats, other: Floats) -> float:
    value = spearman(one, other)
    return math.nan if value is None else value


if __name__ == "__main__":
    main()
