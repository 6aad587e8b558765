"""The two worlds of evidence: our own trainings, and VTBenchLab's published table."""

from pathlib import Path

import numpy as np

from vlmatch.errors import VlmatchError
from vlmatch.evidence.best import pooled_error
from vlmatch.evidence.definitions import LATEST
from vlmatch.evidence.truths import comparisons_in
from vlmatch.evidence.worlds import World
from vlmatch_study.evidence.odd_rows import OddRow, odd_rows
from vlmatch_study.rows import column, read

STUDY = Path(__file__).parents[2]
EMBEDDED, PUBLISHED = STUDY / "worlds" / "embedded.csv", STUDY / "published"
LLM, DATA = "smollm2", "vlm_a"
# VTBenchLab's name: vlmatch's name
RENAMED = {"mutual_knn": "mutual_nn", "cka_text": "cka", "probe": "linear_probe"}
NOT_BEFORE = ("a_score",)  # needs a trained projector, so it was not known before any VLM was trained


def embedded(folder: Path = STUDY / "results", version: int = LATEST) -> World:
    """Our 32 pretrained encoders with SmolLM2: the truth of this version by seed, and their scores on the stamps.

    Raises VlmatchError if an encoder of the table has no results, or an encoder with results has no row.
    """
    rows = read(EMBEDDED)
    found = [
        each
        for each in comparisons_in([folder], version)
        if (each.setting.llm, each.setting.data) == (LLM, DATA) and each.setting.recipe.name == "embedded"
    ]
    truths = {truth.encoder: truth for truth in found[0].pretrained}
    names = [row["encoder"] for row in rows]
    if apart := sorted(set(names) ^ set(truths)):
        raise VlmatchError(f"'{EMBEDDED}': encoder '{apart[0]}' has no row or no results; give it both, or neither")
    by_seed = [list(truths[name].by_seed.values()) for name in names]
    columns = {key: column(rows, key) for key in rows[0] if key not in ("encoder", "family")}
    name = "embedded" if version == LATEST else f"embedded_truth{version}"
    families = [row["family"] for row in rows]
    return World.of(name, names, families, by_seed, columns, pooled_error(found[0]))


def vtbenchlab() -> World:
    """VTBenchLab's 79 encoders with Qwen2.5-1.5B: the mean over 11 benchmarks and its own scores."""
    scores = read(PUBLISHED / "scores_vtbenchlab.csv")
    truths = {row["encoder"]: float(row["score"]) for row in read(PUBLISHED / "truth_vtbenchlab.csv")}
    numbers = [key for key in scores[0] if key not in ("encoder", "family", "supervision", *NOT_BEFORE)]
    values = {RENAMED.get(key, key): column(scores, key) for key in numbers}
    values["language_supervised"] = np.array([float(row["supervision"] == "lang") for row in scores])
    names = [row["encoder"] for row in scores]
    return World.of("vtbenchlab", names, [row["family"] for row in scores], [truths[name] for name in names], values)


def odd_in(world: World) -> list[OddRow]:
    """The rows of VTBenchLab that look odd. Participation ratio is compared by its logarithm."""
    measured = ("linear_probe", "rankme", "ridge_r2", "mutual_nn", "cka")
    columns = {"truth": world.mean_truth, **{key: world.values[key] for key in measured}}
    columns["participation ratio (log)"] = np.log(world.values["participation_ratio"])
    return odd_rows(world.names, world.families, columns, (world.values["width"], world.values["tokens"]))
