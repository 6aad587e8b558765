"""The study's table of scores by layer and pooling of the captions."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

import made_rows
from vlmatch.embeddings.embed import written
from vlmatch.embeddings.store import FILE, Embeddings, Store, sha256_of
from vlmatch.errors import VlmatchError
from vlmatch.geometry import PairedGeometry
from vlmatch.scores.cka import CKA
from vlmatch.scores.rsa import RSA
from vlmatch_study import caption_choices
from vlmatch_study.caption_choices import main, table
from vlmatch_study.truth_versions import truths_of

ENCODERS = ("efficientnet_lite0", "mobilenetv2", "craft_vgg16_bn", "hed_vgg16")
PAIRS: Any = SimpleNamespace(key="p-0")


def embeddings(kind: str, name: str, array: np.ndarray) -> Embeddings:
    header = made_rows.header(kind, name, shape=array.shape)
    return Embeddings(array, replace(header, array_sha256=sha256_of(array)))


@pytest.fixture
def images(tmp_path: Path, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Embeddings of four trained encoders and of one that was not trained, in the store."""
    arrays = {name: random.normal(size=(15, 5)).astype(np.float32) + 1 for name in (*ENCODERS, "siglip")}
    for name, array in arrays.items():
        each = embeddings("encoder", name, array)
        written(Store(tmp_path).folder(each.header.spec) / FILE, array, each.header)
    return arrays


def test_a_cell_is_the_correlation_of_score_and_truth(
    images: dict[str, np.ndarray], tmp_path: Path, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = random.normal(size=(15, 4)).astype(np.float32) + 1
    monkeypatch.setattr(
        caption_choices, "embed_variants", lambda variants, *_: [embeddings("llm", "smollm2", captions)] * len(variants)
    )
    lines = table("smollm2", [-2], PAIRS, Store(tmp_path))
    assert lines[0] == "4 encoders"
    assert len(lines) == 4 + 3 * 2
    truth = truths_of("smollm2")[3].by_encoder
    for centred, line in zip((False, True), lines[4:6], strict=True):
        for column, score in ((5, CKA()), (6, RSA())):
            pairs = [
                PairedGeometry.angular(*(a - centred * a.mean(axis=0) for a in (images[name].astype(float), captions)))
                for name in ENCODERS
            ]
            own = spearmanr([score(pair).value for pair in pairs], [truth[name].mean for name in ENCODERS]).statistic
            assert line.split("|")[column].strip() == f"{own:.2f}"


def test_bad_input_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VlmatchError, match="llm=gemma: no results of trainings"):
        table("gemma", [-2], PAIRS, Store(tmp_path))
    with pytest.raises(VlmatchError, match="has 0 of the trained encoders; run experiment=embedded_all"):
        table("smollm2", [-2], PAIRS, Store(tmp_path))
    for arguments in ([], ["smollm2", "last"]):
        monkeypatch.setattr(sys, "argv", ["caption_choices", *arguments])
        with pytest.raises(SystemExit, match="give an LLM and layers"):
            main()
