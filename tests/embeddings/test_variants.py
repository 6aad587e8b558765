"""Several layers from one forward pass are stored as each is when it is asked for alone, and a killed run goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import made_vlms
from encoders.test_transformers_models import save
from misbehaving import trainer_of
from vlmatch.embeddings import variants as module
from vlmatch.embeddings.embed import embed
from vlmatch.embeddings.measured import read_measured
from vlmatch.embeddings.store import FILE, Shards, Store
from vlmatch.embeddings.variants import embed_variants
from vlmatch.errors import VlmatchError
from vlmatch.machine.waiting import locked
from vlmatch.probes.pairs import ProbeSet
from vlmatch.settings.buildable import EncoderSettings, LlmSettings


@pytest.fixture(params=["encoder", "llm"])
def several(request: pytest.FixtureRequest, tmp_path: Path) -> list[Any]:
    """Settings of one tiny model with four choices of layer and pooling."""
    if request.param == "encoder":
        save(tmp_path / "model", "dinov2")
        target = "vlmatch.encoders.transformers_models.TransformersEncoder"
        values = {"_target_": target, "name": "tower", "checkpoint": str(tmp_path / "model")}
        encoder = EncoderSettings.of("encoder", values)
        choices = [(1, "paper"), (3, "vlm_input"), (-1, "paper"), (2, "grid2")]
        return [encoder.changed(layer=layer, feature=feature) for layer, feature in choices]
    made_vlms.tiny_llm(tmp_path / "model")
    values = {"name": "tiny", "repository": str(tmp_path / "model")}
    llm = LlmSettings.of("llm", {"_target_": "vlmatch.llms.language_model.LanguageModel", **values})
    choices = [(1, "last"), (-2, "last"), (2, "mean"), (0, "mean_after_first")]
    return [llm.changed(layer=layer, pooling=pooling) for layer, pooling in choices]


def test_each_is_what_it_is_alone(several: list[Any], pictures: ProbeSet, tmp_path: Path) -> None:
    together = embed_variants(several, pictures, Store(tmp_path / "together"), trainer_of(), progress=False)
    for settings, found in zip(several, together, strict=True):
        alone, _ = embed(settings, pictures, Store(tmp_path / "alone"), trainer_of(), progress=False)
        np.testing.assert_allclose(found.array, alone.array, rtol=1e-5, atol=1e-5)
        same = ("fingerprint", "spec", "dimension", "rule", "weights_sha256", "preprocessing", "licence", "control")
        assert all(getattr(found.header, key) == getattr(alone.header, key) for key in same)
        again, cost = embed(settings, pictures, Store(tmp_path / "together"), trainer_of(), progress=False)
        assert cost.items == 0
        measured, own = cost.measured, read_measured(Store(tmp_path / "alone"), alone.header.spec)
        assert (measured.items, measured.gflops, measured.tokens) == (own.items, own.gflops, own.tokens)
        np.testing.assert_array_equal(again.array, found.array)


def test_only_what_the_store_lacks_is_computed(
    several: list[Any], pictures: ProbeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, passes = Store(tmp_path / "store"), []
    original = module.predict_missing

    def counted(model: Any, *arguments: Any, **options: Any) -> None:
        passes.append(len(model.wanted))
        original(model, *arguments, **options)

    monkeypatch.setattr(module, "predict_missing", counted)
    first = embed_variants(several, pictures, store, trainer_of(), progress=False)
    embed_variants(several, pictures, store, trainer_of(), progress=False)
    assert passes == [4]
    (store.folder(first[1].header.spec) / FILE).unlink()
    embed_variants(several, pictures, store, trainer_of(), progress=False)
    assert passes == [4, 1]
    assert not list((tmp_path / "store").rglob("shards"))


def test_a_killed_run_goes_on_where_it_was(
    several: list[Any], pictures: ProbeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = embed_variants(several, pictures, Store(tmp_path / "whole"), trainer_of(), progress=False)
    written: list[int] = []
    original = Shards.write

    def killed(self: Shards, shard: int, array: Any) -> None:
        if shard == 2:
            raise KeyboardInterrupt
        written.append(shard)
        original(self, shard, array)

    with monkeypatch.context() as patch:
        patch.setattr(Shards, "write", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            embed_variants(several, pictures, Store(tmp_path / "killed"), trainer_of(), progress=False)
    assert written == [0, 1]
    monkeypatch.setattr(
        Shards, "write", lambda self, shard, array: (written.append(shard), original(self, shard, array))
    )
    again = embed_variants(several, pictures, Store(tmp_path / "killed"), trainer_of(), progress=False)
    assert written == [0, 1, 2]
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one.array, other.array)


def test_a_killed_run_for_other_layers_leaves_nothing(several: list[Any], pictures: ProbeSet, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "header_of", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            embed_variants(several, pictures, store, trainer_of(), progress=False)
    assert len(list(store.root.rglob("shards"))) == 1
    embed_variants(several[:2], pictures, store, trainer_of(), progress=False)
    assert not list(store.root.rglob("shards"))


def test_what_another_process_computed_meanwhile_is_read(
    several: list[Any], pictures: ProbeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, original, passes = Store(tmp_path / "store"), module.predict_missing, []

    @contextmanager
    def waited_for(path: Path, what: str) -> Iterator[None]:
        """The lock, which another process held until it had embedded what the store lacked."""
        monkeypatch.setattr(module, "locked", locked)
        embed_variants(several[:3], pictures, store, trainer_of(), progress=False)
        with locked(path, what):
            yield

    monkeypatch.setattr(
        module, "predict_missing", lambda *given, **own: passes.append(given) or original(*given, **own)
    )
    monkeypatch.setattr(module, "locked", waited_for)
    embed_variants(several, pictures, store, trainer_of(), progress=False)
    assert [len(together.wanted) for together, *_ in passes] == [3, 1]


@pytest.mark.parametrize("wrong", [{"layer": 9}, {"pooling": "median", "feature": "median"}])
def test_what_the_model_lacks_is_refused_though_it_is_not_the_first(
    several: list[Any], pictures: ProbeSet, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    keys = {key: value for key, value in wrong.items() if key in type(several[0]).model_fields}
    with pytest.raises(VlmatchError, match=r"layer=9.* it has|(feature|pooling)='median' is unknown"):
        embed_variants([several[0], several[1].changed(**keys)], pictures, Store(tmp_path), trainer_of())


def test_a_layer_must_be_given(pictures: ProbeSet, tmp_path: Path) -> None:
    with pytest.raises(VlmatchError, match="layer=null; give a layer"):
        embed_variants(
            [made_vlms.encoder(_target_="vlmatch.encoders.controls.Blind")], pictures, Store(tmp_path), trainer_of()
        )
