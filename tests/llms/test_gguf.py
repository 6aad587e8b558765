"""A GGUF from packages: joined, checked, converted once, and equal to what transformers reads from the file."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from vlmatch import paths
from vlmatch.errors import VlmatchError
from vlmatch.llms import gguf
from vlmatch.llms.language_model import LanguageModel


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models converted, in order."""
    converted: list[str] = []
    original = gguf._dequantise

    def dequantise(name: str, file: Path, folder: Path) -> None:
        converted.append(name)
        original(name, file, folder)

    monkeypatch.setattr(gguf, "_dequantise", dequantise)
    return converted


@torch.inference_mode()
def test_both_routes_give_the_same_weights_tokens_and_embeddings(
    tmp_path: Path, gguf_settings: dict[str, Any], captions: list[str]
) -> None:
    model = LanguageModel("tiny", **gguf_settings)
    direct = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf", dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="tiny.gguf")
    ours, theirs = model.causal_lm.state_dict(), direct.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    for caption in captions:
        tokens = tokenizer(caption, return_tensors="pt")
        assert torch.equal(model.collate([caption])["input_ids"], tokens["input_ids"])
        expected = direct(**tokens, output_hidden_states=True).hidden_states[-2][:, -1]
        torch.testing.assert_close(model(model.collate([caption])), expected, rtol=1e-5, atol=1e-5)
    assert model.weights_sha256 == gguf_settings["sha256"]


def test_the_conversion_is_done_once_and_needs_no_packages_after(
    gguf_settings: dict[str, Any], conversions: list[str]
) -> None:
    LanguageModel("tiny", **gguf_settings)
    (paths.cache() / "packages").rename(paths.cache() / "gone")
    LanguageModel("tiny", **gguf_settings)
    assert conversions == ["tiny"]
    left = sorted(path.name for path in (paths.cache() / "models").iterdir())
    assert left == [f"tiny-{gguf_settings['sha256'][:8]}", f"tiny-{gguf_settings['sha256'][:8]}.lock"]


@pytest.mark.parametrize("change", ["a changed byte", "a missing file", "another transformers"])
def test_a_stale_or_damaged_conversion_is_made_anew(
    gguf_settings: dict[str, Any], conversions: list[str], change: str
) -> None:
    LanguageModel("tiny", **gguf_settings)
    folder = next(path for path in (paths.cache() / "models").iterdir() if path.is_dir())
    weights, record = folder / "model.safetensors", folder / "conversion.json"
    before = weights.read_bytes()
    tensors = {key: value.clone() for key, value in load_file(weights).items()}  # not a view of the file
    if change == "a changed byte":
        weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    elif change == "a missing file":
        weights.unlink()
    else:
        record.write_text(json.dumps({**json.loads(record.read_text()), "transformers": "4.0.0"}))
    LanguageModel("tiny", **gguf_settings)
    assert conversions == ["tiny", "tiny"]
    again = load_file(weights)
    assert tensors.keys() == again.keys()
    assert all(torch.equal(tensors[key], again[key]) for key in tensors)


def test_an_interrupted_conversion_leaves_nothing_that_is_used(
    gguf_settings: dict[str, Any], conversions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(gguf, "_record", stop)
        with pytest.raises(KeyboardInterrupt):
            LanguageModel("tiny", **gguf_settings)
    LanguageModel("tiny", **gguf_settings)
    assert conversions == ["tiny", "tiny"]


def test_chunks_in_the_wrong_order_are_refused_with_both_checksums(gguf_settings: dict[str, Any]) -> None:
    wrong = {**gguf_settings, "members": gguf_settings["members"][::-1]}
    with pytest.raises(VlmatchError, match=f"expected {gguf_settings['sha256']}, got [0-9a-f]{{64}}; it is not used"):
        LanguageModel("tiny", **wrong)


def test_a_member_that_no_package_has_is_named(gguf_settings: dict[str, Any]) -> None:
    with pytest.raises(VlmatchError, match=r"member 'x\.gguf' is in none of its packages"):
        LanguageModel("tiny", **{**gguf_settings, "members": ["x.gguf"]})


def test_a_repository_named_by_the_user_goes_before_the_packages(tmp_path: Path, gguf_settings: dict[str, Any]) -> None:
    with pytest.raises(VlmatchError, match="holds no model"):
        LanguageModel("tiny", repository=str(tmp_path), **gguf_settings)
