"""The dtype of a training as a fixed effect, and a block's tables without the trainings in float32."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vlmatch.evidence.truths import Comparison
from vlmatch_study.blocks.block import Block, together
from vlmatch_study.findings.section import Made, Part, Section
from vlmatch_study.tables import table, within

FULL = "float32"


@dataclass(frozen=True)
class Effect:
    """How much higher the truth is in `dtype` than in float32, within encoders; error: its standard error."""

    dtype: str
    value: float
    error: float


def effects(comparison: Comparison) -> list[Effect]:
    """The effect of each dtype by least squares with a level for each encoder; empty if it can't be estimated.

    An estimate needs an encoder that was trained in both dtypes, and more runs than encoders and dtypes together.
    """
    runs = [(truth.encoder, run.dtype or "unknown", truth.by_seed[run.seed])
            for truth in comparison.truths for run in truth.runs]  # fmt: skip
    encoders, others = sorted({run[0] for run in runs}), sorted({run[1] for run in runs} - {FULL})
    if not others or not any(run[1] == FULL for run in runs):
        return []
    design = np.array([[*(run[1] == each for each in others), *(run[0] == each for each in encoders)]
                       for run in runs], dtype=float)  # fmt: skip
    values = np.array([run[2] for run in runs])
    freedom = len(runs) - design.shape[1]
    if freedom < 1 or np.linalg.matrix_rank(design) < design.shape[1]:
        return []
    fitted = np.linalg.lstsq(design, values)[0]
    variance = float(((values - design @ fitted) ** 2).sum()) / freedom
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    return [Effect(each, float(fitted[at]), float(errors[at])) for at, each in enumerate(others)]


def with_dtypes(section: Section, blocks: Sequence[Block], made: Made) -> Section:
    """The section; if its trainings have several dtypes, also their effect and the main table without float32.

    made: makes the section from its blocks.
    """
    comparison = together(blocks)
    if comparison is None or len(comparison.dtypes) < 2 or FULL not in comparison.dtypes:
        return section
    rows = [[f"{each.dtype} minus {FULL}", within(each.value, each.error)] for each in effects(comparison)]
    unknown = "No encoder was trained in both dtypes often enough, so their effect can't be estimated."
    without = made([replace(block, left_out=FULL) for block in blocks]).parts
    effect = Part(
        table(["dtype", "effect on the truth (standard error)"], rows) or unknown,
        "The dtype of the LLM in training as a fixed effect, with a level for each encoder:",
    )
    main = Part(without[0].text if without else "", f"The first table again, without the trainings in {FULL}:")
    return replace(section, parts=(*section.parts, effect, main))
