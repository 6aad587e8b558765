"""The study's scores by layer and pooling of the captions."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import made_rows
from vlmatch.embeddings.embed import written
from vlmatch.embeddings.store import FILE, Embeddings, Store, sha256_of
from vlmatch.errors import VlmatchError
from vlmatch.geometry import PairedGeometry
from vlmatch.scores.cka import CKA
from vlmatch.scores.rsa import RSA
from vlmatch_study import caption_choices
from vlmatch_study.caption_choices import POOLINGS, rows, write
from vlmatch_study.rows import read

ENCODERS = ("efficientnet_lite0", "mobilenetv2")
PAIRS: Any = SimpleNamespace(key="p-0")


def embeddings(kind: str, name: str, array: np.ndarray) -> Embeddings:
    header = made_rows.header(kind, name, shape=array.shape)
    return Embeddings(array, replace(header, array_sha256=sha256_of(array)))


@pytest.fixture
def images(tmp_path: Path, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Embeddings of two encoders in the store."""
    arrays = {name: random.normal(size=(15, 5)).astype(np.float32) + 1 for name in ENCODERS}
    for name, array in arrays.items():
        each = embeddings("encoder", name, array)
        written(Store(tmp_path).folder(each.header.spec) / FILE, array, each.header)
    return arrays


def test_a_row_has_the_scores_of_one_encoder_by_one_choice(
    images: dict[str, np.ndarray], tmp_path: Path, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = {pooling: random.normal(size=(15, 4)).astype(np.float32) + 1 for pooling in POOLINGS}
    monkeypatch.setattr(
        caption_choices,
        "embed_variants",
        lambda variants, *_: [embeddings("llm", "smollm2", captions[each.pooling]) for each in variants],
    )
    write(tmp_path / "table.csv", list(rows("smollm2", [-2], ENCODERS, PAIRS, Store(tmp_path))))
    found = read(tmp_path / "table.csv")
    assert len(found) == 2 * 3 * 2
    for row in found:
        centred = row["centring"] == "both"
        pair = PairedGeometry.angular(
            *(a - centred * a.mean(axis=0) for a in (images[row["encoder"]].astype(float), captions[row["pooling"]]))
        )
        for name, score in {"cka": CKA(), "rsa": RSA()}.items():
            assert float(row[name]) == pytest.approx(score(pair).value, rel=1e-4)


def test_an_encoder_without_embeddings_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        VlmatchError, match=r"mobilenetv2/paper' holds no finished embeddings; run experiment=embedded_all"
    ):
        list(rows("smollm2", [-2], ["mobilenetv2"], PAIRS, Store(tmp_path)))
