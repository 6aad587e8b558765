"""The whole suite on a tiny VLM: against plain loops, blind, over a part of the groups, and with bad input."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from made_vlms import tiny_vlm
from vlmatch.benchmarks import asking
from vlmatch.benchmarks.asking import evaluating
from vlmatch.benchmarks.likelihood import log_likelihoods
from vlmatch.benchmarks.suite import CHOICES, BenchmarkSuite
from vlmatch.errors import VlmatchError
from vlmatch.probes.items import Item, Split
from vlmatch.vlm.captions import answer_ids
from vlmatch.vlm.model import VLM
from vlmatch.vlm.tokens import encode

PROMPTS = {"caption": "It is:<image>", "category": "Kind:<image>\nof"}
KINDS = ("animals", "tools")


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> VLM:
    """A tiny VLM for cached features (n, 1, 6)."""
    return tiny_vlm(tmp_path_factory.mktemp("llm"))


@pytest.fixture
def features() -> Tensor:
    """Features of 16 pictures."""
    return 3 * torch.randn(16, 1, 6, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def plain(vlm: VLM, feature: Tensor, question: str, answer: str) -> float:
    """The log-likelihood of one answer, by a forward over the whole text."""
    prompt = encode(vlm.tokenizer, PROMPTS[question], special=True)
    prompt = [i for token in prompt for i in ([token] * 2 if token < 0 else [token])]
    ids = answer_ids(vlm.tokenizer, answer, ends=False)
    logits = vlm.causal_lm(inputs_embeds=vlm.embed(torch.tensor([prompt + ids]), feature[None])).logits[0]
    chances = logits.log_softmax(dim=1)[len(prompt) - 1 : -1]
    return float(chances[torch.arange(len(ids)), ids].sum())


def test_scores_are_those_of_plain_loops(
    vlm: VLM, features: Tensor, make_suite: Callable[..., BenchmarkSuite], split: Split
) -> None:
    suite = make_suite()
    items = suite.items(split)
    found = suite.evaluate(vlm, features, items, [*KINDS, "unseen"], PROMPTS).to_json()["benchmarks"]
    vlm.eval()
    chosen, gains, recalled = [], [], []
    for start in range(0, 16, 4):
        group = range(start, start + 4)
        values = {(p, c): plain(vlm, features[p], "caption", items[c].caption) for p in group for c in group}
        for p in group:
            above = {c: values[p, c] - np.mean([values[q, c] for q in group if q != p]) for c in group}
            chosen.append(max(above, key=lambda c: above[c]) == p)
            gains.append(above[p] / len(answer_ids(vlm.tokenizer, items[p].caption, ends=False)))
    kinds = np.array([[plain(vlm, feature, "category", kind) for kind in KINDS] for feature in features])
    for p, item in enumerate(items):
        above_kinds = kinds[p] - np.delete(kinds, p, axis=0).mean(axis=0)
        recalled.append((item.category, KINDS[int(above_kinds.argmax())] == item.category))
    assert found["caption_choice"]["score"] == pytest.approx(np.mean(chosen))
    assert found["caption_gain"]["score"] == pytest.approx(np.mean(gains), abs=1e-5)
    balanced = np.mean([np.mean([right for kind, right in recalled if kind == one]) for one in KINDS])
    assert found["category"]["score"] == pytest.approx(balanced)
    assert found["category"]["chance"] == 0.5
    assert found["caption_choice_hard"]["chance"] == 0.5


def test_a_model_without_pictures_ties_everywhere(
    vlm: VLM, make_suite: Callable[..., BenchmarkSuite], split: Split
) -> None:
    suite = make_suite()
    found = suite.evaluate(vlm, torch.zeros(16, 1, 6), suite.items(split), KINDS, PROMPTS).to_json()
    for name in CHOICES:
        assert found["benchmarks"][name]["score"] == pytest.approx(found["benchmarks"][name]["chance"])
    assert found["mean"]["score"] == pytest.approx(0, abs=1e-9)
    assert found["benchmarks"]["caption_gain"]["score"] == pytest.approx(0, abs=1e-5)


def test_equal_pictures_are_computed_once(
    vlm: VLM, features: Tensor, make_suite: Callable[..., BenchmarkSuite], split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []

    def counted(*arguments: Any) -> Iterator[tuple[int, Tensor]]:
        rows.append(len(arguments[1]))
        return log_likelihoods(*arguments)

    monkeypatch.setattr(asking, "log_likelihoods", counted)
    suite = make_suite()
    items = suite.items(split)
    features[1:] = features[torch.arange(15) % 2]  # thirteen are one of two pictures
    features[4::4] = torch.randn(3, 1, 6, generator=torch.Generator().manual_seed(1))
    found = suite.evaluate(vlm, features, items, KINDS, PROMPTS).likelihoods
    vlm.eval()
    for picture, caption in np.argwhere(np.isfinite(found["captions"])):
        alone = plain(vlm, features[picture], "caption", items[caption].caption)
        assert found["captions"][picture, caption] == pytest.approx(alone, abs=1e-4)
    assert (np.isfinite(found["captions"]).sum(axis=1) < 16).all()  # only what is asked
    apart = suite.evaluate(vlm, features + 1e-6 * torch.randn(16, 1, 6), items, KINDS, PROMPTS).likelihoods
    for name, values in found.items():
        np.testing.assert_allclose(values, apart[name], atol=1e-4)
    suite.evaluate(vlm, torch.zeros(16, 1, 6), items, KINDS, PROMPTS)
    captions, kinds, captions_apart, kinds_apart, captions_blind, kinds_blind = rows
    assert captions_blind < captions < captions_apart == 16
    assert (kinds_blind, kinds, kinds_apart) == (1, 5, 16)


def test_a_fraction_measures_the_first_groups(
    vlm: VLM, features: Tensor, make_suite: Callable[..., BenchmarkSuite], split: Split
) -> None:
    suite = make_suite()
    items = suite.items(split)
    half = suite.evaluate(vlm, features, items, KINDS, PROMPTS, fraction=0.5)
    whole = suite.evaluate(vlm, features, items, KINDS, PROMPTS)
    assert half.suite.items < whole.suite.items == 16
    for name in ("caption_choice", "caption_choice_hard", "retrieval", "caption_gain"):
        few, all_ = half.credits[name], whole.credits[name]
        assert list(few.items) == list(all_.items[: len(few.items)])
        np.testing.assert_allclose(few.credit, all_.credit[: len(few.items)], atol=1e-4)
    assert len(half.credits["caption_choice"].items) == 8


def test_each_module_is_in_its_own_mode_again(
    vlm: VLM, features: Tensor, make_suite: Callable[..., BenchmarkSuite], split: Split
) -> None:
    suite = make_suite()
    vlm.eval()
    vlm.projector.train()
    before = {name: module.training for name, module in vlm.named_modules()}
    suite.evaluate(vlm, features, suite.items(split), KINDS, PROMPTS)
    assert {name: module.training for name, module in vlm.named_modules()} == before
    assert before["projector"]
    assert not before["llm"]
    with evaluating(vlm):
        assert not any(module.training for module in vlm.modules())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.ones(15, 1, 6)}, "features of 15 pictures.* 16 items"),
        ({"features": torch.full((16, 1, 6), torch.nan)}, "a likelihood is not finite"),
        ({"categories": ["animals", "unseen"]}, r"categories=\['animals', 'unseen'\]; wanted two or more"),
        ({"prompts": {"caption": "It is:<image>"}}, "recipe.prompts.category=''"),
        ({"fraction": 0.1}, "fraction=0.1 .* 0 groups"),
        ({"fraction": 1.5}, "fraction=1.5"),
    ],
)
def test_bad_input_is_an_error(
    vlm: VLM,
    features: Tensor,
    make_suite: Callable[..., BenchmarkSuite],
    split: Split,
    change: dict[str, Any],
    message: str,
) -> None:
    suite = make_suite()
    settings = {"features": features, "categories": KINDS, "prompts": PROMPTS, **change}
    with pytest.raises(VlmatchError, match=message):
        suite.evaluate(vlm, items=suite.items(split), **settings)


def test_a_split_without_the_share_is_an_error(
    make_suite: Callable[..., BenchmarkSuite], items: tuple[Item, ...]
) -> None:
    with pytest.raises(VlmatchError, match="share 'elsewhere' has no items"):
        make_suite(share="elsewhere").items(Split(items))
