"""Every objective learns, is the same for the same seed, and its weights load back to the same features."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import logsumexp

from study.pretraining.made_data import drawn, features, sentences
from vlmatch.encoders.base import Encoder
from vlmatch.encoders.openclip import OpenClipEncoder
from vlmatch.errors import VlmatchError
from vlmatch.files import sha256_of_file
from vlmatch_study.pretraining.augmentation import normalised
from vlmatch_study.pretraining.autoencoder import Autoencoder
from vlmatch_study.pretraining.categories import Categories
from vlmatch_study.pretraining.contrastive_head import ContrastiveHead, standardisation
from vlmatch_study.pretraining.data import PretrainingData
from vlmatch_study.pretraining.fit import fit
from vlmatch_study.pretraining.kept import weights_in
from vlmatch_study.pretraining.objective import Objective
from vlmatch_study.pretraining.siglip import SiglipTowers
from vlmatch_study.pretraining.two_views import TwoViews, nt_xent, vicreg
from vlmatch_study.trained_convnet import TrainedConvnet
from vlmatch_study.trained_head import HeadEncoder

SIZE = 32
RESNET = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
CONVNET: dict[str, Any] = {"architecture": "resnet18", "options": RESNET, "smallest": 0.9, "colour": 0.05}
TRAINING: dict[str, Any] = {"batch_size": 12, "learning_rate": 5e-3, "weight_decay": 0.01, "seed": 3}
TEXT = {"context_length": 8, "width": 32, "heads": 2, "layers": 1}
VIT = {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
TIMM = {"timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "linear"}


def head(contrast: str) -> Callable[[PretrainingData], Objective]:
    settings = {"text": sentences, "hidden": [16], "dimension": 8, "contrast": contrast, "noise": 0.1}
    return lambda data: ContrastiveHead(features(data), **settings, **TRAINING)


def towers(vision: dict[str, Any]) -> Callable[[PretrainingData], Objective]:
    model = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": TEXT}
    settings = {"model": model, "vocabulary": 300, "smallest": 0.9, "colour": 0.05}
    return lambda data: SiglipTowers(data, **settings, **TRAINING)


def two_views(agreement: str) -> Callable[[PretrainingData], Objective]:
    return lambda data: TwoViews(data, agreement=agreement, projection=16, **CONVNET, **TRAINING)


OBJECTIVES: dict[str, Callable[[PretrainingData], Objective]] = {
    "head, softmax": head("softmax"),
    "head, sigmoid": head("sigmoid"),
    "siglip, vit": towers(VIT),
    "siglip, convnet": towers(TIMM),
    "simclr": two_views("nt_xent"),
    "vicreg": two_views("vicreg"),
    "autoencoder": lambda data: Autoencoder(data, decoder=[16, 16, 8, 8, 8], **CONVNET, **TRAINING),
    "categories": lambda data: Categories(data, **CONVNET, **TRAINING),
}
EPOCHS = {"simclr": 40, "vicreg": 40, "categories": 40}  # the others need a dozen
CONVNETS = ("simclr", "vicreg", "autoencoder", "categories")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PretrainingData:
    return PretrainingData.images(drawn(tmp_path_factory.mktemp("drawn")), SIZE)


@pytest.fixture(autouse=True)
def seeded() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def trained(name: str, data: PretrainingData, folder: Path, epochs: int = 12) -> tuple[Objective, float]:
    torch.manual_seed(0)
    objective = OBJECTIVES[name](data)
    loss = fit(objective, epochs=epochs, checkpoints=folder / "checkpoints", accelerator="cpu")
    return objective.eval(), loss


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_falls(name: str, data: PretrainingData, tmp_path: Path) -> None:
    objective = OBJECTIVES[name](data)
    untrained = mean_loss(objective, data)

    fit(objective, epochs=EPOCHS.get(name, 12), checkpoints=tmp_path, accelerator="cpu")

    assert mean_loss(objective, data) < 0.9 * untrained
    measures = objective.eval().measures(features(data) if name.startswith("head") else data)
    assert all(np.isfinite(value) for value in measures.values())
    assert 0 < float(objective.seconds) < 60


def mean_loss(objective: Objective, data: PretrainingData) -> float:
    """Of several draws of the augmentation, by the batch's own statistics."""
    torch.manual_seed(1)
    with torch.inference_mode():
        losses = [objective.train().loss(list(range(len(data)))) for _ in range(10)]
    return float(torch.stack(losses).mean())


@pytest.mark.parametrize("name", CONVNETS)
def test_a_convnet_loads_back_to_the_same_features(name: str, data: PretrainingData, tmp_path: Path) -> None:
    objective, _ = trained(name, data, tmp_path, epochs=2)
    objective.write(tmp_path)
    path = tmp_path / "model.safetensors"
    colours = {"mean": [1, 1, 1], "std": [0.5, 0.5, 0.5]}
    preprocessing = {"size": SIZE, "resize_to": SIZE, "resize": "pad", "interpolation": "bicubic", **colours}
    settings = {"architecture": "resnet18", "options": RESNET, "preprocessing": preprocessing}
    encoder = TrainedConvnet(name, checkpoint=str(path), sha256=sha256_of_file(path), **settings)

    with torch.inference_mode():
        expected = objective.feature(normalised(data.inputs))
    assert_same_features(encoder, tmp_path, expected)
    with pytest.raises(VlmatchError, match="SHA-256 expected 00"):
        TrainedConvnet(name, checkpoint=str(path), sha256="00", **settings)


@pytest.mark.parametrize("name", ["siglip, vit", "siglip, convnet"])
def test_towers_load_back_by_open_clip_itself_and_by_the_class_of_siglip(
    name: str, data: PretrainingData, tmp_path: Path
) -> None:
    import open_clip

    objective, _ = trained(name, data, tmp_path, epochs=2)
    folder = tmp_path / "kept"
    folder.mkdir()
    objective.write(folder)

    model = open_clip.create_model(f"local-dir:{folder}").eval()
    words = open_clip.get_tokenizer(f"local-dir:{folder}")(list(data.captions))
    images = normalised(data.inputs)
    with torch.inference_mode():
        expected = objective.towers.eval()(images, objective.words)
        found = model(images, words)
    assert model.logit_bias is not None
    for ours, theirs in zip(expected, found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=5e-3, atol=5e-3)

    encoder = OpenClipEncoder(name, None, None, checkpoint=str(folder))
    with torch.inference_mode():
        visual = objective.towers.visual
        if hasattr(visual, "trunk"):
            expected_feature = visual.trunk(images)
        else:
            visual.proj = None
            expected_feature = visual(images)
    assert_same_features(encoder, tmp_path, expected_feature)


@pytest.mark.parametrize("contrast", ["softmax", "sigmoid"])
def test_a_head_loads_back_to_the_same_features(contrast: str, data: PretrainingData, tmp_path: Path) -> None:
    objective, _ = trained(f"head, {contrast}", data, tmp_path, epochs=2)
    objective.write(tmp_path)
    path = tmp_path / "model.safetensors"
    encoder = HeadEncoder("head", [], checkpoint=str(path), sha256=sha256_of_file(path))
    given = features(data).inputs

    with torch.inference_mode():
        expected = objective.layers[1](
            torch.nn.functional.gelu(objective.layers[0]((given - objective.mean) / objective.std))
        )
        torch.testing.assert_close(encoder.combine([given]), expected, rtol=2e-2, atol=2e-2)


def assert_same_features(encoder: Encoder, folder: Path, expected: torch.Tensor) -> None:
    """The encoder, with preprocessing of its own, sees the drawn files as the training did."""
    items = drawn(folder / "again")
    pictures = torch.stack([encoder.prepare(Image.open(item.image).convert("RGB")) for item in items])
    with torch.inference_mode():
        torch.testing.assert_close(encoder(pictures), expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", ["head, softmax", "siglip, vit", "vicreg"])
def test_the_same_seed_gives_the_same_bytes_however_often_a_run_was_killed(
    name: str, data: PretrainingData, tmp_path: Path
) -> None:
    digests, losses = [], []
    for kind in ("whole", "killed"):
        folder = tmp_path / kind
        if kind == "killed":
            torch.manual_seed(0)
            with pytest.raises(KilledError):
                killed_after(OBJECTIVES[name](data), 5, folder / "checkpoints")
            assert (folder / "checkpoints" / "last.ckpt").is_file()
        objective, loss = trained(name, data, folder, epochs=8)
        objective.write(folder)
        digests.append(sha256_of_file(weights_in(folder)))
        losses.append(loss)
    assert digests[0] == digests[1]
    assert losses[0] == losses[1]


def test_a_run_killed_behind_its_last_checkpoint_only_has_to_be_written(data: PretrainingData, tmp_path: Path) -> None:
    objective, loss = trained("head, softmax", data, tmp_path, epochs=8)
    again, same = trained("head, softmax", data, tmp_path, epochs=8)
    assert same == loss > 0
    for one, other in zip(objective.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


class KilledError(Exception):
    pass


def killed_after(objective: Objective, epochs: int, checkpoints: Path) -> None:
    """Train for 8 epochs, and die in the one after `epochs`."""
    start = objective.on_train_epoch_start

    def dying() -> None:
        start()
        if objective.current_epoch == epochs:
            raise KilledError

    objective.on_train_epoch_start = dying  # type: ignore[method-assign]
    fit(objective, epochs=8, checkpoints=checkpoints, accelerator="cpu")


def test_nt_xent_is_the_papers_formula() -> None:
    z = np.random.default_rng(0).normal(size=(2, 5, 4))
    rows = np.concatenate(z)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    similarities = rows @ rows.T / 0.2
    losses = [logsumexp(np.delete(similarities[i], i)) - similarities[i, (i + 5) % 10] for i in range(10)]
    assert float(nt_xent(*torch.from_numpy(z))) == pytest.approx(np.mean(losses), rel=1e-9)


def test_vicreg_is_the_papers_formula() -> None:
    first, second = np.random.default_rng(1).normal(size=(2, 6, 3))

    def spread(z: np.ndarray) -> float:
        covariance = np.cov(z, rowvar=False)
        deviations = np.sqrt(np.diag(covariance) + 1e-4)
        off = sum(covariance[i, j] ** 2 for i in range(3) for j in range(3) if i != j) / 3
        return float(25 * np.maximum(0, 1 - deviations).mean() + off)

    expected = 25 * np.mean((first - second) ** 2) + spread(first) + spread(second)
    assert float(vicreg(torch.from_numpy(first), torch.from_numpy(second))) == pytest.approx(expected, rel=1e-9)


def test_a_feature_that_hardly_varies_is_not_blown_up() -> None:
    values = torch.randn(50, 3)
    values[:, 2] = 0.5
    assert standardisation(values)[1][2] >= standardisation(values)[1].median() / 10


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (head("hinge"), r"contrast='hinge'.*softmax, sigmoid"),
        (two_views("byol"), r"agreement='byol'.*nt_xent, vicreg"),
        (
            lambda data: Autoencoder(data, decoder=[8], **CONVNET, **TRAINING),
            r"decoder=\[8\].*map of 1 pixels into 2; wanted 32",
        ),
        (
            lambda data: Categories(data, **{**CONVNET, "architecture": "resnet19"}, **TRAINING),
            r"architecture='resnet19'",
        ),
        (
            lambda data: Categories(data, **{**CONVNET, "options": {"wings": 2}}, **TRAINING),
            r"resnet18.*options=\{'wings': 2\}",
        ),
    ],
)
def test_a_wrong_setting_is_named(
    make: Callable[[PretrainingData], Objective], told: str, data: PretrainingData
) -> None:
    with pytest.raises(VlmatchError, match=told):
        make(data)


def test_the_towers_config_is_plain_json_of_siglips_kind(data: PretrainingData, tmp_path: Path) -> None:
    objective = OBJECTIVES["siglip, vit"](data)
    objective.write(tmp_path)
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    assert config["model_cfg"]["vision_cfg"]["image_size"] == SIZE
    assert config["model_cfg"]["text_cfg"]["vocab_size"] == len(objective.tokenizer)
    assert config["preprocess_cfg"]["fill_color"] == 255
