"""The world of our own trainings in parts, and what each score adds to another one; both came after the rules.

`photo_classifier` marks the eight encoders whose model cards say that they were trained to classify photographs. We
chose this fact after the truth was known.
"""

from collections.abc import Mapping

import numpy as np
from scipy.stats import rankdata

from vlmatch.encoders.catalogue import catalogue
from vlmatch.evidence.pools import family_draws
from vlmatch.evidence.replay import RESAMPLES, Figure, interval, replay
from vlmatch.evidence.rules import NEIGHBOURS, RIDGE, SPEC, Rule, joined, single
from vlmatch.evidence.truths import comparisons_in
from vlmatch.evidence.worlds import Floats, World
from vlmatch_study.evidence.worlds import DATA, LLM, STUDY, embedded
from vlmatch_study.tables import figure, table

SIZE, FULL = 8, "float32"
CLASSIFIER = single("photo_classifier", "classifier of photographs")
RULES = (
    SPEC,
    CLASSIFIER,
    joined("classifier_mutual", "classifier of photographs and MutualNN", (CLASSIFIER, NEIGHBOURS)),
    NEIGHBOURS,
    RIDGE,
    single("participation_ratio", "participation ratio"),
    single("gw", "GW", higher_is_better=False),
)
PAIRS = tuple(
    (one, other)
    for score in ("mutual_nn", "cka_debiased", "ridge_r2")
    for one, other in ((score, "participation_ratio"), ("participation_ratio", score))
)
TITLES = {
    "mutual_nn": "MutualNN",
    "cka_debiased": "debiased CKA",
    "ridge_r2": "ridge R2",
    "participation_ratio": "participation ratio",
}


def worlds() -> dict[str, World]:
    """All encoders, those made by others, and those whose trainings were all in bfloat16."""
    whole = embedded()
    ours = [name for name in whole.names if catalogue()[name].trained_on_domain]
    mixed = [name for name in whole.names if name in trained_in(FULL)]
    return {
        "all": whole,
        "made by others": whole.without(ours, "made by others"),
        "bfloat16 alone": whole.without(mixed, "bfloat16 alone"),
    }


def trained_in(dtype: str) -> set[str]:
    """The encoders of the world that have a training in this dtype."""
    (found,) = (
        each
        for each in comparisons_in([STUDY / "results"])
        if (each.setting.llm, each.setting.data, each.setting.recipe.name) == (LLM, DATA, "embedded")
    )
    return {truth.encoder for truth in found.truths if any(run.dtype == dtype for run in truth.runs)}


def parts_table() -> str:
    """The table of regrets: a line for each rule, a column for each part of the world."""
    found = worlds()
    outcomes = {name: _regrets(world, RULES) for name, world in found.items()}
    rows = [[rule.title, *(figure(*outcomes[name][rule.name]) for name in found)] for rule in RULES]
    return table(["picked by", *(f"{name} ({len(world)})" for name, world in found.items())], rows)


def _regrets(world: World, rules: tuple[Rule, ...]) -> Mapping[str, Figure]:
    return {each.rule: each.fraction for each in replay(world, rules, "random", SIZE)}


def beyond_table() -> str:
    """The table of partial correlations: a line for each score and the score that is held fixed."""
    world = embedded()
    rows = [[TITLES[one], TITLES[other], figure(*partial(world, one, other))] for one, other in PAIRS]
    return table(["score", "given", "partial Spearman with the truth"], rows)


def partial(world: World, score: str, given: str, *, seed: int = 0) -> Figure:
    """Spearman's partial correlation of a score with the truth given another score, with its interval over families."""
    columns = np.stack([world.values[score], world.mean_truth, world.values[given]])
    draws = family_draws(world.families, RESAMPLES, np.random.default_rng(seed))
    drawn = [_partial(columns[:, rows]) for rows in draws]
    return Figure(_partial(columns), *interval(drawn))


def _partial(columns: Floats) -> float:
    """The partial correlation of the first two rows given the third. columns: (3, n)."""
    rho = np.atleast_2d(np.corrcoef(rankdata(columns, axis=1)))
    return float((rho[0, 1] - rho[0, 2] * rho[1, 2]) / np.sqrt((1 - rho[0, 2] ** 2) * (1 - rho[1, 2] ** 2)))
