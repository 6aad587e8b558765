"""Predict block 1's variants: `python -m vlmatch_study.evidence.confound` writes study/blocks/1/scores.csv.

It reads no truth. It reads the stored embeddings of the stamps, so run these before: `experiment=block1 task=transform`
fits the components that make the variants, and `experiment=block1 task=embed task.side=encoder recipe.seed=0 multirun`
embeds the stamps.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from scipy.stats import rankdata

import vlmatch
from vlmatch import paths
from vlmatch_study.blocks.block import Block
from vlmatch_study.evidence.scores import CAPTIONS, IMAGES, PROBE, stored
from vlmatch_study.evidence.worlds import LLM, STUDY
from vlmatch_study.rows import NewRow, write

TABLE = STUDY / "blocks" / "1" / "scores.csv"
SCORES = ("cka_debiased", "mutual_nn", "ridge_r2", "participation_ratio")


def main() -> None:
    """Score every variant and write the table, with the places that each score predicts."""
    table = with_places(list(scored(paths.cache() / "embeddings" / PROBE, Block(1, ()).encoders)))
    write(TABLE, table)


def scored(store: Path, names: Sequence[str]) -> Iterator[dict[str, str | int]]:
    """Each variant's row: its width, the SHA-256 of its weights, and its scores to 6 significant digits.

    Raises VlmatchError if the store lacks the embeddings of a variant.
    """
    captions = stored(store / LLM / CAPTIONS)
    for name in names:
        images = stored(store / name / IMAGES)
        values = vlmatch.score(images, captions, SCORES)
        about = {"encoder": name, "width": images.array.shape[1], "weights": str(images.header.weights_sha256)}
        yield about | {score: f"{values[score]:.6g}" for score in SCORES}


def with_places(rows: Sequence[NewRow]) -> list[dict[str, str | int]]:
    """The rows with the place that each score predicts: 1 is the best, ties share the better place."""
    places = {score: rankdata([-float(row[score]) for row in rows], method="min") for score in SCORES}
    return [
        {**row, **{f"place_{score}": int(places[score][number]) for score in SCORES}} for number, row in enumerate(rows)
    ]


if __name__ == "__main__":
    main()
