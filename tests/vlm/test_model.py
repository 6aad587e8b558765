"""The VLM equals a plain forward of the LLM over the whole sequence, one sample at a time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import made_vlms
from vlmatch.errors import VlmatchError
from vlmatch.vlm.batches import Collate
from vlmatch.vlm.model import VLM
from vlmatch.vlm.tokens import IGNORED, IMAGE, Tokenised, answered, encode, expanded

FAMILIES = ("llama", "qwen2", "gemma3")


@pytest.fixture(scope="module", params=FAMILIES)
def vlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VLM:
    return made_vlms.tiny_vlm(tmp_path_factory.mktemp("llm"), request.param)


def batch_of(vlm: VLM, *, cached: bool):
    data = made_vlms.training_data(vlm)
    prefixes = data.prefixes() if cached else ()
    if cached:
        vlm.cache_prefixes(prefixes)
    samples = [samples[i] for _, samples in data.parts.values() for i in (3, 0, 7)]
    items = [(sample, [data.pictures[i] for i in sample.images]) for sample in samples]
    return Collate(vlm.tokens_per_image, prefixes)(items), samples, data


def plain_losses(vlm: VLM, samples, data) -> list[float]:
    """The cross entropy of every answer token, one sample at a time, without padding or cache."""
    found = []
    for sample in samples:
        visual = vlm.visual_tokens(data.pictures[list(sample.images)])[0]
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


@pytest.mark.parametrize("cached", [True, False])
def test_loss_equals_a_plain_forward(vlm: VLM, cached: bool) -> None:
    batch, samples, data = batch_of(vlm, cached=cached)
    with torch.no_grad():
        logits, targets = vlm(batch)
        each = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
        each = each[targets.flatten() != IGNORED]
        plain = torch.tensor(plain_losses(vlm, samples, data))
        torch.testing.assert_close(each, plain, atol=2e-5, rtol=1e-5)
        assert float(vlm.loss(batch)) == pytest.approx(float(plain.mean()), abs=1e-5)


def test_cached_prefixes_give_the_same_gradients(vlm: VLM) -> None:
    gradients = []
    for cached in (True, False):
        batch, _, _ = batch_of(vlm, cached=cached)
        vlm.projector.zero_grad()
        vlm.loss(batch).backward()
        gradients.append([parameter.grad.clone() for parameter in vlm.projector.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_prefixes_beyond_a_sliding_window_are_not_cached(tmp_path_factory: pytest.TempPathFactory) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path_factory.mktemp("llm"), "gemma3")
    assert vlm.cacheable([[1] * 15])
    assert not vlm.cacheable([[1] * 15, [1] * 16])
    assert not vlm.cacheable([])


@pytest.mark.parametrize("family", ["qwen3_5", "mamba"])
def test_states_that_are_not_keys_and_values_are_not_cached(family: str, tmp_path: Path) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path, family)
    assert not vlm.cacheable([[1]])
    with torch.no_grad():
        batch, samples, data = batch_of(vlm, cached=False)
        assert float(vlm.loss(batch)) == pytest.approx(float(np.mean(plain_losses(vlm, samples, data))), abs=1e-5)


def test_an_llm_that_needs_token_ids_in_every_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VlmatchError, match=r"^llm 'gemma4': reading an embedding that no token has failed .*choose"):
        made_vlms.tiny_vlm(tmp_path, "gemma4")


def test_a_batch_may_hold_samples_without_pictures(vlm: VLM) -> None:
    tokenizer, picture = vlm.tokenizer, torch.ones(1, 6)
    seeing = answered(encode(tokenizer, "<image>see", special=True), [5, 1])
    text = answered(encode(tokenizer, "no picture", special=True), [6, 7, 1])
    samples = [made_vlms.Sample("a", text, ()), made_vlms.Sample("b", seeing, (0,))]
    batch = Collate(vlm.tokens_per_image)([(samples[0], []), (samples[1], [picture])])
    alone = [Collate(vlm.tokens_per_image)([(sample, [picture] * len(sample.images))]) for sample in samples]
    with torch.no_grad():
        losses = [float(vlm.loss(one)) for one in alone]
        assert float(vlm.loss(batch)) == pytest.approx((3 * losses[0] + 2 * losses[1]) / 5, abs=1e-5)


def test_generation_takes_the_likeliest_token_each_time(vlm: VLM) -> None:
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


def test_generation_stops_at_a_given_end_token(vlm: VLM) -> None:
    ids = encode(vlm.tokenizer, "a<image>is", special=True)
    prompt = expanded(Tokenised(tuple(ids), tuple(ids)), vlm.tokens_per_image).ids
    picture = torch.ones(1, 1, 6)
    with torch.no_grad():
        logits = vlm.causal_lm(inputs_embeds=vlm.embed(torch.tensor([prompt]), picture)).logits
    first = int(logits[0, -1].argmax())
    (whole,), (ended,) = (vlm.generate(picture, [prompt], max_new_tokens=6, ends=ends) for ends in ([], [first]))
    assert ended == vlm.tokenizer.decode([first]) != whole


def test_labels_shift_and_pictures_expand_together() -> None:
    sample = answered([0, IMAGE, 9], [4, 1])
    assert sample.images == 1
    assert expanded(sample, 3) == Tokenised((0, IMAGE, IMAGE, IMAGE, 9, 4, 1), (*[IGNORED] * 5, 4, 1))


def test_lightning_can_convert_the_dtype_of_a_batch(vlm: VLM) -> None:
    """DeepSpeed's strategy does so in every precision."""
    from pytorch_lightning.plugins.precision import DeepSpeedPrecision

    batch, _, _ = batch_of(vlm, cached=False)
    found = DeepSpeedPrecision("bf16-mixed").convert_input(batch)
    assert (found.visual.dtype, batch.visual.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(found.ids, batch.ids)
    assert (found.names, found.mean_answers) == (batch.names, batch.mean_answers)
