"""A user's own model is embedded as ours are, and refused in one line where it can't be."""

import random
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vlmatch
from vlmatch.embeddings.own import modules_of
from vlmatch.embeddings.store import FILE

BATCHES = {"batch_size": 5, "shard_size": 5}


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image.resize((4, 4)), dtype=np.float32)).flatten()


def embed(model: Any, **options: Any) -> vlmatch.Embeddings:
    return vlmatch.embed("pictures", model, trainer=BATCHES, progress=False, **options)


def stored_files(here: Path) -> list[Path]:
    return sorted(here.rglob(FILE))


def test_its_rows_are_those_of_the_pairs_and_nothing_is_stored_without_a_version(here: Path) -> None:
    found = embed(vlmatch.own_encoder("mine", pixels, lambda batch: batch * 2))
    pictures = vlmatch.probe("pictures")
    expected = [2 * pixels(pictures.image(row)).numpy() for row in range(len(pictures))]
    np.testing.assert_array_equal(found.array, expected)
    np.testing.assert_array_equal(np.asarray(found), expected)
    assert (found.header.spec.model, found.header.rule, found.header.control) == ("mine", "own features", False)
    assert stored_files(here) == []


def test_with_a_version_it_is_computed_once(here: Path) -> None:
    batches: list[int] = []

    def features(batch: torch.Tensor) -> torch.Tensor:
        batches.append(len(batch))
        return batch

    first = embed(vlmatch.own_encoder("mine", pixels, features, version="2026-11"))
    assert len(stored_files(here)) == 1
    computed = len(batches)
    again = embed(vlmatch.own_encoder("mine", pixels, features, version="2026-11"))
    assert len(batches) == computed
    np.testing.assert_array_equal(first.array, again.array)
    embed(vlmatch.own_encoder("mine", pixels, features, version="2026-12"))
    assert len(batches) > computed


def test_a_second_process_of_a_launcher_reads_what_is_stored_as_the_first_one_does(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = embed(vlmatch.own_encoder("mine", pixels, lambda batch: batch, version="1"))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    found = embed(vlmatch.own_encoder("mine", pixels, lambda batch: pytest.fail("it is computed again"), version="1"))
    np.testing.assert_array_equal(found.array, stored.array)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_several_processes_can_not_share_embeddings_that_are_not_stored(
    here: Path, monkeypatch: pytest.MonkeyPatch, rank: str
) -> None:
    monkeypatch.setenv("LOCAL_RANK", rank)
    with pytest.raises(vlmatch.VlmatchError, match=r"encoder 'mine': version=None.*give it a version"):
        embed(vlmatch.own_encoder("mine", pixels, lambda batch: batch))


class Mine:
    """An object of the user's: two methods, and a torch module that one of them uses."""

    name = "mine_too"

    def __init__(self) -> None:
        self.model = nn.Sequential(nn.Linear(48, 3), nn.Dropout(0.5)).train()

    def prepare(self, image: Image.Image) -> torch.Tensor:
        return pixels(image)

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        return self.model(batch)


TOWER = nn.Linear(48, 3)


class Global:
    """An object whose method uses a module by its global name."""

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        return TOWER(batch)


def test_an_object_with_both_methods_is_enough_and_its_modules_run_without_dropout(here: Path) -> None:
    mine = Mine()
    found = embed(mine)
    assert found.header.spec.model == "mine_too"
    assert found.header.n_parameters == 48 * 3 + 3
    pictures = vlmatch.probe("pictures")
    with torch.no_grad():
        expected = mine.model[0](torch.stack([pixels(pictures.image(row)) for row in range(len(pictures))]))
    np.testing.assert_allclose(found.array, expected.numpy(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_model_in_training_is_as_before_afterwards(here: Path, precision: str, fails: bool) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()).train()
    model[1].eval()  # as frozen statistics are kept
    model(torch.rand(2, 3, 8, 8)).sum().backward()
    tensors = [*model.parameters(), *model.buffers(), *(each.grad for each in model.parameters())]
    before = [(id(each), each.dtype, each.stride(), each.clone()) for each in tensors]

    def features(batch: torch.Tensor) -> torch.Tensor:
        assert not model.training
        return model(batch.to(model[0].weight.dtype))[..., None if fails else slice(None)]

    own = vlmatch.own_encoder("mine", lambda image: pixels(image).reshape(4, 4, 3).permute(2, 0, 1), features)
    with pytest.raises(vlmatch.VlmatchError) if fails else nullcontext():
        vlmatch.embed("pictures", own, trainer={**BATCHES, "precision": precision}, progress=False)
    assert [module.training for module in model] == [True, False, True]
    tensors = [*model.parameters(), *model.buffers(), *(each.grad for each in model.parameters())]
    for each, (same, dtype, stride, values) in zip(tensors, before, strict=True):
        assert (id(each), each.dtype, each.stride()) == (same, dtype, stride)
        torch.testing.assert_close(each, values, rtol=0, atol=0)


def test_convolutions_of_other_dimensions_run_too(here: Path) -> None:
    video = nn.Conv3d(3, 2, (1, 4, 4), stride=4)
    own = vlmatch.own_encoder(
        "mine",
        lambda image: pixels(image).reshape(4, 4, 3).permute(2, 0, 1),
        lambda batch: video(batch[:, :, None]).flatten(1),
    )
    assert embed(own).array.shape == (12, 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_by_default_weights_go_to_the_gpu_and_come_back_and_functions_stay_on_the_cpu(here: Path) -> None:
    model, seen = nn.Linear(48, 3), set()

    def features(batch: torch.Tensor) -> torch.Tensor:
        seen.add((batch.device.type, model.weight.device.type))
        return model(batch)

    vlmatch.embed("pictures", vlmatch.own_encoder("mine", pixels, features), progress=False)
    assert seen == {("cuda", "cuda")}
    assert model.weight.device.type == "cpu"
    vlmatch.embed("pictures", vlmatch.own_encoder("plain", pixels, lambda batch: batch.numpy()), progress=False)
    vlmatch.embed("pictures", vlmatch.own_encoder("mine", pixels, features), trainer="cpu", progress=False)
    assert ("cpu", "cpu") in seen


def test_modules_are_found_wherever_features_gets_them_from() -> None:
    module, mine = nn.Sequential(nn.Linear(2, 2)), Mine()
    assert modules_of(module) == [module]
    assert modules_of(module.forward) == [module]
    assert modules_of(lambda batch: module(batch) * 2) == [module]
    assert modules_of(mine.features) == [mine.model]
    assert modules_of(Global().features) == [TOWER]
    assert modules_of(lambda batch: module[0](module(batch))) == [module]
    assert modules_of(len) == []


def test_an_llm_gets_a_list_of_what_prepare_gave(here: Path) -> None:
    seen: list[Any] = []

    def features(batch: list[list[str]]) -> np.ndarray:
        seen.append(batch)
        return np.array([[len(words), sum(map(len, words))] for words in batch])

    found = embed(vlmatch.own_llm("counts", str.split, features))
    captions = vlmatch.probe("pictures").captions
    assert found.header.spec.kind == "llm"
    np.testing.assert_array_equal(found.array, [[len(c.split()), len(c.replace(" ", ""))] for c in captions])
    assert sum(map(len, seen)) == len(captions) + 2, "the first one is embedded twice, to see whether it is the same"


def test_a_model_of_ours_that_is_built_needs_no_yaml(here: Path) -> None:
    from vlmatch.encoders.controls import Pixels

    built, by_name = embed(Pixels("p", 16)), embed("pixels16")
    np.testing.assert_array_equal(built.array, by_name.array)
    assert [path.parent.parent.name for path in stored_files(here)] == ["pixels16"]


def broken(batch: torch.Tensor) -> torch.Tensor:
    return torch.where(torch.arange(len(batch))[:, None] == 1, torch.nan, batch)


@pytest.mark.parametrize(
    ("prepare", "features", "parts"),
    [
        (pixels, lambda batch: batch[:, :, None], ["(1, 48, 1)", "(n, d)"]),
        (pixels, lambda batch: batch.sum(dim=1), ["(1,)", "(n, d)"]),
        (pixels, lambda batch: batch[:1], ["(1, 48)", "5 items"]),
        (pixels, lambda batch: "features", ["str", "(n, d)"]),
        (pixels, lambda batch: batch * (1 + random.random()), ["gives different results", "picture"]),
        (pixels, lambda batch: batch + 255 * torch.rand_like(batch), ["gives different results", "picture"]),
        (lambda image: pixels(image) * random.random(), lambda batch: batch, ["gives different results", "picture"]),
        (pixels, broken, ["NaN", "red_rectangle.png"]),
        (lambda image: "pixels", lambda batch: batch, ["prepare", "str", "tensor"]),
        (lambda image: torch.zeros(int(pixels(image).sum()) % 1000 + 1), lambda batch: batch, ["prepare", "one shape"]),
    ],
)
def test_what_it_must_not_do_is_one_line(
    here: Path, prepare: Callable[..., Any], features: Callable[..., Any], parts: list[str]
) -> None:
    with pytest.raises(vlmatch.VlmatchError) as caught:
        embed(vlmatch.own_encoder("mine", prepare, features, version="1"))
    message = str(caught.value)
    assert all(part in message for part in ["encoder 'mine'", *parts])
    assert "\n" not in message
    assert stored_files(here) == []


def test_an_llm_whose_answer_changes_is_refused(here: Path) -> None:
    with pytest.raises(vlmatch.VlmatchError, match=r"llm 'mine': embedding the same caption twice"):
        embed(vlmatch.own_llm("mine", str, lambda texts: np.random.rand(len(texts), 3)))  # noqa: NPY002


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"prepare": None}, ["prepare=None"]),
        ({"features": "model"}, ["features='model'"]),
        ({"version": ""}, ["version=''"]),
        ({"version": 3}, ["version=3"]),
        ({"name": "../mine"}, ["encoder.name=", "../mine"]),
    ],
)
def test_arguments_are_checked_when_it_is_made(arguments: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(vlmatch.VlmatchError) as caught:
        vlmatch.own_encoder(**{"name": "mine", "prepare": pixels, "features": abs, **arguments})
    assert all(part in str(caught.value) for part in parts)
