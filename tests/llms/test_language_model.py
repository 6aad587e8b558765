"""A caption's embedding is transformers' own hidden state, whatever stands beside it in the batch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vlmatch.errors import VlmatchError
from vlmatch.llms.language_model import LanguageModel, after_first, last_token, token_mean

SaveTiny = Callable[..., tuple[Path, Any]]
FAMILIES = ["llama", "qwen2", "gpt2"]


@torch.inference_mode()
def embed(model: LanguageModel, captions: list[str]) -> torch.Tensor:
    """Embeds captions in one batch."""
    return model(model.collate([model.prepare(caption) for caption in captions]))


@torch.inference_mode()
def by_transformers(causal_lm: Any, tokenizer: Any, text: str, layer: int) -> torch.Tensor:
    """All states of one text at a layer, by the causal LM itself: (t, d)."""
    states = causal_lm(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
    return states[layer][0].float()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layer", [-2, -1, 0])
def test_the_embedding_is_transformers_own_hidden_state(
    save_tiny: SaveTiny, captions: list[str], family: str, layer: int
) -> None:
    folder, original = save_tiny(family, bos=True)
    model = LanguageModel("tiny", repository=str(folder), layer=layer)
    embedded = embed(model, captions)
    assert embedded.shape == (4, 32)
    assert embedded.dtype == torch.float32
    for row, caption in zip(embedded, captions, strict=True):
        expected = by_transformers(original, model.tokenizer, caption, layer)[-1]
        torch.testing.assert_close(row, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", ["last", "mean", "mean_after_first"])
def test_batch_equals_single_and_left_equals_right_padding(
    save_tiny: SaveTiny, captions: list[str], family: str, pooling: str
) -> None:
    folder, _ = save_tiny(family)
    model = LanguageModel("tiny", repository=str(folder), pooling=pooling)
    single = torch.cat([embed(model, [caption]) for caption in captions])
    for side in ("left", "right"):
        model.tokenizer.padding_side = side
        torch.testing.assert_close(embed(model, captions), single, rtol=1e-4, atol=1e-4)


def test_the_mean_is_over_the_tokens_of_the_caption_alone(save_tiny: SaveTiny, captions: list[str]) -> None:
    folder, original = save_tiny(bos=True)
    model = LanguageModel("tiny", repository=str(folder), pooling="mean")
    for row, caption in zip(embed(model, captions), captions, strict=True):
        expected = by_transformers(original, model.tokenizer, caption, -2).mean(dim=0)
        torch.testing.assert_close(row, expected, rtol=1e-5, atol=1e-5)


def test_the_mean_after_the_first_token_leaves_that_out(save_tiny: SaveTiny, captions: list[str]) -> None:
    folder, original = save_tiny(bos=True)
    model = LanguageModel("tiny", repository=str(folder), pooling="mean_after_first")
    for row, caption in zip(embed(model, captions), captions, strict=True):
        expected = by_transformers(original, model.tokenizer, caption, -2)[1:].mean(dim=0)
        torch.testing.assert_close(row, expected, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_several_layers_from_one_pass_are_those_asked_for_one_by_one(save_tiny: SaveTiny, captions: list[str]) -> None:
    folder, _ = save_tiny()
    model = LanguageModel("tiny", repository=str(folder))
    batch = model.collate([model.prepare(caption) for caption in captions])
    wanted = [(-1, "mean"), (0, "last"), (2, "mean_after_first")]
    for (layer, pooling), found in zip(wanted, model.variants(batch, wanted), strict=True):
        alone = LanguageModel("tiny", repository=str(folder), layer=layer, pooling=pooling)
        torch.testing.assert_close(found, alone(batch))


@pytest.mark.parametrize("bos", [True, False])
def test_bos_is_added_where_the_tokenizer_adds_it_and_recorded(save_tiny: SaveTiny, bos: bool) -> None:
    folder, _ = save_tiny(bos=bos)
    model = LanguageModel("tiny", repository=str(folder))
    assert model.preprocessing["bos"] is bos
    first = model.collate(["A frog."])["input_ids"][0, 0].item()
    assert (first == model.tokenizer.bos_token_id) is bos


def test_a_padding_token_that_the_embedding_table_lacks_is_replaced(save_tiny: SaveTiny, captions: list[str]) -> None:
    """As tuned models have it whose tokenizer gained a token, and whose table did not grow."""
    folder, _ = save_tiny()
    model = LanguageModel("tiny", repository=str(folder))
    model.tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    model.tokenizer.save_pretrained(folder)
    other = LanguageModel("tiny", repository=str(folder))
    single = torch.cat([embed(model, [caption]) for caption in captions])
    torch.testing.assert_close(embed(other, captions), single, rtol=1e-4, atol=1e-4)


def test_a_tokenizer_without_a_padding_token_pads_with_the_end_token(save_tiny: SaveTiny, captions: list[str]) -> None:
    folder, _ = save_tiny(pad=False)
    model = LanguageModel("tiny", repository=str(folder))
    single = torch.cat([embed(model, [caption]) for caption in captions])
    torch.testing.assert_close(embed(model, captions), single, rtol=1e-4, atol=1e-4)


def test_the_template_surrounds_the_caption_and_is_recorded(save_tiny: SaveTiny) -> None:
    folder, _ = save_tiny()
    template = 'Photo: "{caption}" {"a": 1}'
    model = LanguageModel("tiny", repository=str(folder), template=template)
    assert model.prepare("A {x} frog.") == 'Photo: "A {x} frog." {"a": 1}'
    assert model.preprocessing["template"] == template


def test_what_the_store_records_is_plain_and_says_the_rule(save_tiny: SaveTiny) -> None:
    folder, original = save_tiny("qwen2")
    model = LanguageModel("tiny", repository=str(folder))
    assert (model.kind, model.control, model.training) == ("llm", False, False)
    assert model.rule == "hidden_states[-2], last token"
    assert model.n_parameters() == original.num_parameters()
    assert all(isinstance(value, str | int | bool | None) for value in model.preprocessing.values())
    assert model.preprocessing["quantisation"] is None
    assert model.dispatched is False
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_bfloat16_forwards_give_float32_embeddings_near_the_exact_ones(
    save_tiny: SaveTiny, captions: list[str]
) -> None:
    folder, _ = save_tiny()
    exact = embed(LanguageModel("tiny", repository=str(folder)), captions)
    rough = LanguageModel("tiny", repository=str(folder), dtype="bfloat16")
    assert rough.causal_lm.dtype == torch.bfloat16
    assert embed(rough, captions).dtype == torch.float32
    assert torch.cosine_similarity(embed(rough, captions), exact).min() > 0.99


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"template": "a caption"}, "template='a caption' lacks '{caption}'"),
        ({"pooling": "max"}, "pooling='max' is unknown; choose one of last, mean"),
        ({"dtype": "int8"}, "dtype='int8' is unknown; choose one of float32"),
        ({"layer": 4}, "layer=4; it has 4 hidden states, 0 to 3"),
        ({"layer": -5}, "layer=-5; it has 4 hidden states"),
        ({"repository": None}, "llm 'tiny': no weights named; give llm.repository="),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(save_tiny: SaveTiny, arguments: dict[str, Any], message: str) -> None:
    folder, _ = save_tiny()
    with pytest.raises(VlmatchError) as caught:
        LanguageModel("tiny", **{"repository": str(folder), **arguments})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pooling_by_hand() -> None:
    states = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[1, 1, 0], [0, 0, 1]])
    assert last_token(states, mask).tolist() == [[2, 3], [10, 11]]
    assert token_mean(states, mask).tolist() == [[1, 2], [10, 11]]
    assert after_first(mask).tolist() == [[0, 1, 0], [0, 0, 1]], "one token alone is kept"
