"""Predict block 3's new encoders: `python -m vlmatch_study.evidence.new_members` writes study/blocks/3/scores.csv.

It reads no truth. It reads the stored embeddings of the stamps: `task=embed task.side=encoder encoder=NAME` makes them
for each name in `new_members` of conf/pool.yaml, and `task=embed task.side=llm llm=smollm2` those of the captions.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from scipy.stats import rankdata

from vlmatch import paths
from vlmatch.configs import chosen
from vlmatch.embeddings.header import slug_of
from vlmatch.embeddings.store import Embeddings
from vlmatch.encoders.catalogue import catalogue
from vlmatch.evidence.record import record
from vlmatch.health.geometries import health_of
from vlmatch.health.pool import angles_for_health, resolution_of
from vlmatch.settings.work import Fed
from vlmatch_study.evidence.scores import CAPTIONS, PROBE, row_of, stored
from vlmatch_study.evidence.worlds import EMBEDDED, LLM, STUDY
from vlmatch_study.rows import NewRow, column, read, write

TABLE = STUDY / "blocks" / "3" / "scores.csv"
SETTINGS: tuple[Fed, ...] = ("pooled", "patches")


def main() -> None:
    """Score and check every new encoder, and write the table with the places that the frozen rules predict."""
    rows = list(scored(paths.cache() / "embeddings" / PROBE, families()))
    table = with_places(rows, read(EMBEDDED))
    write(TABLE, table)


def families() -> dict[str, str]:
    """The family of each new encoder, in the order of conf/pool.yaml."""
    pool = yaml.safe_load((paths.conf() / "pool.yaml").read_text(encoding="utf-8"))
    return {name: str(options["family"]) for name, options in pool["new_members"].items()}


def scored(store: Path, family_of: Mapping[str, str]) -> Iterator[dict[str, str | int]]:
    """Each new encoder's row as in study/worlds/embedded.csv, with the warnings of the health check.

    Raises VlmatchError if the store lacks the embeddings of an encoder.
    """
    captions = stored(store / LLM / CAPTIONS)
    for name, family in family_of.items():
        images = stored(store / name / slug_of("encoder", dict(chosen("encoder", name)), "32-true"))
        row = row_of(name, family, catalogue()[name].image_parameters, images, captions)
        warnings = warnings_of(images)
        yield row | {"warnings": " ".join(warnings), "control": int(bool(warnings))}


def warnings_of(images: Embeddings) -> list[str]:
    """The checks of docs/health.md that warn of an encoder's embeddings; one warning makes it a control of block 3."""
    header = images.header
    found = health_of(angles_for_health(images.array), "images", header.spec.model, resolution=resolution_of(header))
    return [finding.check for finding in found if finding.warning]


def with_places(rows: Sequence[NewRow], known: Sequence[Mapping[str, str]]) -> list[dict[str, str | int]]:
    """The rows with the place that each setting's rule predicts: 1 is the best, ties share the better place.

    'place_SETTING' is the place among the new encoders, 'place_SETTING_all' that among the new and the `known` ones.
    """
    table = [dict(row) for row in rows]
    for setting in SETTINGS:
        for column_name, others in ((f"place_{setting}", []), (f"place_{setting}_all", known)):
            for row, place in zip(table, places(setting, [*rows, *others]), strict=False):
                row[column_name] = int(place)
    return table


def places(fed: Fed, rows: Sequence[NewRow]) -> list[int]:
    """The place of each row by the rule that study/preregistration.md froze for an LLM that is fed so."""
    rule = record().world(fed).rule
    text = [{key: str(value) for key, value in row.items()} for row in rows]
    values = rule.values({name: column(text, name) for name in rule.needs})
    return [int(place) for place in rankdata(-np.asarray(values), method="min")]


if __name__ == "__main__":
    main()
