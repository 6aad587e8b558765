"""The GPU user's hour on stand-ins: encoders of published tables and an LLM, tiny, through the real experiments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import pandas as pd
import pytest
import timm
from huggingface_hub import constants

from encoders import stand_ins
from encoders.conftest import encoder_configs
from llms.conftest import byte_tokens, make_tokenizer, save_tiny  # noqa: F401 - fixtures


@dataclass(frozen=True)
class Hour:
    """One command: its experiment, encoders of its table and others, a tiny LLM's family, and what it ends with.

    truths: what the lines of the record begin with; each stands once for each protocol. without: encoders of which the
    table says nothing.
    """

    experiment: str
    encoders: Sequence[str]
    llm: str
    truths: Sequence[str]
    protocols: Sequence[str]
    without: Sequence[str] = ()


FED, VTBENCHLAB = "features 'vlm_input', captions 'layer-1_mean'", "features 'mean_patch', captions 'layer-1_mean'"
OURS = "features 'paper', captions 'layer-2_last'"
CAMBRIAN = ("0M_frozen", "0.5M_frozen", "1.2M_frozen", "1.2M_unfrozen")  # its recipes
HOURS = {
    "vtbenchlab": Hour(
        "vtbenchlab",
        ("clip_l14", "dino_b16", "metaclip_b16", "siglip2_b16_256", "dinov2_b_hf"),
        "qwen2",
        ("your truth, Qwen2.5-1.5B",),
        (VTBENCHLAB, OURS),
    ),
    "cambrian1": Hour(
        "cambrian1",
        ("clip_l336", "dinov2_l_336", "ijepa_h14_22k", "mae_l", "siglip"),
        "llama",
        tuple(f"your truth, vicuna-1.5-7b, {recipe}" for recipe in CAMBRIAN),
        (FED, OURS),
    ),
    "law": Hour(
        "law",
        ("clip_l14", "clip_l336", "dinov2_l_224", "laion2b_l14", "siglip_b16_224"),
        "llama",
        ("your truth, vicuna-7b-v1.5",),
        (FED, OURS),
    ),
    "the common ones": Hour(
        "vtbenchlab",
        ("metaclip2_bigg14", "eupe_vit_b", "eupe_convnext_t", "pe_lang_l14_448"),
        "qwen2",
        ("your truth, Qwen2.5-1.5B",),
        (VTBENCHLAB, OURS),
        ("mlcd_l14_336", "radio_v3_l", "radio_v4_so400m", "webssl_dino_300m", "intern_vit_300m"),
    ),
}


@pytest.fixture
def stored(tmp_path: Path, put_in_hub_cache: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts stand-ins of encoders where the hub's cache would have their weights."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(name: str) -> None:
        config = encoder_configs()[name]
        folder = tmp_path / "made" / name
        folder.mkdir(parents=True)
        _, made = stand_ins.build(config, folder, monkeypatch)
        if made.is_dir():
            snapshot = put_in_hub_cache(config["repository"], *(path.name for path in folder.iterdir()))
            for path in folder.iterdir():
                (snapshot / path.name).write_bytes(path.read_bytes())
        else:
            repository, file = on_hub(config)
            (put_in_hub_cache(repository, file) / file).write_bytes(made.read_bytes())

    return put


def on_hub(config: dict[str, Any]) -> tuple[str, str]:
    """The repository and file of an encoder's weights, as its library names them."""
    if "architecture" in config:
        place = open_clip.get_pretrained_cfg(config["architecture"], config["pretrained"])["hf_hub"]
        repository, _, file = place.rpartition("/")
        return repository, file or "open_clip_model.safetensors"
    return timm.get_pretrained_cfg(config["model"]).hf_hub_id, "model.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize("hour", HOURS.values(), ids=HOURS)
def test_an_hour_ends_in_a_report_with_the_record_by_both_protocols(
    hour: Hour,
    cli: Any,
    stored: Callable[[str], None],
    picture_folder: Path,
    tmp_path: Path,
    save_tiny: Any,  # noqa: F811
) -> None:
    llm, _ = save_tiny(hour.llm)
    encoders = [*hour.encoders, *hour.without]
    for name in encoders:
        stored(name)
    code, out, err = cli(
        f"experiment={hour.experiment}",
        f"encoder={','.join(encoders)}",
        f"llm.repository={llm}",
        "llm.dtype=float32",
        "trainer=cpu",
        "probe=folder",
        f"probe.path={picture_folder}",
        "multirun",
    )
    assert code == 0, err
    ahead = next(line for line in out.splitlines() if "to download" in line)
    assert ahead.startswith(f"{len(encoders)} encoders, 1 LLM, 12 pairs: about 0.0 GB to download")
    for truth in hour.truths:
        for protocol in hour.protocols:
            assert f"{truth}, {protocol}: {len(hour.encoders)} encoders" in out
    rows = pd.read_csv(tmp_path / "outputs" / "ranking.csv")
    assert len(rows) == 2 * len(encoders)
    assert {"gw", "gw_centred", "cka_debiased", "ridge_r2", "mutual_nn"} <= set(rows)
    page = (tmp_path / "outputs" / "report.html").read_text(encoding="utf-8")
    assert page.count("Your truth: ") == 2 * len(hour.truths)
    assert "CKA of noise" in page
