"""The vision towers of VLMs go through the embedding loop, with their 3-dimensional convolutions and odd shapes."""

from pathlib import Path

import pytest
import torch
import transformers

from misbehaving import compute
from vlmatch.embeddings.store import Store
from vlmatch.probes.pairs import ProbeSet

ROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}
TEXT = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 16, "rope_parameters": ROPE}  # fmt: skip
VISION = {"hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 48, "fullatt_block_indexes": [1], "depth": 2,
          "num_heads": 2}  # fmt: skip


@pytest.fixture
def tower(tmp_path: Path) -> Path:
    """A folder with a small Qwen2.5-VL of random weights."""
    torch.manual_seed(0)
    config = transformers.Qwen2_5_VLConfig(vision_config=VISION, text_config=TEXT)
    transformers.Qwen2_5_VLForConditionalGeneration(config).save_pretrained(tmp_path / "vlm")
    transformers.Qwen2VLImageProcessor().save_pretrained(tmp_path / "vlm")
    return tmp_path / "vlm"


@torch.inference_mode()
def test_a_qwen_vl_embeds_a_probe(tower: Path, pictures: ProbeSet, tmp_path: Path) -> None:
    config = {
        "_target_": "vlmatch.encoders.transformers_models.TransformersEncoder",
        "name": "qwen",
        "checkpoint": str(tower),
    }
    found, cost = compute(config, pictures, Store(tmp_path))
    model = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(tower).eval().model.visual
    image = transformers.Qwen2VLImageProcessor()(images=pictures.image(3), return_tensors="pt")
    alone = model(image["pixel_values"], grid_thw=image["image_grid_thw"]).last_hidden_state.mean(dim=0)
    torch.testing.assert_close(torch.from_numpy(found.array[3]), alone, rtol=1e-3, atol=1e-5)
    assert cost.measured is not None
    assert cost.measured.tokens == image["pixel_values"].shape[0]
