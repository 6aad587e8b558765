"""Encoders made of others: from stored features where there are any, and the same from the image itself."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import misbehaving
from misbehaving import TRAINER, compute, trainer_of
from vlmatch.embeddings.embed import embed
from vlmatch.embeddings.header import EmbeddingSpec
from vlmatch.embeddings.store import FILE, Store
from vlmatch.encoders.controls import Pixels
from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.objects import admit, build, version_of
from vlmatch.probes.pairs import ProbeSet
from vlmatch.settings.buildable import EncoderSettings

PIXELS = {"_target_": "vlmatch.encoders.controls.Pixels", "name": "pixels", "size": 3, "feature": "paper"}
LICENCE = {"name": "MIT", "source": "https://example.org"}
THUMBNAIL = {"_target_": "misbehaving.Thumbnail", "name": "t", "licence": LICENCE}
FUSED = {
    "_target_": "vlmatch.encoders.derived.FusedEncoder",
    "name": "fused_pixels+t",
    "members": ["pixels", "t"],
    "parts": [PIXELS, THUMBNAIL],
    "feature": "paper",
}


@pytest.fixture
def head(tmp_path: Path) -> dict[str, Any]:
    """The yaml of a head of two layers over the 48 pixels of a thumbnail."""
    torch.manual_seed(0)
    return head_of(
        tmp_path / "head.safetensors",
        {
            "layers.0.weight": torch.randn(10, 48),
            "layers.0.bias": torch.randn(10),
            "layers.1.weight": torch.randn(6, 10),
            "layers.1.bias": torch.randn(6),
            "mean": torch.rand(48) * 255,
            "std": torch.rand(48) * 50 + 1,
        },
    )


def head_of(path: Path, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    save_file({key: value.half() for key, value in tensors.items()}, path)
    return {
        "_target_": "vlmatch_study.trained_head.HeadEncoder",
        "name": "head_t",
        "parts": [THUMBNAIL],
        "checkpoint": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "feature": "paper",
    }


def through_head(config: dict[str, Any], features: np.ndarray) -> np.ndarray:
    """The head by NumPy and SciPy, in double precision."""
    from safetensors.numpy import load_file
    from scipy.special import erf

    state = {key: value.astype(float) for key, value in load_file(config["checkpoint"]).items()}
    hidden = (features - state["mean"]) / state["std"] @ state["layers.0.weight"].T + state["layers.0.bias"]
    hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
    return hidden @ state["layers.1.weight"].T + state["layers.1.bias"]


def test_a_fusion_is_its_parts_side_by_side(pictures: ProbeSet, tmp_path: Path) -> None:
    fused, cost = compute(FUSED, pictures, Store(tmp_path))
    alone = [compute(part, pictures, Store(tmp_path / "alone"))[0] for part in (PIXELS, THUMBNAIL)]
    np.testing.assert_array_equal(fused.array, np.hstack([part.array for part in alone]))
    assert cost.items == 2 * len(pictures)
    assert fused.header.rule == "concatenated: pixels, pixels"
    assert fused.header.licence["name"] == "none stated + MIT"
    assert not fused.header.control, "one of two parts is a control"
    assert fused.header.preprocessing == {part.header.spec.model: part.header.preprocessing for part in alone}


def test_a_head_is_its_backbone_then_the_layers(pictures: ProbeSet, tmp_path: Path, head: dict[str, Any]) -> None:
    found, _ = compute(head, pictures, Store(tmp_path))
    backbone, nothing = compute(THUMBNAIL, pictures, Store(tmp_path))
    assert nothing.items == 0, "the backbone's own embeddings are stored on the way"
    np.testing.assert_allclose(found.array, through_head(head, backbone.array), rtol=1e-4, atol=1e-4)
    assert found.header.rule == "pixels, head"
    assert found.header.n_parameters == 48 * 10 + 10 + 10 * 6 + 6
    assert found.header.weights_sha256 is not None


def test_stored_parts_are_used_and_no_backbone_is_built(
    pictures: ProbeSet, tmp_path: Path, head: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute(THUMBNAIL, pictures, Store(tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the backbone was built")

    monkeypatch.setattr(misbehaving.Thumbnail, "__init__", refuse)
    found, cost = compute(head, pictures, Store(tmp_path))
    assert cost.items == 0
    assert len(found.array) == len(pictures)
    again, _ = compute(head, pictures, Store(tmp_path))
    np.testing.assert_array_equal(again.array, found.array)


def test_heads_over_one_backbone_share_its_forward_pass(
    pictures: ProbeSet, tmp_path: Path, head: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    for name in ("head_a", "head_b"):
        compute({**head, "name": name}, pictures, Store(tmp_path))
    batches = [line for line in (tmp_path / "marks").read_text().splitlines() if not line.endswith(" 1")]
    assert len(batches) == len(pictures) // TRAINER["batch_size"]


def test_both_take_images_too_and_say_the_same_of_themselves(
    pictures: ProbeSet, tmp_path: Path, head: dict[str, Any]
) -> None:
    for config in (FUSED, head, {**FUSED, "parts": [PIXELS, head], "members": ["pixels", "head_t"]}):
        stored, _ = compute(config, pictures, Store(tmp_path / str(len(config["parts"]))))
        encoder = build(config)
        images = [encoder.prepare(pictures.image(row)) for row in range(len(pictures))]
        with torch.inference_mode():
            features = encoder(encoder.collate(images))
        np.testing.assert_allclose(stored.array, features, rtol=1e-5, atol=1e-5)
        assert stored.header.about == type(stored.header.about).of(encoder)


def test_tokens_of_a_fusion_stand_side_by_side_or_it_says_why_not(pictures: ProbeSet) -> None:
    two = {**FUSED, "parts": [PIXELS, {**PIXELS, "name": "t"}]}
    encoder = build(two)
    batch = encoder.collate([encoder.prepare(pictures.image(row)) for row in range(3)])
    assert encoder.tokens(batch).shape == (3, 9, 6)
    unequal = build(FUSED)
    batch = unequal.collate([unequal.prepare(pictures.image(row)) for row in range(3)])
    with pytest.raises(VlmatchError, match=r"9 and 1 tokens per image"):
        unequal.tokens(batch)


def test_tokens_of_a_head_are_the_head_on_each(pictures: ProbeSet, head: dict[str, Any]) -> None:
    encoder = build(head)
    batch = encoder.collate([encoder.prepare(pictures.image(row)) for row in range(3)])
    assert torch.equal(encoder.tokens(batch)[:, 0], encoder(batch))
    other = build({**head, "parts": [PIXELS]})
    pixels = other.collate([other.prepare(pictures.image(0))])
    with pytest.raises(VlmatchError, match="tokens have 3 numbers, its head takes 48"):
        other.tokens(pixels)
    with pytest.raises(VlmatchError, match="feature has 27 numbers, its head takes 48"):
        other(pixels)


@pytest.mark.parametrize("members", [["pixels"], ["t", "t"]])
def test_a_fusion_wants_two_different_encoders(pictures: ProbeSet, tmp_path: Path, members: list[str]) -> None:
    with pytest.raises(VlmatchError, match=r"members=\[.*two or more different encoders"):
        compute({**FUSED, "members": members}, pictures, Store(tmp_path))
    assert not (tmp_path / "embeddings").exists(), "said before anything is embedded"


def test_a_head_refuses_what_is_not_its_own(pictures: ProbeSet, tmp_path: Path, head: dict[str, Any]) -> None:
    sound = {"layers.0.weight": torch.ones(2, 48), "layers.0.bias": torch.ones(2)}
    scales = {"mean": torch.zeros(48), "std": torch.ones(48)}
    path = tmp_path / "other.safetensors"
    cases = [
        ({**head, "sha256": "0" * 64}, "SHA-256 expected 0000"),
        ({**head, "feature": "vlm_input"}, "its head was trained on 'paper' only"),
        ({**head, "parts": [PIXELS, THUMBNAIL]}, "2 parts; wanted one"),
    ]
    for config, message in cases:
        with pytest.raises(VlmatchError, match=message):
            build(config)
    for tensors, message in (
        (sound, "it holds layers.0.bias, layers.0.weight; wanted mean"),
        ({**sound, **scales, "std": torch.zeros(48)}, r"wanted mean, std \(above 0\)"),
        ({**sound, **scales, "layers.0.bias": torch.ones(3)}, r"layers.0 has a weight \(2, 48\) and a bias \(3,\)"),
    ):
        with pytest.raises(VlmatchError, match=message):
            build(head_of(path, tensors))
    with pytest.raises(NotHereError, match="does not exist"):
        build({**head, "checkpoint": str(tmp_path / "nowhere.safetensors")})


def test_the_fingerprint_covers_the_parts(
    pictures: ProbeSet, head: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint(config: dict[str, Any]) -> str:
        return EmbeddingSpec.of(EncoderSettings.of("encoder", config), pictures, "32-true").fingerprint

    before = fingerprint(FUSED)
    assert fingerprint({**FUSED, "parts": [PIXELS, {**THUMBNAIL, "licence": {"name": "MIT"}}]}) == before
    assert fingerprint({**FUSED, "parts": [{**PIXELS, "size": 2}, THUMBNAIL]}) != before
    head_before = fingerprint(head)
    path = Path(head["checkpoint"])
    content = path.read_bytes()
    path.write_bytes(content + b" ")
    assert fingerprint(head) != head_before
    path.write_bytes(content)  # as a new checkout does: equal bytes of another time
    assert fingerprint(head) == head_before
    monkeypatch.setattr(misbehaving.Thumbnail, "version", 5)
    assert fingerprint(FUSED) != before
    assert version_of(FUSED) == 1 + Pixels.version + 5


def test_a_stranger_among_the_parts_is_refused(pictures: ProbeSet, tmp_path: Path) -> None:
    admit([])
    with pytest.raises(VlmatchError, match="targets="):
        embed(EncoderSettings.of("encoder", FUSED), pictures, Store(tmp_path), trainer_of())


def test_a_damaged_fusion_is_combined_again(pictures: ProbeSet, tmp_path: Path) -> None:
    first, _ = compute(FUSED, pictures, Store(tmp_path))
    path = Store(tmp_path).folder(first.header.spec) / FILE
    path.write_bytes(path.read_bytes()[:-4])
    again, cost = compute(FUSED, pictures, Store(tmp_path))
    assert cost.items == 0
    np.testing.assert_array_equal(first.array, again.array)
