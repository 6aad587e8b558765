"""Cambrian-1's published VLMs with Vicuna-7B: what a choice by the spec sheet alone would have cost, by recipe."""

import numpy as np

from vlmatch.evidence.published import FOLDER
from vlmatch.evidence.replay import rank_correlation, replay
from vlmatch.evidence.rules import SPEC, single
from vlmatch.evidence.worlds import World
from vlmatch.report.evidence import bare
from vlmatch_study.evidence.worlds import STUDY
from vlmatch_study.rows import column, read
from vlmatch_study.tables import figure, table

FACTS = STUDY / "worlds" / "cambrian1.csv"
SIZE, MOST_TOKENS = 8, 1024  # size of pools; more tokens than this count as this many
RULES = (
    SPEC,
    single("language_supervised", "language-supervised"),
    single("width", "width"),
    single("tokens", "tokens"),
)


def worlds() -> list[World]:
    """One world for each recipe: the encoders with facts, and their average over 16 benchmarks, in percent."""
    facts = {row["their_name"]: row for row in read(FACTS)}
    truths: dict[str, dict[str, float]] = {}
    for row in read(FOLDER / "cambrian1.csv"):
        if row["benchmark"] == "Average" and row["encoder"] in facts:
            truths.setdefault(row["recipe"], {})[row["encoder"]] = float(row["score"])
    found = []
    for recipe, truth in truths.items():
        rows = [facts[name] for name in truth]
        values = {name: column(rows, name) for name in ("language_supervised", "width", "tokens")}
        values["tokens"] = np.minimum(values["tokens"], MOST_TOKENS)
        found.append(World.of(recipe, list(truth), [row["family"] for row in rows], list(truth.values()), values))
    return found


def spec_sheet_table() -> str:
    """The table of docs/evidence.md: a line for each recipe and fact."""
    rows = []
    for world in worlds():
        outcomes = {each.rule: each for each in replay(world, RULES, "random", SIZE)}
        for rule in RULES:
            outcome = outcomes[rule.name]
            rows.append(
                [
                    world.name.replace("_", ", "),
                    f"{len(world)} ({world.n_families})",
                    rule.title,
                    figure(*rank_correlation(world, rule)),
                    figure(*outcome.fraction),
                    bare(outcome.first_three.value),
                ]
            )
    head = ["adapter data, encoder", "encoders (families)", "picked by", "Spearman", f"regret, pools of {SIZE}"]
    return table([*head, "first three"], rows)
