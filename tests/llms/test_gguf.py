"""A GGUF from packages: joined, checked, converted once, and equal to what transformers reads from the file."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from vlmatch import paths
from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.llms import gguf
from vlmatch.llms.gguf import quantisation_of
from vlmatch.llms.language_model import LanguageModel


def sha256_of(content: bytes) -> str:
    """SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


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


@pytest.mark.parametrize("stated", [True, False])
def test_the_quantisation_is_read_from_the_header_or_from_what_most_weights_are(
    tmp_path: Path, save_gguf: Callable[..., None], stated: bool
) -> None:
    save_gguf(tmp_path / "coarse.gguf", quantised="Q8_0", stated=stated)
    save_gguf(tmp_path / "exact.gguf")
    assert quantisation_of("tiny", tmp_path / "coarse.gguf") == "Q8_0"
    assert quantisation_of("tiny", tmp_path / "exact.gguf") is None


def test_the_packages_file_says_its_quantisation_again_when_its_conversion_is_kept(
    gguf_settings: dict[str, Any], save_gguf: Callable[..., None], tmp_path: Path, conversions: list[str]
) -> None:
    save_gguf(tmp_path / "tiny.gguf", quantised="Q8_0")
    content = (tmp_path / "tiny.gguf").read_bytes()
    (paths.cache() / "packages/tiny-part0-1.0/tiny_part0/tiny.gguf.part0").write_bytes(content)
    settings = {**gguf_settings, "members": gguf_settings["members"][:1], "sha256": sha256_of(content)}
    for _ in range(2):
        assert LanguageModel("tiny", **settings).preprocessing["quantisation"] == "Q8_0"
    assert conversions == ["tiny"]


@torch.inference_mode()
def test_a_file_of_the_users_own_is_read_where_it_lies(
    tmp_path: Path, save_gguf: Callable[..., None], captions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "mine.gguf"
    save_gguf(file, quantised="Q8_0")
    direct = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="mine.gguf", dtype=torch.float32)
    model = LanguageModel("mine", checkpoint=str(file))
    assert model.weights_sha256 == sha256_of(file.read_bytes())
    assert model.preprocessing["quantisation"] == "Q8_0"
    for row, caption in zip(model(model.collate(captions)), captions, strict=True):
        tokens = model.tokenizer(caption, return_tensors="pt")
        expected = direct(**tokens, output_hidden_states=True).hidden_states[-2][0, -1]
        torch.testing.assert_close(row, expected, rtol=1e-5, atol=1e-5)
    assert not (tmp_path / "cache").exists()


def test_a_file_that_is_no_gguf_or_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("no model")
    with pytest.raises(VlmatchError, match=r"its GGUF file can't be read \(.*\); give one whole file"):
        LanguageModel("tiny", checkpoint=str(tmp_path / "text.gguf"))
    with pytest.raises(NotHereError, match=r"llm\.checkpoint=/no/such\.gguf is not a file"):
        LanguageModel("tiny", checkpoint="/no/such.gguf")
    (tmp_path / "big-00001-of-00003.gguf").touch()
    with pytest.raises(VlmatchError, match=r"is one of several parts of a GGUF file; join them"):
        LanguageModel("tiny", checkpoint=str(tmp_path / "big-00001-of-00003.gguf"))


@pytest.mark.parametrize("kept", [0.1, 0.9])
def test_a_file_cut_short_is_told_in_one_line(tmp_path: Path, save_gguf: Callable[..., None], kept: float) -> None:
    file = tmp_path / "cut.gguf"
    save_gguf(file)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(VlmatchError, match="its GGUF file can't be read") as caught:
        LanguageModel("tiny", checkpoint=str(file))
    assert "\n" not in str(caught.value)


def test_a_repository_named_by_the_user_goes_before_the_packages(tmp_path: Path, gguf_settings: dict[str, Any]) -> None:
    with pytest.raises(VlmatchError, match="holds no model"):
        LanguageModel("tiny", repository=str(tmp_path), **gguf_settings)
