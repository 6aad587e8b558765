"""The VLM against a plain forward of the LLM over the whole sequence, one sample at a time."""

import pytest
import torch
from torch.nn import functional

import made_vlms
from vlmatch.vlm.batches import Collate
from vlmatch.vlm.model import VLM
from vlmatch.vlm.packing import Packing
from vlmatch.vlm.tokens import IGNORED, IMAGE, Tokenised, answered, encode, expanded

FAMILIES = ("llama", "qwen2", "gemma3", "gemma3_wide")


@pytest.fixture(scope="module", params=FAMILIES)
def vlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VLM:
    return made_vlms.tiny_vlm(tmp_path_factory.mktemp("llm"), request.param)


@pytest.fixture(params=["one row", "padded"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How a batch is fed: as one row where the LLM can be, or padded."""
    monkeypatch.setattr(Packing, "saves", lambda *_: request.param == "one row")
    return request.param


def batch_of(vlm: VLM, *, cached: bool):
    material = made_vlms.material(vlm)
    prefixes = material.prefixes() if cached else ()
    if cached:
        vlm.cache_prefixes(prefixes)
    samples = [samples[i] for _, samples in material.parts.values() for i in (3, 0, 7)]
    items = [(sample, [material.pictures[i] for i in sample.images]) for sample in samples]
    return Collate(vlm.tokens_per_image, prefixes)(items), samples, material


def plain_losses(vlm: VLM, samples, material) -> list[float]:
    """Cross entropy of every answer token, without padding, cache or anything that a batch brings."""
    found = []
    for sample in samples:
        visual = vlm.visual_tokens(material.pictures[list(sample.images)])[0]
        table = vlm.causal_lm.get_input_embeddings()
        rows = [visual if i == IMAGE else table(torch.tensor([i])) for i in sample.tokens.ids]
        embedded = torch.cat(rows)[None]
        logits = vlm.causal_lm(inputs_embeds=embedded).logits[0]
        labels = expanded(sample.tokens, len(visual)).labels
        found += [
            float(functional.cross_entropy(logits[i - 1], torch.tensor(label)))
            for i, label in enumerate(labels)
            if label != IGNORED
        ]
    return found


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("cached", [True, False])
def test_loss_equals_a_plain_forward(vlm: VLM, cached: bool) -> None:
    batch, samples, material = batch_of(vlm, cached=cached)
    with torch.no_grad():
        logits, targets = vlm(batch)
        each = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
        each = each[targets.flatten() != IGNORED]
        plain = torch.tensor(plain_losses(vlm, samples, material))
        torch.testing.assert_close(each, plain, atol=2e-5, rtol=1e-5)
        assert float(vlm.loss(batch)) == pytest.approx(float(plain.mean()), abs=1e-5)


def test_cached_prefixes_and_one_row_give_the_same_gradients(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = []
    for cached, packed in ((False, False), (True, False), (False, True), (True, True)):
        monkeypatch.setattr(Packing, "saves", lambda *_, packed=packed: packed)
        batch, _, _ = batch_of(vlm, cached=cached)
        vlm.projector.zero_grad()
        vlm.loss(batch).backward()
        gradients.append([parameter.grad.clone() for parameter in vlm.projector.parameters()])
    for found in gradients[1:]:
        for one, other in zip(gradients[0], found, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_a_batch_is_one_row_unless_samples_outgrow_a_sliding_window(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Packing, "saves", lambda *_: True)
    for cached in (True, False):
        batch, samples, _ = batch_of(vlm, cached=cached)
        inputs, labels = vlm.inputs(batch)
        rows, length, _ = inputs["inputs_embeds"].shape
        if vlm.llm.name == "gemma3":
            assert (rows, length) == (len(samples), batch.ids.shape[1] - 1)
        else:
            assert (rows, length) == (1, int(batch.mask.sum()) - len(samples))
            assert labels.shape == (1, int((batch.labels != IGNORED).sum()))
        if vlm.llm.name == "gemma3_wide":
            assert inputs["attention_mask"].shape[-1] > 44, "the row is longer than the window, no sample is"


@pytest.mark.parametrize(
    ("lengths", "width", "saves"),
    [([9, 9, 9], 576, False), ([9, 3, 3], 576, True), ([700, 300] * 8, 576, False), ([700, 300] * 8, 576 * 16, True)],
)
def test_one_row_is_for_padding_that_costs_more_than_what_a_mask_throws_away(
    lengths: list[int], width: int, saves: bool
) -> None:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    packing = Packing.of(mask)
    assert int(packing.fed.sum()) == sum(lengths) - len(lengths)
    assert packing.saves(width) is saves


def test_fused_attention_is_given_padded_samples(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Packing, "saves", lambda *_: True)
    batch, samples, _ = batch_of(vlm, cached=False)
    vlm.causal_lm.set_attn_implementation("sdpa")
    try:
        assert len(vlm.inputs(batch)[0]["inputs_embeds"]) == len(samples)
    finally:
        vlm.causal_lm.set_attn_implementation("eager")


def test_prefixes_beyond_a_sliding_window_are_not_cached(tmp_path_factory: pytest.TempPathFactory) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path_factory.mktemp("llm"), "gemma3")
    assert vlm.cacheable([[1] * 15])
    assert not vlm.cacheable([[1] * 15, [1] * 16])
    assert not vlm.cacheable([])


def test_samples_without_pictures_go_beside_others(vlm: VLM) -> None:
    tokenizer, picture = vlm.tokenizer, torch.ones(1, 6)
    seeing = answered(encode(tokenizer, "<image>see", special=True), [5, 1])
    text = answered(encode(tokenizer, "no picture", special=True), [6, 7, 1])
    samples = [made_vlms.Sample("a", text, ()), made_vlms.Sample("b", seeing, (0,))]
    batch = Collate(vlm.tokens_per_image)([(samples[0], []), (samples[1], [picture])])
    alone = [Collate(vlm.tokens_per_image)([(sample, [picture] * len(sample.images))]) for sample in samples]
    with torch.no_grad():
        losses = [float(vlm.loss(one)) for one in alone]
        assert float(vlm.loss(batch)) == pytest.approx((3 * losses[0] + 2 * losses[1]) / 5, abs=1e-5)


def test_generation_equals_the_most_likely_next_token_each_time(vlm: VLM) -> None:
    prompts = [
        expanded(Tokenised(tuple(ids), tuple(ids)), vlm.tokens_per_image).ids
        for ids in (encode(vlm.tokenizer, text, special=True) for text in ("a<image>is", "what is this?<image>"))
    ]
    pictures = torch.randn(2, 1, 6, generator=torch.Generator().manual_seed(3))
    found = vlm.generate(pictures, prompts, max_new_tokens=6)
    for picture, prompt, text in zip(pictures, prompts, found, strict=True):
        ids = list(prompt)
        with torch.no_grad():
            for _ in range(6):
                embedded = vlm.embed(torch.tensor([ids]), picture[None])
                ids.append(int(vlm.causal_lm(inputs_embeds=embedded).logits[0, -1].argmax()))
                if ids[-1] == vlm.tokenizer.eos_token_id:
                    break
        assert vlm.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True) == text


def test_labels_shift_and_pictures_expand_together() -> None:
    sample = answered([0, IMAGE, 9], [4, 1])
    assert sample.images == 1
    assert expanded(sample, 3) == Tokenised((0, IMAGE, IMAGE, IMAGE, 9, 4, 1), (*[IGNORED] * 5, 4, 1))
