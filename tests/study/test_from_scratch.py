"""Repeated trainings stand beside the first ones of the same setting, encoder and seed."""

from dataclasses import replace

import pytest

from made_truths import runs
from vlmatch.evidence.truths import comparisons
from vlmatch_study.findings import from_scratch


def test_a_repeated_training_is_held_against_the_same_encoder_and_seed() -> None:
    first = comparisons(runs({"a": (0.30, 0.32), "b": (0.10, 0.14)}))
    second = comparisons([*runs({"a": (0.30,)}), *(replace(run, seed=1) for run in runs({"b": (0.15,)}))])
    found = from_scratch.repetitions(first, second)
    assert [(each.encoder, each.seed, each.difference) for each in found] == [
        ("a", 0, 0), ("b", 1, pytest.approx(0.01)),
    ]  # fmt: skip
    assert found[0].between_seeds == pytest.approx(((0.02**2 + 0.04**2) / 4) ** 0.5)
    said = from_scratch.answer(found)
    assert said.startswith("2 trainings were repeated. 1 of them ended with the same truth, digit by digit.")
    assert (
        "a root mean square of .010. The largest is .010; the standard deviation between seeds of this truth is .022"
        in said
    )
    assert from_scratch.repetitions_table(found).count("\n") == 3


def test_a_training_by_another_recipe_is_no_repetition() -> None:
    first = runs({"a": (0.3,)})
    other = [replace(run, recipe=replace(run.recipe, name="other")) for run in first]
    assert from_scratch.repetitions(comparisons(first), comparisons(other)) == []
    assert from_scratch.answer([]) == "No training was repeated yet."
