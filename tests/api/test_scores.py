"""Two arrays scored without Hydra, store or torch; bad arrays are one line each."""

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import vlmatch
from vlmatch.api.defaults import default_scores
from vlmatch.configs import composed
from vlmatch.geometry import PairedGeometry
from vlmatch.scores.cka import CKA
from vlmatch.scores.mutual_nn import MutualNN

N = 24
LABELS = ["cat", "dog"] * (N // 2)
SPEC_SCORES = ("language_supervised", "width", "tokens", "parameters", "flops", "resolution", "zero_shot")
SPEC = vlmatch.SpecSheet(True, 7, 1.5, 30, 196, 224, 70.5)


@pytest.fixture
def arrays(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of images and captions that share half their dimensions."""
    captions = random.normal(size=(N, 6))
    return np.hstack([captions[:, :3], random.normal(size=(N, 4))]), captions


def test_every_score_of_the_command_line_is_given_by_name(arrays: Any) -> None:
    found = vlmatch.score(*arrays, labels=LABELS, spec=SPEC)
    assert list(found) == default_scores() == list(composed().score)
    assert found["parameters"] == SPEC.parameters
    assert found["cka"] == CKA()(PairedGeometry.angular(*arrays)).value
    assert found.details("gw")["converged"] == "yes"
    assert all(name in repr(found) for name in found)


def test_without_a_size_its_baseline_is_left_out_or_asked_for(arrays: Any) -> None:
    assert list(vlmatch.score(*arrays)) == [name for name in default_scores() if name not in SPEC_SCORES]
    with pytest.raises(vlmatch.VlmatchError, match="parameters=None"):
        vlmatch.score(*arrays, ["parameters"])


def test_scores_are_chosen_by_name_settings_or_object(arrays: Any) -> None:
    settings = {"_target_": "vlmatch.scores.mutual_nn.MutualNN", "k": 3}
    found = vlmatch.score(*arrays, {"mine": MutualNN(k=3), "theirs": settings})
    assert found["mine"] == found["theirs"]
    assert list(vlmatch.score(*arrays, ["rsa", "cka"])) == ["rsa", "cka"]
    assert list(vlmatch.score(*arrays, "rsa")) == ["rsa"]


@pytest.mark.parametrize(
    "convert",
    [
        lambda array: array.tolist(),
        lambda array: torch.tensor(array, requires_grad=True),
        lambda array: torch.tensor(array).T.contiguous().T,
    ],
)
def test_lists_and_tensors_give_the_same_numbers(arrays: Any, convert: Callable[[np.ndarray], Any]) -> None:
    images, captions = arrays
    expected = vlmatch.score(images, captions, ["gw_paired", "cka"])
    assert dict(vlmatch.score(convert(images), convert(captions), ["gw_paired", "cka"])) == pytest.approx(
        dict(expected), rel=1e-12
    )


def test_half_precision_tensors_are_taken(arrays: Any) -> None:
    images, captions = (torch.tensor(array, dtype=torch.bfloat16) for array in arrays)
    expected = vlmatch.score(images.float().numpy(), captions.float().numpy(), ["cka"])
    assert vlmatch.score(images, captions, ["cka"])["cka"] == expected["cka"]


def with_nan(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[3, 1] = np.nan
    return array


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda images, captions: (images[1:], captions), [f"{N - 1} image", f"{N} text"]),
        (lambda images, captions: (images[:1], captions[:1]), ["image embeddings", "(1, 7)", "n >= 2"]),
        (lambda images, captions: (with_nan(images), captions), ["image embeddings", "NaN", "row 3"]),
        (lambda images, captions: (images, captions[0]), ["text embeddings", "(6,)"]),
        (lambda images, captions: (images[None], captions), ["image embeddings", f"(1, {N}, 7)"]),
        (lambda images, captions: (images.astype(object), captions), ["image embeddings", "dtype object"]),
        (lambda images, captions: (images.astype(str), captions), ["image embeddings", "dtype <U"]),
        (lambda images, captions: (images + 1j, captions), ["image embeddings", "dtype complex128"]),
        (lambda images, captions: ([[1.0], [1.0, 2.0]], captions), ["image embeddings", "n x d numbers"]),
        (lambda images, captions: (0 * images, captions), ["image embeddings", "all zeros"]),
        (lambda images, captions: (None, captions), ["image embeddings", "dtype object"]),
    ],
)
def test_arrays_that_are_no_pairs_are_one_line(arrays: Any, change: Any, parts: list[str]) -> None:
    with pytest.raises(vlmatch.VlmatchError) as caught:
        vlmatch.score(*change(*arrays))
    message = str(caught.value)
    assert all(part in message for part in parts)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("scores", "parts"),
    [
        ([], ["scores"]),
        (["gww"], ["score='gww'", "gw"]),
        ({"mine": 3}, ["mine", "3"]),
        ({"mine": {"k": 3}}, ["mine", "_target_"]),
        ({"mine": {"_target_": "vlmatch.scores.mutual_nn.MutualNN", "q": 3}}, ["mine", "'q'"]),
        ({"mine": {"_target_": "os.system", "command": "true"}}, ["os.system"]),
        ({"mine": {"_target_": "vlmatch.scores.mutual_nn.MutualNN", "k": 0}}, ["k=0"]),
    ],
)
def test_a_score_that_is_none_is_one_line(arrays: Any, scores: Any, parts: list[str]) -> None:
    with pytest.raises(vlmatch.VlmatchError) as caught:
        vlmatch.score(*arrays, scores)
    assert all(part in str(caught.value) for part in parts)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert "is not a score" not in str(caught.value) or "k=0" not in str(caught.value), "the option at fault is named"


def in_a_new_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_scoring_loads_no_framework() -> None:
    code = (
        "import sys, numpy, vlmatch\n"
        "vlmatch.score(numpy.eye(20) + .1, numpy.eye(20)[::-1] + .2, ['cka', 'mutual_nn', 'gw_paired'])\n"
        "vlmatch.gromov_wasserstein\n"
        "print([name for name in sys.modules if '.' not in name])"
    )
    loaded = set(re.findall(r"'(\w+)'", in_a_new_process(code)))
    assert not loaded & {"torch", "hydra", "mlflow", "lightning", "pytorch_lightning", "dvc", "transformers"}


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys; before = set(sys.modules); import vlmatch; print(len(set(sys.modules) - before))"
    assert int(in_a_new_process(code)) < 40
    assert {"score", "VlmatchError", "NotHereError", "gromov_wasserstein"} <= set(dir(vlmatch))
    assert all(getattr(vlmatch, name) is not None for name in vlmatch.__all__)
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = vlmatch.nothing_of_this_name
