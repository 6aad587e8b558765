"""The spec sheet: from the catalogue, the embeddings' header and the settings they were made with."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vlmatch
from made_rows import header
from misbehaving import compute
from vlmatch.costs.candidate import cost_of
from vlmatch.embeddings.header import Header
from vlmatch.embeddings.store import Store
from vlmatch.encoders.catalogue import catalogue
from vlmatch.encoders.spec_sheet import SpecSheet
from vlmatch.errors import VlmatchError
from vlmatch.probes.pairs import ProbeSet


def test_it_joins_the_catalogue_and_the_embeddings() -> None:
    found = header("encoder", "clip_l336").spec_sheet
    assert found == SpecSheet(True, catalogue()["clip_l336"].image_parameters, 381.9, 4, 576, 336, 76.56)


def test_of_a_stranger_only_what_its_embeddings_say_is_known() -> None:
    assert header("encoder", "mine").spec_sheet == SpecSheet(parameters=1_000_000, width=4)


@pytest.mark.parametrize("n_parameters", [1_000_000, 4_000_000_000])
def test_another_model_of_an_encoders_name_has_nothing_of_its_entry(n_parameters: int) -> None:
    other = replace(header("encoder", "clip_l336"), n_parameters=n_parameters)
    assert other.spec_sheet == SpecSheet(parameters=n_parameters, width=4)
    unsized = replace(other, n_parameters=None)
    assert unsized.spec_sheet == header("encoder", "clip_l336").spec_sheet, "the name alone tells"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"image_size": None}, (4, 576, 336, 381.9)),
        ({"image_size": 336}, (4, 576, 336, 381.9)),
        ({"image_size": 224}, (4, None, 224, None)),
        ({"feature": "grid2"}, (1, 576, 336, 381.9)),
        ({"layer": 12}, (4, None, 336, None)),
    ],
)
def test_settings_that_change_it_count(settings: dict[str, object], expected: tuple[object, ...]) -> None:
    of_clip = header("encoder", "clip_l336")
    found = replace(of_clip, spec=replace(of_clip.spec, settings=settings)).spec_sheet
    assert (found.width, found.tokens, found.resolution, found.gflops) == expected


def test_an_entry_of_one_layer_is_of_that_layer_alone() -> None:
    entry, made = catalogue()["mobilenetv2_layer4"], header("encoder", "mobilenetv2_layer4")
    for layer, gflops in ((4, entry.gflops), (3, None), (None, None)):
        asked = replace(made, spec=replace(made.spec, settings={"layer": layer}))
        assert asked.spec_sheet.gflops == gflops
        assert cost_of(asked).gflops == gflops
        assert asked.spec_sheet.language_supervised is False


def test_a_yaml_states_what_the_catalogue_lacks_and_changes_no_fingerprint(pictures: ProbeSet, tmp_path: Path) -> None:
    plain = {"_target_": "vlmatch.encoders.controls.Pixels", "name": "mine", "size": 4}
    before, _ = compute(plain, pictures, Store(tmp_path))
    assert before.header.spec_sheet.language_supervised is None
    stated, cost = compute({**plain, "language_supervised": True, "tokens": 196}, pictures, Store(tmp_path))
    assert cost.items == 0, "nothing is embedded again"
    assert stated.header.fingerprint == before.header.fingerprint
    assert (stated.header.spec_sheet.language_supervised, stated.header.spec_sheet.tokens) == (True, 196)
    assert Header.from_json(stated.header.to_json()) == stated.header
    assert '"stated"' not in before.header.to_json()
    with pytest.raises(VlmatchError, match=r"language_supervised='perhaps'; wanted true or false"):
        compute({**plain, "name": "other", "language_supervised": "perhaps"}, pictures, Store(tmp_path))


def test_python_takes_what_the_command_line_adds_to_a_yaml() -> None:
    told = vlmatch.encoder("vit_b16_in21k", checkpoint="last.ckpt", name="mine", language_supervised=True, entry="ema")
    assert told.plain().items() >= {"language_supervised": True, "entry": "ema", "name": "mine"}.items()
    with pytest.raises(VlmatchError, match=r"encoder\.languages=True is not a key of encoder=vit_b16_in21k"):
        vlmatch.encoder("vit_b16_in21k", languages=True)


def test_precomputed_embeddings_may_be_stated_and_ranked_with_encoders_of_another_feature(
    pictures: ProbeSet, tmp_path: Path
) -> None:
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).normal(size=(12, 5)))
    plain = {"name": "mine", "path": str(tmp_path / "mine.npy")}
    target = {"_target_": "vlmatch.encoders.precomputed.PrecomputedEncoder"}
    found, _ = compute({**target, **plain, "language_supervised": False, "tokens": 49}, pictures, Store(tmp_path))
    assert (found.header.spec_sheet.language_supervised, found.header.spec_sheet.tokens) == (False, 49)
    asked, _ = compute({**target, **plain, "feature": "mean_patch"}, pictures, Store(tmp_path))
    assert (asked.header.spec.slug, asked.header.rule) == ("mean_patch", "precomputed")
    captions = vlmatch.llm("precomputed", **plain, layer=-1, pooling="mean")
    assert vlmatch.embed(pictures, captions, store=tmp_path).header.spec.slug == "layer-1_mean"
