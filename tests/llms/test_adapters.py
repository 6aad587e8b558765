"""LoRA adapters of LLMs: applied only where they are named, as peft itself would, and part of the weights' SHA-256."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from made_adapters import save_adapter
from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.llms.language_model import LanguageModel
from vlmatch.packages.adapters import CONFIG, WEIGHTS

SaveTiny = Callable[..., tuple[Path, Any]]


@pytest.fixture
def model_and_adapter(save_tiny: SaveTiny, tmp_path: Path) -> tuple[Path, Path, Any]:
    """The folder of a tiny Llama, that of an adapter for it, and peft's model with both."""
    folder, model = save_tiny()
    return folder, tmp_path / "adapter", save_adapter(model, tmp_path / "adapter", ["q_proj", "down_proj"])


@torch.inference_mode()
def last_tokens(causal_lm: Any, tokenizer: Any, captions: list[str]) -> torch.Tensor:
    """What the paper's rule gives for each caption, by the model itself."""
    states = [
        causal_lm(**tokenizer(caption, return_tensors="pt"), output_hidden_states=True).hidden_states[-2][0, -1]
        for caption in captions
    ]
    return torch.stack(states)


@torch.inference_mode()
def test_a_named_adapter_gives_what_peft_gives(model_and_adapter: tuple[Path, Path, Any], captions: list[str]) -> None:
    folder, adapter, adapted = model_and_adapter
    plain = LanguageModel("tiny", repository=str(folder))
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    ours = LanguageModel("tiny", repository=str(folder), adapter=str(adapter))
    assert torch.equal(torch.random.get_rng_state(), state)
    expected = last_tokens(adapted, plain.tokenizer, captions)
    torch.testing.assert_close(ours(ours.collate(captions)), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(plain(plain.collate(captions)), expected, atol=1e-2)
    assert ours.n_parameters() == plain.n_parameters()
    assert not any(parameter.requires_grad for parameter in ours.parameters())


def test_the_adapter_is_part_of_the_weights_sha256_and_is_recorded(model_and_adapter: tuple[Path, Path, Any]) -> None:
    folder, adapter, _ = model_and_adapter
    plain = LanguageModel("tiny", repository=str(folder))
    ours = LanguageModel("tiny", repository=str(folder), adapter=str(adapter))
    assert "adapter" not in plain.preprocessing
    assert ours.preprocessing["adapter"] == ours.adapter.sha256
    config = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps({**config, "lora_alpha": 8}))
    other = LanguageModel("tiny", repository=str(folder), adapter=str(adapter))
    assert len({plain.weights_sha256, ours.weights_sha256, other.weights_sha256}) == 3


@torch.inference_mode()
def test_an_adapter_beside_the_weights_is_refused_unless_it_is_named(
    model_and_adapter: tuple[Path, Path, Any], captions: list[str]
) -> None:
    folder, adapter, adapted = model_and_adapter
    shutil.copytree(adapter, folder, dirs_exist_ok=True)
    for elsewhere in ({}, {"adapter": str(adapter)}):
        with pytest.raises(VlmatchError, match=rf"llm 'tiny': '{folder}' .*LoRA.* llm.adapter={folder}") as caught:
            LanguageModel("tiny", repository=str(folder), **elsewhere)
        assert "\n" not in str(caught.value)
    ours = LanguageModel("tiny", repository=str(folder), adapter=str(folder))
    expected = last_tokens(adapted, ours.tokenizer, captions)
    torch.testing.assert_close(ours(ours.collate(captions)), expected, rtol=1e-4, atol=1e-4)


def test_an_adapter_beside_a_gguf_file_is_refused_too(tmp_path: Path, save_gguf: Callable[..., None]) -> None:
    save_gguf(tmp_path / "tiny.gguf")
    (tmp_path / CONFIG).write_text("{}")
    with pytest.raises(VlmatchError, match=rf"'{tmp_path}' .*LoRA"):
        LanguageModel("tiny", checkpoint=str(tmp_path / "tiny.gguf"))


def test_a_folder_with_an_adapter_alone_asks_for_its_base(model_and_adapter: tuple[Path, Path, Any]) -> None:
    _, adapter, _ = model_and_adapter
    with pytest.raises(VlmatchError, match=rf"'{adapter}' .*llm.repository and llm.adapter={adapter}"):
        LanguageModel("tiny", repository=str(adapter))


@pytest.mark.parametrize("adapter", ["/nowhere", "empty"])
def test_an_adapter_that_is_not_there_is_one_line(save_tiny: SaveTiny, tmp_path: Path, adapter: str) -> None:
    folder, _ = save_tiny()
    (tmp_path / "empty").mkdir()
    place = tmp_path / adapter
    with pytest.raises(NotHereError, match=rf"llm 'tiny': llm.adapter={place} is not a folder with {CONFIG}"):
        LanguageModel("tiny", repository=str(folder), adapter=str(place))


@pytest.mark.parametrize("damage", ["cut", "no json", "lacks one", "has one more", "other shape", "no LoRA", "alien"])
def test_an_adapter_that_does_not_fit_is_one_line(model_and_adapter: tuple[Path, Path, Any], damage: str) -> None:
    folder, adapter, _ = model_and_adapter
    weights = adapter / WEIGHTS[0]
    state = load_file(weights)
    first = next(iter(state))
    config = json.loads((adapter / CONFIG).read_text())
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-50])
    elif damage == "no json":
        (adapter / CONFIG).write_text("{")
    elif damage == "no LoRA":
        config = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 2}
        (adapter / CONFIG).write_text(json.dumps(config))
    elif damage == "alien":
        (adapter / CONFIG).write_text(json.dumps({**config, "target_modules": ["query_key_value"]}))
    else:
        if damage == "lacks one":
            del state[first]
        elif damage == "has one more":
            state[first.replace("layers.0", "layers.9")] = state[first].clone()
        else:
            state[first] = torch.zeros(5, 5)
        save_file(state, weights, metadata={"format": "pt"})
    with pytest.raises(VlmatchError, match=rf"llm 'tiny': llm.adapter={adapter} can't be applied") as caught:
        LanguageModel("tiny", repository=str(folder), adapter=str(adapter))
    assert "\n" not in str(caught.value)


def test_a_pickled_adapter_that_wants_code_is_refused(model_and_adapter: tuple[Path, Path, Any]) -> None:
    from llms.test_repository import Code

    folder, adapter, _ = model_and_adapter
    (adapter / WEIGHTS[0]).unlink()
    torch.save({"weight": Code(adapter / "ran")}, adapter / WEIGHTS[1])
    with pytest.raises(VlmatchError, match=r"adapter_model.bin' is a pickle that holds more .*posix.mkdir"):
        LanguageModel("tiny", repository=str(folder), adapter=str(adapter))
    assert not (adapter / "ran").exists()
