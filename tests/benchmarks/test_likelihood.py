"""Likelihoods of packed candidates equal one plain forward for each picture and candidate."""

from pathlib import Path

import pytest
import torch

from made_vlms import tiny_vlm
from vlmatch.benchmarks.likelihood import log_likelihoods
from vlmatch.errors import VlmatchError
from vlmatch.vlm.model import VLM
from vlmatch.vlm.tokens import IMAGE, encode

CANDIDATES = [
    [[5, 6, 7, 8], [9, 10], [5, 6, 7, 8], [5, 6, 30]],
    [[40]],
    [[50, 51, 52, 53, 54, 55], [60], [61, 50, 51]],
    [[5, 6], [5, 7]],
    [[9, 9, 9, 9, 9, 9, 9], [9, 9]],
]


@torch.inference_mode()
def plain(vlm: VLM, features: torch.Tensor, prompt: list[int], candidate: list[int]) -> float:
    """The likelihood by one forward over the whole text, without cache, mask or position ids."""
    ids = [i for token in prompt for i in ([token] * vlm.tokens_per_image if token == IMAGE else [token])]
    embedded = vlm.embed(torch.tensor([ids + candidate]), features[None])
    logits = vlm.causal_lm(inputs_embeds=embedded, use_cache=False).logits[0].log_softmax(dim=1)
    return sum(float(logits[len(ids) - 1 + i, token]) for i, token in enumerate(candidate))


@pytest.mark.parametrize("family", ["llama", "gemma3", "qwen2"])
@pytest.mark.parametrize(("text", "special"), [("It:<image>", True), ("A<image>\nIt:", True), ("<image> is", False)])
def test_packed_candidates_have_the_likelihoods_of_plain_texts(
    tmp_path: Path, family: str, text: str, special: bool
) -> None:
    vlm = tiny_vlm(tmp_path, family).eval()
    features = torch.randn(5, 1, 6)
    prompt = encode(vlm.tokenizer, text, special=special)
    found = dict(log_likelihoods(vlm, features, prompt, CANDIDATES, batch_size=3))
    assert sorted(found) == [0, 1, 2, 3, 4]
    for number, candidates in enumerate(CANDIDATES):
        wanted = [plain(vlm, features[number], prompt, candidate) for candidate in candidates]
        torch.testing.assert_close(found[number], torch.tensor(wanted, dtype=torch.float64), atol=1e-4, rtol=0)


def test_candidates_of_one_token_leave_nothing_to_pack(tmp_path: Path) -> None:
    vlm, features = tiny_vlm(tmp_path).eval(), torch.randn(2, 1, 6)
    prompt = encode(vlm.tokenizer, "x<image>", special=True)
    found = dict(log_likelihoods(vlm, features, prompt, [[[7], [8]], [[9], [7]]], batch_size=2))
    assert float(found[1][1]) == pytest.approx(plain(vlm, features[1], prompt, [7]), abs=1e-4)


def test_a_model_keeps_the_prefixes_of_its_training(tmp_path: Path) -> None:
    vlm = tiny_vlm(tmp_path).eval()
    vlm.cache_prefixes([(0, 5, 6)])
    before = vlm._prefixes
    prompt = encode(vlm.tokenizer, "x<image>", special=True)
    list(log_likelihoods(vlm, torch.ones(1, 1, 6), prompt, [[[7, 8]]], batch_size=1))
    assert vlm._prefixes is before
    assert before is not None
    assert {keys.shape[2] for keys, _ in before.states} == {3}


def test_more_tokens_than_a_sliding_window_are_refused(tmp_path: Path) -> None:
    vlm = tiny_vlm(tmp_path, "gemma3").eval()
    prompt = encode(vlm.tokenizer, "x" * 8 + "<image>", special=True)
    with pytest.raises(VlmatchError, match=r"16 tokens \(sliding_window\), .* have 17"):
        list(log_likelihoods(vlm, torch.ones(1, 1, 6), prompt, [[[7] * 6]], batch_size=1))
