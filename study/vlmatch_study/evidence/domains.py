"""Score encoders on another domain: `python -m vlmatch_study.evidence.domains` writes study/blocks/6/scores.csv.

It reads the stored embeddings of the furniture probe. `task=embed task.side=encoder probe=furniture encoder=NAME` makes
those of one encoder, and `task.side=llm` those of the captions. The scores on the stamps come from
study/worlds/embedded.csv. An encoder that was not embedded has no row. No truth is read. The program also prints how
alike the two probes order the encoders, and what block 6 can show.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

import vlmatch
from vlmatch import paths
from vlmatch.embeddings.store import FILE
from vlmatch.evidence.correlation import spearman
from vlmatch_study.evidence.scores import CAPTIONS, IMAGES, PROBE, stored
from vlmatch_study.evidence.worlds import EMBEDDED, LLM, STUDY
from vlmatch_study.power import Errors, smallest_effect, smallest_spread
from vlmatch_study.rows import NewRow, Row, column, read, write

TABLE = STUDY / "blocks" / "6" / "scores.csv"
FURNITURE = "furniture-5f513c28"  # name and fingerprint of the probe, as `task=fetch probe=furniture` prints them
PROBES = ("stamps", "furniture")
RULES = ("mutual_nn", "cka", "cka_debiased", "ridge_r2", "cca", "gw_paired", "gw", "participation_ratio", "rankme")
LESS_IS_BETTER = ("gw", "gw_paired")
CEILINGS = ("mutual_nn", "cka", "cka_debiased", "ridge_r2", "cca")
SETS = 3  # draws of two sets of stamps
ERRORS = Errors(seeds=3, seed_sd=0.011, item_se=0.015)  # of a truth over the 248 objects

Floats = NDArray[np.float64]


def main() -> None:
    """Write the table, and print the agreement of the probes and the effects that the block can show."""
    store = paths.cache() / "embeddings"
    rows = with_places(list(scored(store / FURNITURE)))
    write(TABLE, rows)
    kept = read(TABLE)
    for lines in (agreement(kept), effects(kept), ceilings(store / PROBE, kept)):
        for line in lines:
            print(line, flush=True)


def scored(store: Path) -> Iterator[dict[str, str | int]]:
    """The rows of the stamps, then those of the objects, for every encoder with stored embeddings of the objects."""
    captions = stored(store / LLM / CAPTIONS)
    here = [row for row in read(EMBEDDED) if (store / row["encoder"] / IMAGES / FILE).is_file()]
    for row in here:
        about = {"encoder": row["encoder"], "family": row["family"]}
        yield {"probe": "stamps", **about, **{name: row[name] for name in RULES}}
    for row in here:
        found = vlmatch.score(stored(store / row["encoder"] / IMAGES), captions, RULES)
        print(f"{row['encoder']}: mutual_nn {found['mutual_nn']:.4f}", flush=True)
        about = {"encoder": row["encoder"], "family": row["family"]}
        yield {"probe": "furniture", **about, **{name: f"{found[name]:.6g}" for name in RULES}}


def with_places(rows: Sequence[NewRow]) -> list[dict[str, str | int]]:
    """The rows with the place of each encoder by MutualNN on its probe: 1 is the best, ties share the better place."""
    table: list[dict[str, str | int]] = []
    for probe in dict.fromkeys(row["probe"] for row in rows):
        mine = [dict(row) for row in rows if row["probe"] == probe]
        places = rankdata([-float(row["mutual_nn"]) for row in mine], method="min")
        table += [row | {"place": int(place)} for row, place in zip(mine, places, strict=True)]
    return table


def values(rows: Sequence[Row], probe: str, score: str) -> Floats:
    """A score of each encoder on a probe, with its sign changed if less is better: (encoders,)."""
    found = column([row for row in rows if row["probe"] == probe], score)
    return -found if score in LESS_IS_BETTER else found


def agreement(rows: Sequence[Row]) -> Iterator[str]:
    """Spearman's correlation between the orders by the two probes, for each score."""
    for score in RULES:
        stamps, furniture = (values(rows, probe, score) for probe in PROBES)
        yield f"{score}: stamps and furniture {spearman(stamps, furniture):.2f} over {len(stamps)} encoders"


def ceilings(store: Path, rows: Sequence[Row], seed: int = 0) -> Iterator[str]:
    """For sets of stamps as large as the furniture probe: the agreement with other such sets, and with the objects."""
    n = len(stored(store.parent / FURNITURE / LLM / CAPTIONS).array)
    captions = stored(store / LLM / CAPTIONS).array
    names = [row["encoder"] for row in rows if row["probe"] == "stamps"]
    images = [stored(store / name / IMAGES).array for name in names]
    for score, sets in on_sets(images, captions, CEILINGS, n, seed).items():
        objects = values(rows, "furniture", score)
        others = [spearman(one, other) for one, other in sets]
        domains = [spearman(each, objects) for pair in sets for each in pair]
        yield f"{score}: {n} stamps and {n} others {_range(others)}, and the objects {_range(domains)}"


def on_sets(
    images: Sequence[Floats], captions: Floats, scores: Sequence[str], n: int, seed: int = 0
) -> dict[str, Floats]:
    """Each score of the encoders on `SETS` draws of two disjoint sets of n pairs: (SETS, 2, encoders)."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(SETS):
        drawn = rng.permutation(len(captions))[: 2 * n].reshape(2, n)
        found.append([[vlmatch.score(each[half], captions[half], scores) for each in images] for half in drawn])
    return {name: np.array([[[row[name] for row in half] for half in each] for each in found]) for name in scores}


def _range(found: Sequence[float | None]) -> str:
    known = [each for each in found if each is not None]
    return f"{fmean(known):.2f} [{min(known):.2f}, {max(known):.2f}]"


def effects(rows: Sequence[Row]) -> Iterator[str]:
    """What the block can show with these scores (`vlmatch_study.power`)."""
    n = len(values(rows, "stamps", "mutual_nn"))
    for spread in (0.02, 0.03, 0.05):
        yield f"{n} encoders, spread {spread}: a Spearman of {smallest_effect(n, ERRORS, spread)} or more is shown"
    for score in ("mutual_nn", "cka_debiased", "ridge_r2"):
        own, other = (values(rows, probe, score) for probe in ("furniture", "stamps"))
        found = smallest_spread(list(own), list(other), ERRORS)
        yield f"{score}: the probe whose order the truth follows beats the other from a spread of {found} on"


if __name__ == "__main__":
    main()
