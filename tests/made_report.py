"""A pool with pictures, embeddings and chosen scores, for the tests of the report."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from made_rows import row
from vlmatch.costs.candidate import CandidateCost
from vlmatch.embeddings.header import EmbeddingSpec
from vlmatch.embeddings.store import Embeddings
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.selection import ProbeOptions, build_probe_set
from vlmatch.ranking import Question, Ranking, rank_rows
from vlmatch.report.html import rendered_page
from vlmatch.report.pairs import pool_health
from vlmatch.scores.rows import Row

SCORES = ("gw", "mutual_nn", "ridge_r2", "language_supervised", "width", "tokens")
HOSTILE = """<script>alert("1")</script>'&"""


@dataclass(frozen=True)
class Pool:
    """Rows with the pairs and embeddings that they would come from."""

    rows: list[Row]
    probe: ProbeSet
    kept: dict[str, Embeddings]

    def ranking(self, question: Question) -> Ranking:
        names = list(dict.fromkeys(each.encoder for each in self.rows))
        costs = {
            name: CandidateCost(name, parameters=1_000_000 * place, gflops=float(place), tokens=49)
            for place, name in enumerate(names, start=1)
        }
        (found,) = rank_rows(self.rows, question, costs)
        return found

    def read(self, spec: EmbeddingSpec) -> Embeddings | None:
        return self.kept.get(spec.fingerprint)

    def page(self, question: Question | None = None, **options: object) -> str:
        """The page of everything that the pool has."""
        ranking = self.ranking(question or Question(fed="pooled"))
        health = [pool_health(ranking, self.read, self.probe)]
        return rendered_page([ranking], embeddings=self.read, **{"probe": self.probe, "health": health, **options})


def noisy_probe(folder: Path, n_pairs: int, captions: str = "A picture, number {}.") -> ProbeSet:
    """Pairs whose pictures hold noise, which no format compresses, with two labels."""
    rng = np.random.default_rng(0)
    entries = []
    for place in range(n_pairs):
        path = folder / f"{place}.png"
        Image.fromarray(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(path)
        entries.append(
            ProbeEntry(f"id{place}", path, captions.format(place), label="even" if place % 2 == 0 else "odd")
        )
    return build_probe_set("noisy", entries, ProbeOptions())


def pool(
    folder: Path, encoders: list[str], llms: list[str], *, captions: str = "A picture, number {}.", n_pairs: int = 60
) -> Pool:
    """A pool whose first encoders fit best: their embeddings are the captions' with the least noise.

    The first two are equal by all scores but GW and their width.
    """
    probe = noisy_probe(folder, n_pairs, captions)
    rng = np.random.default_rng(1)
    text = rng.standard_normal((n_pairs, 12))
    rows, kept = [], {}
    for llm in llms:
        for place, encoder in enumerate(encoders):
            worse = 0.05 * max(0, place - 1)
            values = dict(
                zip(SCORES, (0.1 + 0.05 * place, 0.9 - worse, 0.8 - worse, 1.0, 100.0 - place, 49.0), strict=True)
            )
            rows.append(row(encoder, llm, probe=probe.key, control=encoder == "pixels16", **values))
            noise = (0.1 + place) * rng.standard_normal(text.shape)
            for header, array in ((rows[-1].image, text + noise), (rows[-1].text, text)):
                kept.setdefault(header.fingerprint, Embeddings(array.astype(np.float32), header))
    return Pool(rows, probe, kept)
