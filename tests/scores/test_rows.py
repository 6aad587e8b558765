"""Stored rows: only of the embeddings in the store, and of the score versions and settings asked for."""

import errno
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from misbehaving import THUMBNAIL, compute
from vlmatch.embeddings.measured import Measured, write_measured
from vlmatch.embeddings.store import FILE, Embeddings, Store, write_array
from vlmatch.errors import VlmatchError
from vlmatch.machine import memory, waiting
from vlmatch.probes.pairs import ProbeSet
from vlmatch.scores import rows
from vlmatch.scores.mutual_nn import MutualNN
from vlmatch.scores.rows import damaged_rows, score_pair, stored_rows
from vlmatch.settings.buildable import ObjectSettings


def score(target: str, **arguments: int) -> ObjectSettings:
    return ObjectSettings.of("score", {"_target_": f"vlmatch.scores.{target}", **arguments})


CONFIGS = {"gw_paired": score("gw_paired.GWPaired"), "mutual_nn": score("mutual_nn.MutualNN", k=3)}


def raises(error: Exception) -> None:
    raise error


@pytest.fixture
def pair(pictures: ProbeSet, tmp_path: Path) -> tuple[Embeddings, Embeddings]:
    """Two embeddings of the same pictures."""
    store = Store(tmp_path)
    return compute(THUMBNAIL, pictures, store)[0], compute({**THUMBNAIL, "name": "u"}, pictures, store)[0]


def test_rows_of_another_version_or_setting_are_left_out(pair, pictures, tmp_path, monkeypatch) -> None:
    store = Store(tmp_path)
    score_pair(*pair, CONFIGS, store)
    assert len(stored_rows(store, pictures.key, CONFIGS)) == 1
    other = {**CONFIGS, "mutual_nn": score("mutual_nn.MutualNN", k=4)}
    assert stored_rows(store, pictures.key, other) == []
    monkeypatch.setattr(MutualNN, "version", MutualNN.version + 1)
    assert stored_rows(store, pictures.key, CONFIGS) == []
    score_pair(*pair, CONFIGS, store)
    assert len(stored_rows(store, pictures.key, CONFIGS)) == 1


def test_equal_embeddings_of_another_spec_are_ranked_without_scoring_again(pair, pictures, tmp_path) -> None:
    """As of a checkpoint that was copied: its time is another, its features are not."""
    store = Store(tmp_path)
    row = score_pair(*pair, CONFIGS, store)
    images, captions = pair
    spec = replace(images.header.spec, version=images.header.spec.version + 1)
    again = Embeddings(images.array, replace(images.header, spec=spec, fingerprint=spec.fingerprint))
    write_array(store.folder(spec) / FILE, again.array, {"header": again.header.to_json()})
    assert stored_rows(store, pictures.key, CONFIGS) == []
    assert score_pair(again, captions, CONFIGS, store).scores == row.scores
    (found,) = stored_rows(store, pictures.key, CONFIGS)
    assert found.image == again.header


def test_the_same_features_of_an_encoder_of_another_size_are_scored_again(pair, tmp_path) -> None:
    store, configs = Store(tmp_path), {"parameters": score("spec_sheet.Parameters")}
    images, captions = pair
    score_pair(images, captions, configs, store)
    larger = replace(images, header=replace(images.header, n_parameters=2_000_000))
    assert score_pair(larger, captions, configs, store).scores["parameters"].value == 2_000_000


def test_tokens_and_flops_that_nobody_states_are_as_counted_while_embedding(pair, pictures, tmp_path) -> None:
    store, configs = (
        Store(tmp_path),
        {name: score(f"spec_sheet.{name.title()}") for name in ("tokens", "flops", "width")},
    )
    images, captions = pair
    write_measured(store, images.header.spec, Measured(12, 1.0, "a chip"))
    assert list(score_pair(images, captions, configs, store).scores) == ["width"]
    write_measured(store, images.header.spec, Measured(12, 1.0, "a chip", gflops=2.5, tokens=25))
    row = score_pair(images, captions, configs, store)
    assert (row.scores["tokens"].value, row.scores["flops"].value) == (25, 2.5)
    assert stored_rows(store, pictures.key, configs) == [row]
    stated = replace(images, header=replace(images.header, spec=replace(images.header.spec, stated={"tokens": 9})))
    assert score_pair(stated, captions, configs, store).scores["tokens"].value == 9


def test_embeddings_that_have_no_angles_are_named(pair, tmp_path) -> None:
    images, captions = pair
    flat = replace(images, array=np.ones_like(images.array))
    with pytest.raises(VlmatchError, match=f"^{images.header.spec.model} x {captions.header.spec.model}: image emb"):
        score_pair(flat, captions, CONFIGS, None)


def test_a_score_that_is_not_defined_for_a_pair_is_left_out_with_its_reason(pair, pictures, tmp_path) -> None:
    store = Store(tmp_path)
    many, zero_shot = score("mutual_nn.MutualNN", k=50), score("spec_sheet.ZeroShot")
    configs = {**CONFIGS, "many": many, "zero_shot": zero_shot}
    row = score_pair(*pair, configs, store)
    assert list(row.scores) == list(CONFIGS)
    assert "12 pairs, wanted at least 52" in row.left_out["many"].reason
    assert row.left_out["zero_shot"].reason == "'zero_shot' of the encoder is not known"
    assert stored_rows(store, pictures.key, configs) == [row]
    with pytest.raises(VlmatchError, match="wanted at least 52"):
        score_pair(*pair, {"many": many}, store)


def test_labels_count_for_scores_that_use_them_alone(pair, pictures, tmp_path) -> None:
    store, labels = Store(tmp_path), ["a", "b"] * 6
    configs = {**CONFIGS, "knn_accuracy": score("knn_accuracy.KNNAccuracy", k=3)}
    assert "no labels" in score_pair(*pair, configs, store).left_out["knn_accuracy"].reason
    assert "no labels" in score_pair(*pair, configs, store, [None] * 12).left_out["knn_accuracy"].reason
    row = score_pair(*pair, configs, store, labels)
    assert row.scores["knn_accuracy"].details["labelled"] == 12
    some = score_pair(*pair, configs, store, [*labels[:-1], None])
    assert some.scores["knn_accuracy"].details["labelled"] == 11
    assert some.scores["mutual_nn"] == row.scores["mutual_nn"]
    assert stored_rows(store, pictures.key, configs) == [some]
    assert stored_rows(store, pictures.key, configs, labels) == []
    assert len(stored_rows(store, pictures.key, CONFIGS, labels)) == 1
    too_few = score_pair(*pair, configs, store, ["a", "b", *[None] * 10])
    assert "2 labelled pairs" in too_few.left_out["knn_accuracy"].reason


def test_a_stored_row_keeps_noise_and_subsamples(pair, tmp_path) -> None:
    store = Store(tmp_path)
    computed, read = score_pair(*pair, CONFIGS, store), score_pair(*pair, CONFIGS, store)
    assert read == computed
    assert read.scores["gw_paired"].noise is not None
    assert len(read.scores["gw_paired"].subsamples) == 20
    assert (read.scores["gw_paired"].n_pairs, read.scores["gw_paired"].n_subsampled) == (12, 6)


def test_a_row_of_another_format_is_scored_again(pair, tmp_path) -> None:
    store = Store(tmp_path)
    row = score_pair(*pair, CONFIGS, store)
    (path,) = (tmp_path / "scores").glob("*/*.json")
    plain = json.loads(path.read_text())
    for scored in plain["scores"].values():
        scored["uses_pairing"] = bool(scored.pop("uses"))
    path.write_text(json.dumps(plain))
    assert score_pair(*pair, CONFIGS, store).scores == row.scores


def edited_value(plain: dict) -> None:
    plain["scores"]["gw_paired"]["value"] = 0.001


def edited_header(plain: dict) -> None:
    plain["image"]["n_parameters"] = 1


def without_checksum(plain: dict) -> None:
    edited_value(plain)
    del plain["sha256"]


@pytest.mark.parametrize("edit", [edited_value, edited_header, without_checksum])
def test_a_row_that_was_edited_by_hand_is_never_believed(pair, pictures, tmp_path, caplog, edit) -> None:
    store = Store(tmp_path)
    row = score_pair(*pair, CONFIGS, store)
    (path,) = (tmp_path / "scores").glob("*/*.json")
    assert damaged_rows(store, pictures.key) == []
    plain = json.loads(path.read_text())
    edit(plain)
    path.write_text(json.dumps(plain))
    assert stored_rows(store, pictures.key, CONFIGS) == []
    assert damaged_rows(store, pictures.key) == [path]
    assert score_pair(*pair, CONFIGS, store) == row
    assert f"{path} is not as it was written, so these scores were computed again" in caplog.text
    assert stored_rows(store, pictures.key, CONFIGS) == [row]


@pytest.mark.parametrize("error", [np.linalg.LinAlgError("SVD did not converge"), ValueError("no\nvalue")])
def test_a_score_whose_code_fails_is_left_out_and_the_others_are_computed(pair, tmp_path, monkeypatch, error) -> None:
    store, expected = Store(tmp_path), score_pair(*pair, CONFIGS, None).scores["gw_paired"]
    monkeypatch.setattr(MutualNN, "__call__", lambda *arguments: raises(error))
    for _ in range(2):
        row = score_pair(*pair, CONFIGS, store)
        assert row.scores == {"gw_paired": expected}
        assert row.left_out["mutual_nn"].reason.startswith(f"score 'MutualNN': it failed ({type(error).__name__}: ")
    monkeypatch.setattr(MutualNN, "__call__", lambda *arguments: raises(MemoryError()))
    with pytest.raises(MemoryError):
        score_pair(*pair, CONFIGS, None)


def test_a_score_whose_code_fails_on_a_subsample_alone_has_no_deviation(pair, monkeypatch) -> None:
    whole = MutualNN.value
    monkeypatch.setattr(
        MutualNN, "value", lambda score, pair: whole(score, pair) if len(pair) == 12 else raises(KeyError())
    )
    row = score_pair(*pair, CONFIGS, None)
    assert row.scores["mutual_nn"].subsamples == ()
    assert row.scores["gw_paired"].subsamples


def test_many_pairs_are_told_before_and_slow_scores_meanwhile(pair, capsys, monkeypatch) -> None:
    score_pair(*pair, CONFIGS, None)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(rows, "MANY_PAIRS", 12)
    monkeypatch.setattr(waiting, "SECONDS", 0.0)
    monkeypatch.setattr(waiting, "BETWEEN_LINES", 0.0)
    monkeypatch.setattr(MutualNN, "value", lambda *arguments: time.sleep(0.1) or 0.5)
    score_pair(*pair, {**CONFIGS, "gw": score("gw.GW")}, None)
    told = capsys.readouterr().out.splitlines()
    (before,) = (n for n, line in enumerate(told) if line.startswith("t x u: 12 pairs take about 1.1 GiB of memory"))
    assert before < told.index("waiting for the score 'MutualNN'; 1 of 3 scores are done")
    steps = [line for line in told if line.startswith("the score 'GW': ")]
    assert steps[0].startswith("the score 'GW': step 1 of its descent, energy 0.")
    assert len(steps) >= 2, "the images' descent, and their noise twin's"


def test_scores_that_need_more_memory_than_there_is_are_refused_before(pair, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(rows, "MANY_PAIRS", 12)
    monkeypatch.setattr(memory, "available_memory", lambda: 2**28)
    line = r"12 pairs take about 0\.7 GiB .*has 0\.2 GiB left; give probe\.sample=1000, which .* score=\[mutual_nn\]"
    with pytest.raises(VlmatchError, match=line):
        score_pair(*pair, CONFIGS, Store(tmp_path))
    assert not list((tmp_path / "scores").rglob("*.json"))


def test_spaces_and_order_of_keys_do_not_change_a_row(pair, pictures, tmp_path) -> None:
    store = Store(tmp_path)
    row = score_pair(*pair, CONFIGS, store)
    (path,) = (tmp_path / "scores").glob("*/*.json")
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items()))))
    assert stored_rows(store, pictures.key, CONFIGS) == [row]


def test_a_row_of_the_format_without_a_checksum_is_read(pair, pictures, tmp_path) -> None:
    store = Store(tmp_path)
    row = score_pair(*pair, CONFIGS, store)
    (path,) = (tmp_path / "scores").glob("*/*.json")
    plain = json.loads(path.read_text())
    del plain["sha256"]
    path.write_text(json.dumps({**plain, "format": 2}))
    assert stored_rows(store, pictures.key, CONFIGS) == [row]
    path.write_text(json.dumps({**plain, "format": 1}))
    assert stored_rows(store, pictures.key, CONFIGS) == []
    assert damaged_rows(store, pictures.key) == [], "it is of an older version, which is no damage"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "3"}', "{", '{"format": 2, "scores": []}'])
def test_a_file_that_no_version_writes_is_damaged(pair, pictures, tmp_path, content: str) -> None:
    store = Store(tmp_path)
    score_pair(*pair, CONFIGS, store)
    (path,) = (tmp_path / "scores").glob("*/*.json")
    path.write_text(content)
    assert damaged_rows(store, pictures.key) == [path]
    assert stored_rows(store, pictures.key, CONFIGS) == []


def test_a_file_that_can_not_be_read_is_no_damage(pair, pictures, tmp_path) -> None:
    store = Store(tmp_path)
    score_pair(*pair, CONFIGS, store)
    (path,) = (tmp_path / "scores").glob("*/*.json")
    path.unlink()
    path.mkdir()
    for reading in (damaged_rows, lambda store, probe: stored_rows(store, probe, CONFIGS)):
        with pytest.raises(IsADirectoryError):
            reading(store, pictures.key)
    with pytest.raises(IsADirectoryError):
        score_pair(*pair, CONFIGS, store)


def test_rows_whose_embeddings_are_gone_are_left_out(pair, pictures, tmp_path) -> None:
    store = Store(tmp_path)
    score_pair(*pair, CONFIGS, store)
    (store.folder(pair[0].header.spec) / "embeddings.safetensors").unlink()
    assert stored_rows(store, pictures.key, CONFIGS) == []


def test_a_warm_store_that_is_read_only_is_scored(pair, pictures, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    row = score_pair(*pair, CONFIGS, store)

    def refuse(path: Path, what: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(rows, "locked", refuse)
    monkeypatch.setattr("vlmatch.embeddings.store.locked", refuse)
    assert score_pair(*pair, CONFIGS, store).scores == row.scores
    assert compute(THUMBNAIL, pictures, store)[1].items == 0
    with pytest.raises(OSError, match="Read-only"):
        score_pair(*pair, {"mutual_nn": score("mutual_nn.MutualNN", k=4)}, store)


def test_two_long_names_are_scored_and_found_again(pictures: ProbeSet, tmp_path: Path) -> None:
    store = Store(tmp_path)
    pair = [compute({**THUMBNAIL, "name": letter * 200}, pictures, store)[0] for letter in "ab"]
    row = score_pair(*pair, CONFIGS, store)
    (found,) = stored_rows(store, pictures.key, CONFIGS)
    assert found.scores == row.scores
