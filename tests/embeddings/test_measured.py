"""What a run measures while it embeds is kept beside the embeddings, and changes nothing of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vlmatch
from misbehaving import THUMBNAIL, compute
from vlmatch.embeddings import predict
from vlmatch.embeddings.counting import Counted, counted
from vlmatch.embeddings.measured import Measured, device_name, read_measured, write_measured
from vlmatch.embeddings.store import Store
from vlmatch.encoders.catalogue import catalogue
from vlmatch.probes.pairs import ProbeSet


def test_a_second_run_knows_what_the_first_measured(pictures: ProbeSet, tmp_path: Path) -> None:
    first, cost = compute(THUMBNAIL, pictures, Store(tmp_path))
    again, nothing = compute(THUMBNAIL, pictures, Store(tmp_path))
    assert cost.measured == nothing.measured == read_measured(Store(tmp_path), first.header.spec)
    assert cost.measured.items == len(pictures)
    assert 0 < cost.measured.seconds < cost.seconds
    assert cost.measured.items_per_second == len(pictures) / cost.measured.seconds
    assert cost.measured.device == device_name(torch.device("cpu"))
    assert nothing.seconds == 0
    assert again.header == first.header


def test_what_is_slow_is_measured_as_slow(pictures: ProbeSet, tmp_path: Path) -> None:
    _, cost = compute({**THUMBNAIL, "seconds": 0.05}, pictures, Store(tmp_path))
    assert cost.measured.seconds >= 6 * 0.05, "12 pictures are 6 batches"


def test_a_measurement_of_other_embeddings_or_a_damaged_one_is_none(pictures: ProbeSet, tmp_path: Path) -> None:
    store = Store(tmp_path)
    spec = compute(THUMBNAIL, pictures, store)[0].header.spec
    other = compute({**THUMBNAIL, "name": "other", "seconds": 0.001}, pictures, store)[0].header.spec
    kept = store.folder(spec).with_name(f"{spec.slug}.measured.json")
    own = kept.read_text()
    kept.write_text(store.folder(other).with_name(kept.name).read_text())
    assert read_measured(store, spec) is None
    kept.write_text(own.replace('"items": 12', '"items": 13'))
    assert read_measured(store, spec) is None
    kept.write_text(own.replace('"sha256"', '"older"'))
    assert read_measured(store, spec) is not None, "files of before have no checksum"
    kept.write_text("{")
    assert read_measured(store, spec) is None
    kept.unlink()
    assert read_measured(store, spec) is None
    assert compute(THUMBNAIL, pictures, store)[1].measured is None


def test_of_a_model_made_of_others_the_times_and_operations_add_up() -> None:
    fast, slow = Measured(100, 1.0, "a chip", 2.0, 49), Measured(50, 4.5, "a chip", 3.0, 49)
    joint = Measured.together([fast, slow])
    assert 1 / joint.items_per_second == pytest.approx(1 / 100 + 4.5 / 50)
    assert (joint.gflops, joint.tokens, joint.device) == (5.0, None, "a chip")
    assert Measured.together([fast, None]) is None
    assert Measured.together([]) is None


class Attention(nn.Module):
    """A transformer layer, whose operations are known: the fused kernels of its attention escape a plain count."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(width, 4, dim_feedforward=2 * width, batch_first=True)
        self.kind = "encoder"

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layer(tokens).mean(1)


def test_attention_is_counted_by_its_closed_form() -> None:
    n, d = 9, 16
    model = Attention(d).eval()
    with torch.inference_mode():
        gflops = counted(model, torch.randn(1, n, d)).gflops
    projections, scores, mlp = 4 * 2 * n * d * d, 2 * 2 * n * n * d, 2 * 2 * n * d * 2 * d
    assert gflops == pytest.approx((projections + scores + mlp) / 1e9, rel=1e-3)


def test_a_model_that_fails_or_computes_elsewhere_has_no_count() -> None:
    def fails(images: Tensor) -> Tensor:
        raise RuntimeError(images)

    image = torch.ones(1, 3)
    assert counted(fails, image).gflops is None
    assert counted(lambda images: images.numpy(), image).gflops is None


@pytest.mark.parametrize("name", ["siglip_vit_both", "siglip_resnet_both", "pixels16"])
def test_what_is_counted_while_embedding_is_what_the_catalogue_says(
    pictures: ProbeSet, tmp_path: Path, name: str
) -> None:
    vlmatch.embed(pictures, name, store=tmp_path, progress=False)
    ((_, stored),) = Store(tmp_path).headers(pictures.key)
    measured, entry = read_measured(Store(tmp_path), stored.spec), catalogue()[name]
    assert ((measured.gflops or 0.0), measured.tokens) == (entry.gflops, entry.visual_tokens)


def test_counting_changes_no_bit_of_the_embeddings(
    pictures: ProbeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_count = vlmatch.embed(pictures, "siglip_vit_both", store=tmp_path / "with", progress=False)
    monkeypatch.setattr(predict, "counted", lambda model, image: Counted())
    without = vlmatch.embed(pictures, "siglip_vit_both", store=tmp_path / "without", progress=False)
    assert read_measured(Store(tmp_path / "without"), without.header.spec).gflops is None
    assert with_count.header == without.header


def test_an_own_encoder_is_counted_and_its_speed_known(pictures: ProbeSet, tmp_path: Path) -> None:
    layer = nn.Linear(48, 8)

    def features(batch: Tensor) -> Any:
        return layer(batch.flatten(1))

    def prepare(image: Any) -> Tensor:
        return torch.tensor(list(image.resize((4, 4)).tobytes()), dtype=torch.float32)

    own = vlmatch.own_encoder("own", prepare, features, version="1")
    vlmatch.embed(pictures, own, store=tmp_path, progress=False)
    ((_, stored),) = Store(tmp_path).headers(pictures.key)
    measured = read_measured(Store(tmp_path), stored.spec)
    assert measured.gflops == 2 * 48 * 8 / 1e9
    assert measured.tokens is None


def test_writing_replaces_what_was_measured_before(pictures: ProbeSet, tmp_path: Path) -> None:
    store = Store(tmp_path)
    spec = compute(THUMBNAIL, pictures, store)[0].header.spec
    write_measured(store, spec, Measured(1, 2.0, "another chip"))
    assert read_measured(store, spec) == Measured(1, 2.0, "another chip")
