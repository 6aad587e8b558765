"""Embedding: computed once, resumed after any kind of kill, never read when stale or damaged."""

import json
import multiprocessing
import os
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

import misbehaving
from misbehaving import THUMBNAIL, compute, compute_elsewhere, trainer_of
from vlmatch import paths
from vlmatch.embeddings.embed import embed
from vlmatch.embeddings.header import EmbeddingSpec, Header
from vlmatch.embeddings.store import FILE, Store
from vlmatch.errors import VlmatchError
from vlmatch.objects import admit
from vlmatch.probes.pairs import ProbeSet
from vlmatch.settings.buildable import EncoderSettings


def spec_of(config: dict[str, Any], probe: ProbeSet, precision: str = "32-true") -> EmbeddingSpec:
    """What is stored of an encoder with this yaml."""
    return EmbeddingSpec.of(EncoderSettings.of("encoder", config), probe, precision)


def test_rows_come_in_the_order_of_the_pairs(pictures: ProbeSet, tmp_path: Path) -> None:
    embeddings, cost = compute(THUMBNAIL, pictures, Store(tmp_path))
    direct = np.stack(
        [np.asarray(pictures.image(i).resize((4, 4)), dtype=np.float32).ravel() for i in range(len(pictures))]
    )
    np.testing.assert_array_equal(embeddings.array, direct)
    assert cost.items == len(pictures)
    assert embeddings.header.rule == "pixels"


def test_the_second_time_nothing_is_computed(pictures: ProbeSet, tmp_path: Path) -> None:
    config = THUMBNAIL
    first, _ = compute(config, pictures, Store(tmp_path))
    stored = (Store(tmp_path).folder(first.header.spec) / FILE).read_bytes()
    second, cost = compute({**config, "fail": ""}, pictures, Store(tmp_path / "other"))
    again, nothing = compute(config, pictures, Store(tmp_path))
    assert nothing.items == 0
    assert cost.items == len(pictures)
    np.testing.assert_array_equal(first.array, again.array)
    np.testing.assert_array_equal(first.array, second.array)
    assert (Store(tmp_path).folder(first.header.spec) / FILE).read_bytes() == stored


def test_equal_runs_write_equal_bytes(pictures: ProbeSet, tmp_path: Path) -> None:
    config = THUMBNAIL
    stores = [Store(tmp_path / name) for name in "ab"]
    files = [s.folder(compute(config, pictures, s)[0].header.spec) / FILE for s in stores]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert [path.name for path in files[0].parent.iterdir()] == [FILE]


@pytest.mark.parametrize("change", ["truncate", "flip", "empty"])
def test_a_damaged_file_is_recomputed_never_used(pictures: ProbeSet, tmp_path: Path, change: str) -> None:
    config, store = THUMBNAIL, Store(tmp_path)
    first, _ = compute(config, pictures, store)
    path = store.folder(first.header.spec) / FILE
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes({"truncate": bytes(data[: len(data) // 2]), "flip": bytes(data), "empty": b""}[change])
    assert store.read(first.header.spec) is None
    again, cost = compute(config, pictures, store)
    assert cost.items == len(pictures)
    np.testing.assert_array_equal(first.array, again.array)


def test_a_changed_caption_image_or_setting_makes_it_stale(pictures: ProbeSet, tmp_path: Path) -> None:
    config = THUMBNAIL
    spec = spec_of(config, pictures)
    fewer = type(pictures)("pictures", pictures.pairs[:-1], pictures.counts)
    others = [
        spec_of({**config, "seconds": 0.1}, pictures),
        spec_of(config, pictures, "bf16-mixed"),
        spec_of(config, fewer),
    ]
    assert spec.fingerprint not in {other.fingerprint for other in others}
    same = spec_of({**config, "licence": {"name": "MIT"}}, pictures)
    assert same.fingerprint == spec.fingerprint


def test_a_new_version_of_the_loading_class_makes_it_stale(
    pictures: ProbeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute(THUMBNAIL, pictures, Store(tmp_path))
    monkeypatch.setattr(misbehaving.Thumbnail, "version", 2)
    assert compute(THUMBNAIL, pictures, Store(tmp_path))[1].items == len(pictures)


def test_editing_a_local_checkpoint_makes_it_stale(pictures: ProbeSet, tmp_path: Path) -> None:
    checkpoint = tmp_path / "model.safetensors"
    checkpoint.write_bytes(b"one")
    config = {**THUMBNAIL, "checkpoint": str(checkpoint)}
    before = spec_of(config, pictures).fingerprint
    checkpoint.write_bytes(b"other")
    assert spec_of(config, pictures).fingerprint != before
    checkpoint.unlink()  # the loader will say so: what is stored must not be served for it
    assert spec_of(config, pictures).fingerprint != before


@pytest.mark.parametrize("key", ["checkpoint", "repository", "adapter"])
def test_a_path_without_a_slash_is_one_too(
    pictures: ProbeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").write_bytes(b"one")
    before = EmbeddingSpec.of(
        EncoderSettings.of("encoder", {**THUMBNAIL, key: "mine"}), pictures, "32-true"
    ).fingerprint
    Path("mine").write_bytes(b"other")
    assert spec_of({**THUMBNAIL, key: "mine"}, pictures).fingerprint != before


def test_a_template_is_never_taken_for_a_path_and_any_other_setting_may_be_one(
    pictures: ProbeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    Path("a/file").write_bytes(b"one")

    def kept(**settings: Any) -> Any:
        return spec_of({**THUMBNAIL, **settings}, pictures).settings

    long = f"<<SYS>>{'Be helpful. ' * 40}<</SYS>> {{caption}}"
    for template in ("a/file", "~ {caption}", long):
        assert kept(template=template)["template"] == template
    stamp = kept(checkpoint="a/file")["checkpoint"]
    assert list(stamp) == ["sha256"]
    assert kept(options={"weights": "a/file"})["options"] == {"weights": stamp}
    assert kept(weights="~nobody-of-this-name/x")["weights"] == "~nobody-of-this-name/x"
    assert kept(path=["a/file"], options={"path": "a/file"})["path"] == [stamp]
    assert kept(options={"path": "a/file"})["options"] == {"path": stamp}


def test_a_key_that_yamls_gained_later_changes_nothing_where_it_is_null(pictures: ProbeSet) -> None:
    stored = spec_of(THUMBNAIL, pictures)
    assert spec_of({**THUMBNAIL, "adapter": None}, pictures) == stored
    assert spec_of({**THUMBNAIL, "adapter": "/an/adapter"}, pictures) != stored
    assert spec_of({**THUMBNAIL, "layer": None}, pictures) == stored


def test_layers_of_a_tower_are_stored_apart_and_ranked_together(pictures: ProbeSet) -> None:
    whole, first, last = (spec_of({**THUMBNAIL, "layer": layer}, pictures) for layer in (None, 1, -1))
    assert len({spec.fingerprint for spec in (whole, first, last)}) == 3
    assert [spec.slug for spec in (whole, first, last)] == ["paper", "paper_layer1", "paper_layer-1"]
    assert [spec.recipe for spec in (whole, first, last)] == ["paper", "paper, one layer", "paper, one layer"]
    assert [spec.label for spec in (whole, first, last)] == ["t", "t @ layer 1", "t @ layer -1"]


def test_the_layer_of_an_llm_is_no_layer_of_a_tower(pictures: ProbeSet) -> None:
    spec = EmbeddingSpec("llm", "x", {"layer": -2}, 1, pictures.key, pictures.fingerprint, len(pictures), "32-true")
    assert (spec.label, spec.recipe, spec.slug) == ("x", "layer-2_last", "layer-2_last")


@pytest.mark.parametrize("name", ["org/model", "../../x", "/tmp/x", ""])
def test_a_name_that_would_lead_out_of_its_folder_is_refused(pictures: ProbeSet, name: str) -> None:
    with pytest.raises(VlmatchError, match=r"encoder\.name='"):
        spec_of({**THUMBNAIL, "name": name}, pictures)


def test_every_encoders_yaml_makes_a_recipe_with_nothing_here(pictures: ProbeSet) -> None:
    for path in sorted((paths.conf() / "encoder").glob("*.yaml")):
        config = yaml.safe_load(path.read_text())  # an ONNX node's name may look like an absolute path
        if "parts" not in config and config.get("path") != "???":
            assert spec_of(config, pictures).model == path.stem


@pytest.mark.parametrize(
    ("rows", "precision", "said"),
    [
        (
            slice(None),
            "32-true",
            "the first is that of '.*'; its weights may be damaged, or its preparation divides by 0$",
        ),
        (slice(None), "bf16-mixed", "divides by 0, or use trainer.precision=32-true$"),
        (slice(1), "32-true", "look at that item$"),
    ],
)
def test_embeddings_that_are_no_numbers_say_what_to_look_at(
    pictures: ProbeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: slice, precision: str, said: str
) -> None:
    def spoilt(self: misbehaving.Thumbnail, images: Tensor) -> Tensor:
        images[rows] = torch.nan
        return images

    monkeypatch.setattr(misbehaving.Thumbnail, "paper_feature", spoilt)
    with pytest.raises(VlmatchError, match=said):
        compute(THUMBNAIL, pictures, Store(tmp_path), precision=precision)


def test_an_output_that_is_not_n_by_d_is_one_line(pictures: ProbeSet, tmp_path: Path) -> None:
    config = {**THUMBNAIL, "fail": "shape"}
    with pytest.raises(VlmatchError, match=r"encoder 't': its output is \(2, 48, 1\) for 2 items.*\(n, d\)"):
        compute(config, pictures, Store(tmp_path))


def test_a_target_outside_the_package_must_be_allowed(pictures: ProbeSet, tmp_path: Path) -> None:
    config = THUMBNAIL
    admit([])
    with pytest.raises(VlmatchError, match="targets="):
        embed(EncoderSettings.of("encoder", config), pictures, Store(tmp_path), trainer_of())


def test_a_shard_must_hold_whole_batches(pictures: ProbeSet, tmp_path: Path) -> None:
    with pytest.raises(VlmatchError, match="shard_size=4 is not a multiple"):
        compute(THUMBNAIL, pictures, Store(tmp_path), batch_size=3)


def start(marks: Path, config: dict, pictures: ProbeSet, store: Path) -> BaseProcess:
    """Embed in another process, forked from one that has the slow imports behind it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytorch_lightning", "misbehaving"])
    process = context.Process(target=compute_elsewhere, args=(marks, config, pictures, Store(store)))
    process.start()
    return process


def ended(process: BaseProcess, seconds: float) -> int | None:
    """The exit code of a process, for which at most so many seconds are waited."""
    process.join(seconds)
    return process.exitcode


def batches(marks: Path) -> int:
    """Batches begun; the single image of which operations are counted is none."""
    return sum(not line.endswith(" 1") for line in marks.read_text().splitlines())


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """The file in which encoders of other processes leave a line for each batch begun."""
    path = tmp_path / "marks"
    path.touch()
    return path


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_loses_at_most_one_shard(pictures: ProbeSet, tmp_path: Path, marks: Path, how: int) -> None:
    config = {**THUMBNAIL, "seconds": 0.3}
    first = start(marks, config, pictures, tmp_path / "store")
    deadline = time.monotonic() + 60
    while batches(marks) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(first.pid, how)
    assert ended(first, 30) not in (None, 0)
    assert 4 <= batches(marks) < 6
    assert ended(start(marks, config, pictures, tmp_path / "store"), 60) == 0
    assert batches(marks) <= 6 + 2, "12 pictures are 6 batches; a lost shard is 2 of them"


@pytest.mark.slow
def test_two_processes_compute_it_once(pictures: ProbeSet, tmp_path: Path, marks: Path) -> None:
    both = [start(marks, {**THUMBNAIL, "seconds": 0.1}, pictures, tmp_path / "store") for _ in range(2)]
    assert [ended(process, 90) for process in both] == [0, 0]
    assert batches(marks) == 6
    assert len({line.split()[0] for line in marks.read_text().splitlines()}) == 1


@pytest.mark.slow
def test_spawned_processes_share_the_shards(pictures: ProbeSet, tmp_path: Path) -> None:
    config = THUMBNAIL
    one, _ = compute(config, pictures, Store(tmp_path / "one"))
    two, cost = compute(config, pictures, Store(tmp_path / "two"), devices=2, strategy="ddp_spawn")
    np.testing.assert_array_equal(one.array, two.array)
    assert cost.measured is None, "what they took stays in those processes"


def test_a_stored_header_keeps_the_key_recipe_of_files_from_before(pictures: ProbeSet, tmp_path: Path) -> None:
    header = compute(THUMBNAIL, pictures, Store(tmp_path))[0].header
    plain = json.loads(header.to_json())
    assert plain["recipe"]["model"] == "t"
    assert "spec" not in plain
    assert Header.from_json(header.to_json()) == header
