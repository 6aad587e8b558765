"""The GPU user's hour on stand-ins: encoders of VTBenchLab's table and an LLM, tiny, through the real experiment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from huggingface_hub import constants

from encoders import stand_ins
from encoders.conftest import encoder_configs
from llms.conftest import byte_tokens, make_tokenizer, save_tiny  # noqa: F401 - fixtures

ENCODERS = ("clip_l14", "dino_b16", "metaclip_b16", "siglip2_b16_256", "dinov2_b_hf")
FILES = {
    "clip_l14": ("timm/vit_large_patch14_clip_224.openai", "open_clip_model.safetensors"),
    "dino_b16": ("timm/vit_base_patch16_224.dino", "model.safetensors"),
    "metaclip_b16": ("timm/vit_base_patch16_clip_224.metaclip_2pt5b", "open_clip_model.safetensors"),
    "siglip2_b16_256": ("timm/ViT-B-16-SigLIP2-256", "open_clip_model.safetensors"),
}


@pytest.fixture
def stored(tmp_path: Path, put_in_hub_cache: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins of the encoders in the place where the hub's cache would have their weights."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ENCODERS:
        config = encoder_configs()[name]
        folder = tmp_path / "made" / name
        folder.mkdir(parents=True)
        _, made = stand_ins.build(config, folder, monkeypatch)
        if "repository" in config:
            names = [path.name for path in folder.iterdir()]
            snapshot = put_in_hub_cache(config["repository"], *names)
            for path in folder.iterdir():
                (snapshot / path.name).write_bytes(path.read_bytes())
        else:
            repository, file = FILES[name]
            (put_in_hub_cache(repository, file) / file).write_bytes(made.read_bytes())


@pytest.mark.slow
def test_vtbenchlabs_experiment_ends_in_a_report_with_the_record_by_both_protocols(
    cli: Any,
    stored: None,
    picture_folder: Path,
    tmp_path: Path,
    save_tiny: Any,  # noqa: F811
) -> None:
    llm, _ = save_tiny("qwen2")
    code, out, err = cli(
        "experiment=vtbenchlab",
        f"encoder={','.join(ENCODERS)}",
        f"llm.repository={llm}",
        "llm.dtype=float32",
        "trainer=cpu",
        "probe=folder",
        f"probe.path={picture_folder}",
        "multirun",
    )
    assert code == 0, err
    ahead = next(line for line in out.splitlines() if "to download" in line)
    assert ahead.startswith("5 encoders, 1 LLM, 12 pairs: about 0.0 GB to download")
    for features in ("features 'mean_patch', captions 'layer-1_mean'", "features 'paper', captions 'layer-2_last'"):
        assert f"your truth, Qwen2.5-1.5B, {features}: 5 encoders" in out
    rows = pd.read_csv(tmp_path / "outputs" / "ranking.csv")
    assert len(rows) == 2 * len(ENCODERS)
    assert {"gw", "gw_centred", "cka_debiased", "ridge_r2", "mutual_nn"} <= set(rows)
    page = (tmp_path / "outputs" / "report.html").read_text(encoding="utf-8")
    assert page.count("Your truth: Qwen2.5-1.5B") == 2
    assert "CKA of noise" in page
