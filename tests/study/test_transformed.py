"""Block 1's encoders: the components against scikit-learn, what each promises, and noise that stays the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from scipy.linalg import sqrtm
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

from misbehaving import compute
from study.pretraining.made_data import drawn
from vlmatch.cli import run_task
from vlmatch.configs import composed, yaml_path
from vlmatch.embeddings.store import Store
from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.objects import admitted, build
from vlmatch.probes.items import Split
from vlmatch.probes.pairs import ProbeSet
from vlmatch_study.principal_components import PrincipalComponents

WIDTH = 48  # of a thumbnail's feature
PICTURES = {"_target_": "misbehaving.Thumbnail", "name": "t"}


@pytest.fixture
def features(random: np.random.Generator) -> np.ndarray:
    """200 training features of a thumbnail's width, whose dimensions are correlated."""
    mixed = (
        random.standard_normal((200, WIDTH)) @ random.standard_normal((WIDTH, WIDTH)) * 9 + random.random(WIDTH) * 255
    )
    return mixed.astype(np.float32)


@pytest.fixture
def checkpoint(features: np.ndarray, tmp_path: Path) -> str:
    PrincipalComponents.fit(features).write(tmp_path / "t.safetensors", {"encoder": "t"})
    return str(tmp_path / "t.safetensors")


def linear(checkpoint: str, components: int | None, **changes: Any) -> dict[str, Any]:
    target = "vlmatch_study.transformed.LinearTransform"
    own = {"_target_": target, "name": "t_changed", "parts": [PICTURES], "checkpoint": checkpoint}
    return {**own, "components": components, **changes}


def noise(checkpoint: str, seed: int = 0) -> dict[str, Any]:
    target = "vlmatch_study.transformed.GaussianNoise"
    return {"_target_": target, "name": f"t_noise{seed}", "checkpoint": checkpoint, "seed": seed}


def combined(config: dict[str, Any], features: np.ndarray) -> np.ndarray:
    return build({**config, "parts": []}).combine([torch.from_numpy(features)]).numpy()


def test_components_are_those_of_scikit_learn(features: np.ndarray) -> None:
    ours, theirs = PrincipalComponents.fit(features), PCA(svd_solver="full").fit(features.astype(float))
    np.testing.assert_allclose(ours.mean, theirs.mean_)
    np.testing.assert_allclose(ours.variances, theirs.explained_variance_)
    np.testing.assert_allclose(ours.components, theirs.components_, atol=1e-9)


def test_whitening_is_the_inverse_square_root_of_ledoit_and_wolfs_covariance(
    features: np.ndarray, checkpoint: str
) -> None:
    values = features.astype(float)
    root = np.linalg.inv(sqrtm(LedoitWolf().fit(values).covariance_))
    found = combined(linear(checkpoint, None), features)
    np.testing.assert_allclose(found, (values - values.mean(axis=0)) @ root, rtol=0.01, atol=0.01)  # n / (n - 1)


def test_with_many_pictures_whitened_features_have_covariance_one(random: np.random.Generator) -> None:
    many = random.standard_normal((20_000, 6)) @ random.standard_normal((6, 6)) + 3
    found = PrincipalComponents.fit(many).whitened(many)
    np.testing.assert_allclose(np.cov(found.T), np.eye(6), atol=0.02)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-9)


def test_ten_components_are_scikit_learns_projection(features: np.ndarray, checkpoint: str) -> None:
    theirs = PCA(10, svd_solver="full").fit(features.astype(float)).transform(features)
    found = combined(linear(checkpoint, 10), features)
    np.testing.assert_allclose(found, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def test_too_few_pictures_have_a_component_less_and_only_shrinking_keeps_their_distances(features: np.ndarray) -> None:
    few = features[:20]
    fitted = PrincipalComponents.fit(few)
    assert fitted.components.shape == (19, WIDTH)
    kept, lost = (replace(fitted, shrunk=each).whitened(few) for each in (fitted.shrunk, fitted.variances))
    distances, equal = (np.linalg.norm(each[:, None] - each, axis=2)[~np.eye(20, dtype=bool)] for each in (kept, lost))
    np.testing.assert_allclose(equal, equal[0], rtol=1e-6)
    assert distances.std() > 0.05 * distances.mean()


def test_components_that_single_precision_hardly_resolves_are_left_out(features: np.ndarray) -> None:
    flat = features.copy()
    flat[:, 3] = flat[:, 4]
    assert len(PrincipalComponents.fit(flat).variances) == WIDTH - 1
    with pytest.raises(VlmatchError, match="5 features of width 48 have no variance"):
        PrincipalComponents.fit(features[[0] * 5])


def test_an_equal_fit_is_an_equal_file(features: np.ndarray, checkpoint: str, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    PrincipalComponents.fit(features.copy()).write(again, {"encoder": "t"})
    assert again.read_bytes() == Path(checkpoint).read_bytes()


def test_embedded_and_computed_from_images_are_the_same(pictures: ProbeSet, checkpoint: str, tmp_path: Path) -> None:
    for config in (linear(checkpoint, None), linear(checkpoint, 10), noise(checkpoint)):
        stored, _ = compute(config, pictures, Store(tmp_path / "store"))
        with admitted("misbehaving."):
            encoder = build(config)
        batch = encoder.collate([encoder.prepare(pictures.image(row)) for row in range(len(pictures))])
        with torch.inference_mode():
            np.testing.assert_allclose(stored.array, encoder(batch), rtol=1e-4, atol=1e-3)
            tokens = encoder.tokens(batch)
        np.testing.assert_allclose(tokens[:, 0], stored.array, rtol=1e-4, atol=1e-3)
        assert stored.header.about == type(stored.header.about).of(encoder)
        assert stored.header.control == (config["name"] == "t_noise0")
    assert stored.header.rule == "noise"


def test_the_components_are_part_of_the_weights_and_of_the_stored_key(
    pictures: ProbeSet, features: np.ndarray, checkpoint: str, tmp_path: Path
) -> None:
    for config in (linear(checkpoint, None), noise(checkpoint)):
        before, _ = compute(config, pictures, Store(tmp_path / "store"))
        other = tmp_path / "other.safetensors"
        PrincipalComponents.fit(features[:150]).write(other, {"encoder": "t"})
        after, _ = compute({**config, "checkpoint": str(other)}, pictures, Store(tmp_path / "store"))
        assert before.header.fingerprint != after.header.fingerprint
        assert before.header.weights_sha256 != after.header.weights_sha256


def test_noise_has_the_mean_and_covariance_of_the_features(features: np.ndarray, random: np.random.Generator) -> None:
    fitted = PrincipalComponents.fit(features)
    drawn_noise = fitted.coloured(random.standard_normal((40_000, WIDTH)))
    covariance = np.cov(features.astype(float).T)
    np.testing.assert_allclose(np.cov(drawn_noise.T), covariance, atol=0.03 * covariance.max())
    np.testing.assert_allclose(drawn_noise.mean(axis=0), fitted.mean, atol=0.03 * np.sqrt(covariance.max()))


def test_noise_is_the_pictures_own_in_every_batch_and_order(
    pictures: ProbeSet, checkpoint: str, tmp_path: Path
) -> None:
    first, _ = compute(noise(checkpoint), pictures, Store(tmp_path / "a"))
    turned = type(pictures)("turned", pictures.pairs[::-1], pictures.counts)
    other, _ = compute(noise(checkpoint), turned, Store(tmp_path / "b"), batch_size=4)
    np.testing.assert_array_equal(first.array, other.array[::-1])
    another, _ = compute(noise(checkpoint, seed=1), pictures, Store(tmp_path / "a"))
    assert np.abs(np.corrcoef(first.array.ravel(), another.array.ravel())[0, 1]) > 0.1, "both have the mean"
    residuals = [np.ravel(each.array - PrincipalComponents.read("t", checkpoint).mean) for each in (first, another)]
    assert abs(np.corrcoef(*residuals)[0, 1]) < 0.15


def test_pictures_that_differ_in_one_pixel_have_unrelated_noise(pictures: ProbeSet, checkpoint: str) -> None:
    encoder, picture = build(noise(checkpoint)), pictures.image(0)
    changed = picture.copy()
    changed.putpixel((0, 0), (254, 255, 255))
    first, second, again = (encoder.prepare(each) for each in (picture, changed, picture.copy()))
    assert torch.equal(first, again)
    assert not torch.isclose(first, second).any()


def test_what_does_not_fit_is_one_line(checkpoint: str, tmp_path: Path, features: np.ndarray) -> None:
    narrow = tmp_path / "narrow.safetensors"
    PrincipalComponents.fit(features[:, :5]).write(narrow, {})
    with admitted("misbehaving."):
        for config, message in (
            (linear(checkpoint, None, feature="vlm_input"), "components were fitted on 'paper' only"),
            (linear(checkpoint, 49), "components=49; its checkpoint has 48"),
            (linear(checkpoint, 10, parts=[PICTURES, PICTURES]), "2 parts; wanted one"),
        ):
            with pytest.raises(VlmatchError, match=message):
                build(config)
        with pytest.raises(VlmatchError, match="gives 48 numbers, its components take 5"):
            combined(linear(str(narrow), 2), features)
        with pytest.raises(NotHereError, match="does not exist"):
            build(noise(str(tmp_path / "nowhere.safetensors")))


def made_split(folder: str, others: str) -> Split:
    """Twelve pictures in each of two shares to train on, and in one that no transform may see."""
    shares = [("clipart", "vlm_a"), ("emoji_google", "vlm_b"), ("stamps", "benchmarks")]
    items = [item for source, share in shares for item in drawn(Path(folder) / share, source, share)]
    if others == "changed":
        for item in items:
            if item.share != "vlm_a":
                item.image.write_bytes(items[0].image.read_bytes())
    return Split(tuple(items))


@pytest.fixture(scope="module")
def task() -> DictConfig:
    """`task=transform` for the encoder `pixels16`."""
    return composed("task=transform", "~split", "task.encoders=${vlmatch.configs:encoder,[pixels16]}")


def fit(task: DictConfig, folder: Path, data: str = "vlm_a", others: str = "as drawn") -> Path:
    """Run the task on a made-up split; the file that it wrote."""
    folder.mkdir()
    split = {"_target_": "study.test_transformed.made_split", "folder": str(folder), "others": others}
    config = OmegaConf.merge(task, {"store": str(folder / "store"), "recipe": {"data": data}})
    with admitted("study.test_transformed."), open_dict(config):
        config.split = split
        run_task(config)
    return folder / "store" / "transforms" / data / "pixels16.safetensors"


def test_the_fit_sees_the_training_pictures_alone(task: DictConfig, tmp_path: Path) -> None:
    first, other = fit(task, tmp_path / "first"), fit(task, tmp_path / "other", others="changed")
    assert first.read_bytes() == other.read_bytes()
    assert len(PrincipalComponents.read("x", str(first)).variances) <= 11
    assert fit(task, tmp_path / "both", "vlm_a+vlm_b").read_bytes() != first.read_bytes()


def test_each_of_the_four_encoders_has_its_three_variants_where_the_task_writes_them() -> None:
    task, seeds = OmegaConf.load(yaml_path("task", "transform")), set()
    text = OmegaConf.to_container(task)["encoders"]
    named = text[text.index("[") + 1 : text.index("]")].split(",")
    for name in named:
        for variant, components in (("whitened", None), ("pca10", 10), ("noise", None)):
            found = OmegaConf.to_container(OmegaConf.load(yaml_path("encoder", f"{name}_{variant}")))
            folder = OmegaConf.to_container(task)["folder"].replace("recipe.data", "oc.select:recipe.data")
            assert found["checkpoint"] == f"{folder}/{name}.safetensors"
            assert found["name"] == f"{name}_{variant}"
            if variant == "noise":
                seeds.add(found["seed"])
            else:
                assert found["parts"] == f"${{vlmatch.configs:encoder,[{name}]}}"
                assert found["components"] == components
    assert len(seeds) == len(named) == 4


def test_block_1_trains_each_encoder_as_it_is_and_in_three_variants() -> None:
    params = OmegaConf.load(yaml_path("experiment", "block1")).hydra.sweeper.params
    trained = [each.strip() for each in params.encoder.split(",")]
    names = ("efficientnet_lite1", "efficientnet_lite0", "open_nsfw", "craft_vgg16_bn")
    assert trained == [name + variant for name in names for variant in ("", "_whitened", "_pca10", "_noise")]
    assert all(yaml_path("encoder", name) for name in trained)
