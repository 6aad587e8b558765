"""A caption beyond max_tokens loses its end, never its template, and how many did is known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vlmatch.errors import VlmatchError
from vlmatch.llms.language_model import LanguageModel
from vlmatch.llms.truncation import Truncation, longest_start

SaveTiny = Callable[..., tuple[Path, Any]]


def test_a_long_caption_loses_its_end_and_keeps_the_template(save_tiny: SaveTiny) -> None:
    folder, _ = save_tiny(bos=True)  # its tokens are bytes, after one of BOS
    model = LanguageModel("tiny", repository=str(folder), template="Photo: {caption}.", max_tokens=20)
    assert model.prepare("a" * 11) == "Photo: " + "a" * 11 + "."
    assert model.prepare("a" * 12) == model.prepare("a" * 10_000) == "Photo: " + "a" * 11 + "."
    assert model.collate([model.prepare("a" * 10_000)])["input_ids"].shape == (1, 20)


def test_captions_that_are_cut_are_counted_with_the_longest(save_tiny: SaveTiny) -> None:
    folder, _ = save_tiny()
    model = LanguageModel("tiny", repository=str(folder), max_tokens=20)
    found = model.truncation(["a" * 20, "a" * 21, "a" * 300])
    assert found == Truncation(captions=2, of=3, longest=300, limit=20)
    assert all(part in found.line("tiny") for part in ("'tiny'", "2 of 3", "20 tokens", "300"))


def test_the_limit_changes_only_captions_beyond_it(save_tiny: SaveTiny) -> None:
    folder, _ = save_tiny()
    small, large = (LanguageModel("tiny", repository=str(folder), max_tokens=limit) for limit in (8, 512))
    with torch.inference_mode():
        for caption, same in (("A frog.", True), ("A frog on a leaf.", False)):
            one, other = (model(model.collate([model.prepare(caption)])) for model in (small, large))
            assert torch.equal(one, other) is same


def test_a_smaller_context_is_the_limit(save_tiny: SaveTiny) -> None:
    folder, original = save_tiny("gpt2")
    context = original.config.max_position_embeddings
    model = LanguageModel("tiny", repository=str(folder), max_tokens=context + 1)
    assert model.preprocessing["max_tokens"] == context
    with torch.inference_mode():
        assert model(model.collate([model.prepare("a" * 2 * context)])).shape == (1, 32)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"max_tokens": 0}, ["max_tokens=0"]),
        ({"max_tokens": "8"}, ["max_tokens='8'"]),
        ({"max_tokens": True}, ["max_tokens=True"]),
        ({"max_tokens": 7, "template": "Photo: {caption}"}, ["max_tokens=7", "7 tokens"]),
    ],
)
def test_a_limit_that_leaves_nothing_is_refused(
    save_tiny: SaveTiny, arguments: dict[str, Any], parts: list[str]
) -> None:
    folder, _ = save_tiny()
    with pytest.raises(VlmatchError) as caught:
        LanguageModel("tiny", repository=str(folder), **arguments)
    assert all(part in str(caught.value) for part in parts)
    assert "\n" not in str(caught.value)


def test_the_longest_start_that_fits() -> None:
    for length in range(12):
        assert longest_start("0123456789", lambda start, limit=length: len(start) <= limit) == "0123456789"[:length]
