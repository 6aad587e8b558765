"""Captions are embedded by length: rows keep their order, and a long caption pads no other."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from misbehaving import trainer_of
from vlmatch.embeddings.batches import SHORT, batches_of
from vlmatch.embeddings.embed import embed
from vlmatch.embeddings.order import row_order
from vlmatch.embeddings.store import Shards, Store
from vlmatch.llms.truncation import Truncation
from vlmatch.objects import Buildable
from vlmatch.probes.pairs import ProbeSet
from vlmatch.settings.buildable import LlmSettings

LLM = LlmSettings.of("llm", {"_target_": f"{__name__}.Counting", "name": "counting", "max_tokens": 300})


class Counting(Buildable, torch.nn.Module):
    """An LLM of one token a character; it embeds a caption as its length and its first character."""

    kind = "llm"
    control = False
    weights_sha256 = None
    rule = "length"
    shapes: ClassVar[list[tuple[int, int]]] = []

    def __init__(self, name: str, max_tokens: int) -> None:
        super().__init__()
        self.name, self.max_tokens = name, max_tokens
        self.preprocessing = {"max_tokens": max_tokens}

    def n_parameters(self) -> int:
        return 0

    def prepare(self, caption: str) -> str:
        return caption[: self.max_tokens]

    def truncation(self, captions: list[str]) -> Truncation:
        return Truncation.to(self.max_tokens, [len(caption) for caption in captions])

    def collate(self, captions: list[str]) -> Tensor:
        width = max(map(len, captions))
        self.shapes.append((len(captions), width))
        return torch.tensor([[ord(letter) for letter in caption.ljust(width, "\0")] for caption in captions])

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.stack([(tokens > 0).sum(dim=1), tokens[:, 0]], dim=1).float()


@pytest.fixture
def captioned(pictures: ProbeSet, monkeypatch: pytest.MonkeyPatch) -> ProbeSet:
    """The pictures with captions of very different lengths, in no order."""
    monkeypatch.setattr("vlmatch.objects._admitted", (f"{__name__}.",))
    Counting.shapes.clear()
    lengths = [40, 10_000, 30, 200, 5, 31, 900, 33, 60, 34, 35, 36]
    texts = [chr(ord("a") + row) * length for row, length in enumerate(lengths)]
    pairs = tuple(replace(pair, caption=text) for pair, text in zip(pictures.pairs, texts, strict=True))
    return ProbeSet("captioned", pairs, pictures.counts)


def test_rows_come_back_in_the_order_of_the_pairs(captioned: ProbeSet, tmp_path: Path) -> None:
    found, cost = embed(LLM, captioned, Store(tmp_path), trainer_of())
    expected = [[min(len(caption), 300), ord(caption[0])] for caption in captioned.captions]
    np.testing.assert_array_equal(found.array, expected)
    assert cost.items == len(captioned)


def test_a_long_caption_pads_no_short_one(captioned: ProbeSet, tmp_path: Path) -> None:
    embed(LLM, captioned, Store(tmp_path), trainer_of(batch_size=12, shard_size=12))
    assert Counting.shapes == [(9, 60), (1, 200), (1, 300), (1, 300)]


def test_what_was_cut_is_stored_and_said_once(
    captioned: ProbeSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = embed(LLM, captioned, Store(tmp_path), trainer_of())
    said = [line for line in capsys.readouterr().out.splitlines() if "max_tokens" in line]
    assert len(said) == 1
    assert all(part in said[0] for part in ("'counting'", "2 of 12", "300", "10,000"))
    about = {"max_tokens": 300, "truncated_captions": 2, "longest_caption_tokens": 10_000}
    assert found.header.preprocessing == about
    embed(LLM, captioned, Store(tmp_path), trainer_of())
    assert "max_tokens" not in capsys.readouterr().out


def test_shards_hold_the_same_rows_whatever_is_missing(captioned: ProbeSet, tmp_path: Path) -> None:
    order = row_order("llm", captioned)
    assert order == sorted(range(12), key=lambda row: (len(captioned.captions[row]), row))
    assert row_order("encoder", captioned) == list(range(12))
    shards = Shards(tmp_path, "", order, 4)

    def length(row: int) -> int:
        return len(captioned.captions[row])

    whole = batches_of(shards, [0, 1, 2], 2, length)
    assert batches_of(shards, [1], 2, length) + batches_of(shards, [2], 2, length) == [
        batch for batch in whole if set(batch) <= {*shards.rows(1), *shards.rows(2)}
    ]
    assert list(itertools.chain(*whole)) == order
    assert all(length(batch[-1]) <= 2 * max(length(batch[0]), SHORT) for batch in whole)
