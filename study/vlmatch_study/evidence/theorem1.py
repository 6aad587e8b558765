"""Compute theorem 1's bound for the study's encoders: `python -m vlmatch_study.evidence.theorem1`.

It writes study/worlds/theorem1.csv, the source of a table in docs/gromov.md, from the stored embeddings of the stamps.
It reads no truth.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from omegaconf import OmegaConf

import vlmatch
from vlmatch import paths
from vlmatch.geometry import PairedGeometry, upper_triangle
from vlmatch.scores.gw import GW
from vlmatch.scores.resampling import gaussian_twin
from vlmatch_study.evidence.scores import CAPTIONS, IMAGES, PROBE, stored
from vlmatch_study.evidence.worlds import EMBEDDED
from vlmatch_study.rows import NewRow, read, write

TABLE = EMBEDDED.with_name("theorem1.csv")
LLMS = ("smollm2", "gemma3_270m")
CLOSEST = 0.005  # the share of pairs of images whose distances the bound for 99% of pairs leaves out
BESIDE = ("gw", "cka", "participation_ratio")


def main() -> None:
    """Compute the bound for every encoder and control with both LLMs, and write the table."""
    pool = OmegaConf.load(EMBEDDED.parents[2] / "conf" / "pool.yaml")
    encoders = [*(row["encoder"] for row in read(EMBEDDED)), *pool.controls]
    write(TABLE, list(rows(paths.cache() / "embeddings" / PROBE, encoders)))


def rows(store: Path, encoders: list[str]) -> Iterator[NewRow]:
    """One row for each LLM and encoder, to 6 significant digits; VlmatchError if the store lacks embeddings."""
    for llm in LLMS:
        captions = stored(store / llm / CAPTIONS)
        for encoder in encoders:
            images = stored(store / encoder / IMAGES)
            array = images.array.astype(float)
            beside = vlmatch.score(images, captions, BESIDE)
            made = {
                **bounds(array, captions.array),
                "closest": closest(array),
                "bound_of_noise": bounds(gaussian_twin(array), captions.array)["bound"],
                **{name: beside[name] for name in BESIDE},
            }
            print(f"{llm}, {encoder}: bound {made['bound']:.3f}", flush=True)
            yield {"llm": llm, "encoder": encoder, **{name: f"{value:.6g}" for name, value in made.items()}}


def bounds(images: ArrayLike, captions: ArrayLike) -> dict[str, float]:
    """Theorem 1's bound and the measured factor, for 99% of the pairs. images (n, d), captions (n, e)."""
    details = GW()(PairedGeometry.angular(images, captions)).details
    return {"bound": float(details["lipschitz_bound_99"]), "measured": float(details["lipschitz_99"])}


def closest(images: ArrayLike) -> float:
    """The .5% quantile of the distances between images (n, d), over their median."""
    distances = upper_triangle(PairedGeometry.angular(images, images).image.distances)
    return float(np.quantile(distances, CLOSEST) / np.median(distances))


if __name__ == "__main__":
    main()
