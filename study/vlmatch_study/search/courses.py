"""The two worlds with what a search would have seen: our learning curves, and VTBenchLab's truths alone."""

from pathlib import Path

import numpy as np

from vlmatch.embeddings.store import Store
from vlmatch.errors import VlmatchError
from vlmatch.evidence.truths import comparisons_in
from vlmatch.evidence.worlds import Floats
from vlmatch.geometry import Geometry
from vlmatch.scores.cka import centred_kernel
from vlmatch_study.evidence.scores import stored_images
from vlmatch_study.evidence.worlds import DATA, LLM, STUDY, embedded, vtbenchlab
from vlmatch_study.rows import column, read
from vlmatch_study.search.replay import Courses

SIMILARITIES = STUDY / "search" / "cka.csv"
DIGITS = 4


def ours(folder: Path = STUDY / "results") -> Courses:
    """Our 32 encoders: the stored mean at 1/8, 1/4 and 1/2 of each training, then the truth; CKA on the stamps.

    Raises VlmatchError if a training has other milestones, or the table of similarities lacks an encoder.
    """
    world = embedded(folder)
    (found,) = [
        each
        for each in comparisons_in([folder])
        if (each.setting.llm, each.setting.data, each.setting.recipe.name) == (LLM, DATA, "embedded")
    ]
    earlier = []
    for name in world.names:
        runs = found.by_encoder[name].runs
        curves = [[milestone.mean for milestone in run.milestones[:-1]] for run in runs]
        if {len(curve) for curve in curves} != {3}:
            raise VlmatchError(f"results of '{name}' lack milestones; wanted 1/8, 1/4 and 1/2 of every training")
        earlier.append(curves)
    return Courses.of(world, np.array(earlier), similarities(world.names))


def theirs() -> Courses:
    """VTBenchLab's 79 encoders, without learning curves."""
    world = vtbenchlab()
    return Courses.of(world, np.empty((len(world), 1, 0)))


def similarities(names: tuple[str, ...]) -> Floats:
    """The CKA of every two encoders by the committed table: (n, n). Raises VlmatchError if it lacks an encoder."""
    rows = {row["encoder"]: row for row in read(SIMILARITIES)}
    if missing := [name for name in names if name not in rows]:
        raise VlmatchError(
            f"'{SIMILARITIES}' lacks '{missing[0]}'; embed it, then run python -m vlmatch_study.search --cka"
        )
    return np.array([column([rows[name] for name in names], other) for other in names])


def measured_similarities(names: tuple[str, ...], store: Store, probe: str) -> Floats:
    """Linear CKA of every two encoders on the images of a probe, from the stored `feature=paper`: (n, n).

    Raises VlmatchError if the store lacks an encoder.
    """
    kernels = []
    for name in names:
        kernel = centred_kernel(Geometry.angular(stored_images(store, probe, name).array, kind="image"))
        kernels.append((kernel / np.linalg.norm(kernel)).ravel())
    stacked = np.stack(kernels)
    return stacked @ stacked.T


def write_similarities(names: tuple[str, ...], table: Floats) -> None:
    """Write the table of similarities."""
    lines = [",".join(["encoder", *names])]
    lines += [",".join([name, *(f"{each:.{DIGITS}f}" for each in row)]) for name, row in zip(names, table, strict=True)]
    SIMILARITIES.parent.mkdir(exist_ok=True)
    SIMILARITIES.write_text("\n".join(lines) + "\n", encoding="utf-8")
