"""The LLMs that come inside packages, for real, and the yaml files of all."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from vlmatch import paths
from vlmatch.llms.language_model import LanguageModel

YAMLS = sorted(path for path in (paths.conf() / "llm").glob("*.yaml") if path.stem != "precomputed")  # no model


def settings(name: str) -> dict[str, Any]:
    """The constructor's arguments in a yaml."""
    config: dict[str, Any] = yaml.safe_load((paths.conf() / "llm" / f"{name}.yaml").read_text())
    assert config.pop("_target_") == "vlmatch.llms.language_model.LanguageModel"
    return config


@pytest.mark.parametrize("file", YAMLS, ids=lambda file: file.stem)
def test_every_yaml_fits_the_constructor_and_bears_its_files_name(file: Path) -> None:
    config = settings(file.stem)
    inspect.signature(LanguageModel).bind(**config)
    assert config["name"] == file.stem
    assert set(config["licence"] or {}) == ({"name", "source"} if file.stem != "gguf" else set())
    assert file.read_text().startswith("# ")
    assert config["template"] == "{caption}"
    assert (config["layer"], config["pooling"]) == (-2, "last")


@pytest.fixture(scope="module")
def smollm2() -> LanguageModel:
    """SmolLM2-135M-Instruct from its package."""
    return LanguageModel(**settings("smollm2"))


@torch.inference_mode()
def test_smollm2_knows_the_capital_of_france(smollm2: LanguageModel) -> None:
    batch = smollm2.collate(["The capital of France is"])
    next_token = smollm2.causal_lm(**batch).logits[0, -1].argmax()
    assert smollm2.tokenizer.decode(next_token).strip() == "Paris"


@torch.inference_mode()
def test_smollm2_embeds_captions_alike_in_a_batch_and_alone(smollm2: LanguageModel, captions: list[str]) -> None:
    together = smollm2(smollm2.collate(captions))
    assert together.shape == (4, 576)
    assert torch.isfinite(together).all()
    alone = torch.cat([smollm2(smollm2.collate([caption])) for caption in captions])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-3)
    assert smollm2.n_parameters() == 134_515_008
    assert smollm2.preprocessing["bos"] is False
    assert smollm2.preprocessing["quantisation"] == "Q4_1"


GEMMA = settings("gemma3_270m")
CONVERTED = paths.cache() / "models" / f"gemma3_270m-{GEMMA['sha256'][:8]}"


@pytest.mark.slow
@pytest.mark.skipif(not CONVERTED.is_dir(), reason="Gemma's conversion takes a minute: make run does it")
@torch.inference_mode()
def test_gemma_adds_bos_and_embeds_captions_alike_on_either_side(captions: list[str]) -> None:
    gemma = LanguageModel(**GEMMA)
    assert gemma.preprocessing["bos"] is True
    assert gemma.preprocessing["quantisation"] == "Q4_K_M"
    sides = []
    for side in ("left", "right"):
        gemma.tokenizer.padding_side = side
        sides.append(gemma(gemma.collate(captions)))
    assert sides[0].shape == (4, 640)
    assert torch.cosine_similarity(*sides).min() > 1 - 1e-6
