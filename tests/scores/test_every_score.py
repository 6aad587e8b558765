"""What every score listed in conf/score must do; a new score joins by being listed there."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from vlmatch import paths
from vlmatch.encoders.spec_sheet import SpecSheet
from vlmatch.errors import VlmatchError
from vlmatch.geometry import PairedGeometry
from vlmatch.scores.base import USES, Score, ScoreResult

LOOSER = {
    **dict.fromkeys(
        ("gw", "gw_best", "gw_identity"), 1e-2
    ),  # ties in an assignment are broken by the order of the points
    "gw_centred": 1e-2,
    "ridge_retrieval": 0.2,
    "ridge_r2": 0.1,  # the order of the pairs decides which share a fold
}


def listed() -> Iterator[tuple[str, Score]]:
    for path in sorted((paths.conf() / "score").glob("*.yaml")):
        for key, config in OmegaConf.load(path).items():
            yield str(key), instantiate(config)


SCORES = dict(listed())
SPEC = SpecSheet(True, 1000, 1.5, 30, 196, 224, 70.5)
RECOVERS_THE_PAIRING = {"gw_best", "gw_identity"}  # a twin is found even when shuffled

every_score = pytest.mark.parametrize("key", SCORES)


def labels_of(n: int) -> list[str | None]:
    return ["cat" if row % 3 else "dog" if row % 2 else None for row in range(n)]


def paired(images: np.ndarray, captions: np.ndarray, labels: list[str | None] | None = None) -> PairedGeometry:
    return PairedGeometry.angular(images, captions, spec=SPEC, labels=labels or labels_of(len(images)))


def clusters(n: int, d: int, seed: int) -> np.ndarray:
    """Embeddings as models give them: groups, a shared offset, and fewer main directions than dimensions."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(6, 8))
    hidden = centres[random.integers(6, size=n)] + 0.5 * random.normal(size=(n, 8))
    return hidden @ random.normal(size=(8, d)) + 0.1 * random.normal(size=(n, d)) + 1


def near_twins(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A space, and the same space turned by a random rotation and slightly disturbed."""
    random = np.random.default_rng(seed)
    images = clusters(n, 20, seed)
    turn, _ = np.linalg.qr(random.normal(size=(20, 20)))
    return images, images @ turn + 0.01 * random.normal(size=images.shape)


@every_score
def test_it_declares_how_to_read_it(key: str) -> None:
    score = SCORES[key]
    assert score.title
    assert score.version >= 1
    assert isinstance(score.higher_is_better, bool)
    assert list(score.uses) == [word for word in USES if word in score.uses]
    assert score.uses
    assert (type(score).__doc__ or "").count(".") >= 2  # what it is, its source, its range and cost


@every_score
def test_random_embeddings_get_a_finite_number_twice_the_same(key: str) -> None:
    pair = paired(clusters(90, 30, 1), clusters(90, 12, 2))
    first, second = SCORES[key](pair), SCORES[key](pair)
    assert isinstance(first, ScoreResult)
    assert isinstance(first.value, float)
    assert math.isfinite(first.value)
    assert first.value == second.value
    for value in first.details.values():
        assert isinstance(value, float | int | str)
        assert not isinstance(value, np.generic | np.ndarray) or isinstance(value, float)


@every_score
def test_relabelling_the_pairs_changes_nothing(key: str, random: np.random.Generator) -> None:
    images, captions = clusters(120, 30, 3), clusters(120, 12, 3)
    order = random.permutation(120)
    labels = labels_of(120)
    moved = paired(images[order], captions[order], [labels[row] for row in order])
    before, after = SCORES[key](paired(images, captions, labels)), SCORES[key](moved)
    assert after.value == pytest.approx(before.value, rel=LOOSER.get(key, 1e-9))


@every_score
def test_float32_and_float64_agree(key: str) -> None:
    images, captions = clusters(90, 30, 5), clusters(90, 12, 5)
    single = SCORES[key](paired(images.astype(np.float32), captions.astype(np.float32)))
    assert single.value == pytest.approx(SCORES[key](paired(images, captions)).value, rel=max(1e-4, LOOSER.get(key, 0)))


@every_score
def test_it_prefers_a_twin_to_a_stranger_if_it_knows_the_pairing(key: str, random: np.random.Generator) -> None:
    score = SCORES[key]
    images, twin = near_twins(200)
    twins, strangers = score(paired(images, twin)), score(paired(images, twin[random.permutation(200)]))
    if key in RECOVERS_THE_PAIRING:
        assert twins.value <= strangers.value * (1 + 1e-9)
    elif "pairing" in score.uses:
        assert (twins.value > strangers.value) == score.higher_is_better
        assert twins.value != pytest.approx(strangers.value, rel=0.1)
    else:
        assert strangers.value == pytest.approx(twins.value, rel=LOOSER.get(key, 1e-9))


def one_hot() -> np.ndarray:
    return np.eye(30)


def duplicated() -> np.ndarray:
    return np.repeat(clusters(6, 9, 7), 5, axis=0)


def on_a_line() -> np.ndarray:
    return np.where(np.arange(30) % 2, 1.0, -1.0)[:, None]


def barely_apart() -> np.ndarray:
    return 1 + 1e-5 * clusters(30, 9, 8)


def huge() -> np.ndarray:
    return 1e30 * clusters(30, 9, 9)


def tiny() -> np.ndarray:
    return 1e-30 * clusters(30, 9, 10)


def with_constant_dimensions() -> np.ndarray:
    return np.hstack([clusters(30, 4, 11), np.ones((30, 5))])


def constant() -> np.ndarray:
    return np.ones((30, 9))


DEGENERATE = (one_hot, duplicated, on_a_line, barely_apart, huge, tiny, with_constant_dimensions, constant)


@every_score
@pytest.mark.parametrize("images", DEGENERATE)
@pytest.mark.parametrize("captions", [lambda: clusters(30, 9, 12), one_hot, on_a_line, duplicated])
def test_degenerate_embeddings_get_a_finite_number_or_one_line(key: str, images, captions) -> None:
    finite_or_one_line(key, images(), captions())


@every_score
@pytest.mark.parametrize("n", [2, 3, 4, 9, 11, 13])
def test_few_pairs_get_a_finite_number_or_one_line(key: str, n: int) -> None:
    finite_or_one_line(key, clusters(n, 9, 13), clusters(n, 5, 14))
    finite_or_one_line(key, clusters(n, 1, 13) ** 2, clusters(n, 5, 14))


def finite_or_one_line(key: str, images: np.ndarray, captions: np.ndarray) -> None:
    user_message = None
    try:
        value = SCORES[key](paired(images, captions)).value
    except VlmatchError as error:
        user_message = str(error)
    if user_message is None:
        assert math.isfinite(value)
    else:
        assert "wanted" in user_message
        assert "\n" not in user_message
