"""Errors that stop a training or refuse to start it have one line, and checkpoints are kept."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

import made_vlms
from made_vlms import LORA, TRAINER, killed, run
from vlmatch.errors import VlmatchError
from vlmatch.messages import user_message
from vlmatch.probes.images import ImageError
from vlmatch.vlm import checkpoints, fit
from vlmatch.vlm.batches import Batches, Collate, at_once
from vlmatch.vlm.fit import Training
from vlmatch.vlm.model import VLM, Batch
from vlmatch.vlm.saved import load_vlm, save_vlm
from vlmatch.vlm.stage import Optimisation, Stage
from vlmatch.vlm.training_data import Listed, TrainingData, schedule, steps_of

ONE_STAGE = {"prompts": {"caption": "x"}, "stages": [made_vlms.stage()]}  # of a recipe without prompts, nothing is kept


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "CHECKPOINTS", 4)
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    broken = made_vlms.training_data(vlm)
    order = schedule(broken, 12, 4, 0)
    seen = {number for batch in order[:4] for _, number in batch}
    late = next(number for batch in order[4:] for _, number in batch if number not in seen)
    broken.pictures[late] = float("nan")
    vlm.projector.standardise = lambda _: None  # a NaN would be in every mean
    with pytest.raises(VlmatchError, match=rf"loss is nan at step .*\b{late}\b.*last checkpoint is kept"):
        Training(vlm, made_vlms.about(), tmp_path / "run", TRAINER).fit([broken])
    checkpoint = torch.load(tmp_path / "run" / "stages" / "1-align" / "last.ckpt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "CHECKPOINTS", 4)
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    loss, calls = VLM.loss, 0

    def steep(self: VLM, batch: Batch) -> torch.Tensor:
        nonlocal calls
        calls += 1
        found = loss(self, batch)  # sqrt has an infinite slope at 0
        return found if calls < 6 else found + (found * 0).sqrt()

    monkeypatch.setattr(VLM, "loss", steep)
    with pytest.raises(VlmatchError, match=r"gradient's norm is nan at step 6, .*last checkpoint is kept"):
        Training(vlm, made_vlms.about(), tmp_path / "run", TRAINER).fit([made_vlms.training_data(vlm)])
    checkpoint = torch.load(tmp_path / "run" / "stages" / "1-align" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_on_a_full_disk_the_previous_checkpoint_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "CHECKPOINTS", 4)
    renamed, calls = checkpoints.renamed, 0

    @contextmanager
    def full(path: Path) -> Iterator[Path]:
        nonlocal calls
        calls += path.name == "last.ckpt"
        if calls == 2:
            yield Path("/dev/full")
        else:
            with renamed(path) as temporary:
                yield temporary

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "renamed", full)
        with pytest.raises((OSError, RuntimeError)) as raised:
            run(tmp_path)
    assert "the disk is full; free some space" in str(user_message(raised.value))
    folder = tmp_path / "run" / "stages" / "1-align"
    assert [path.name for path in folder.iterdir()] == ["last.ckpt"]
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 3
    assert run(tmp_path)[1].steps == 12


def test_a_stage_that_runs_out_of_memory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(VLM, "loss", full)
    with pytest.raises(VlmatchError, match=r"recipe\.stages\.0 \(align\) .*recipe\.stages\.0\.accumulate"):
        run(tmp_path)


def test_an_unforeseen_error_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(*_: object) -> None:
        raise RuntimeError("sizes differ")

    monkeypatch.setattr(VLM, "loss", odd)
    with pytest.raises(RuntimeError, match="sizes differ") as raised:
        run(tmp_path)
    assert user_message(raised.value) is None


def test_other_data_under_the_same_settings_are_refused(tmp_path: Path) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    training = Training(vlm, made_vlms.about(), tmp_path / "run", TRAINER)
    first = made_vlms.training_data(vlm)
    training.fit([replace(first, fingerprint="one")])
    training.fit([replace(first, fingerprint="one")])
    with pytest.raises(VlmatchError, match=r"began with .* other training data.*task\.runs"):
        training.fit([replace(first, fingerprint="other")])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    """A bit in the middle of the weights."""
    found = bytearray(path.read_bytes())
    with ZipFile(path) as file:
        largest = max(file.infolist(), key=lambda part: part.file_size)
    found[largest.header_offset + 200 + largest.file_size // 2] ^= 0x40
    path.write_bytes(found)


def garbled(path: Path) -> None:
    path.write_text('{"losses": [0.1,')


def test_a_damaged_checkpoint_is_told_and_removing_it_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "CHECKPOINTS", 4)
    whole = run(tmp_path, **ONE_STAGE)[1].losses
    last = tmp_path / "run" / "stages" / "1-align" / "last.ckpt"

    shutil.rmtree(tmp_path / "run")
    killed(monkeypatch, 8, tmp_path, **ONE_STAGE)
    intact = last.read_bytes()
    for damage in (cut, emptied, flipped, garbled):
        last.write_bytes(intact)
        damage(last)
        with pytest.raises(
            VlmatchError, match=rf"^'{last}' is damaged \(.*\); remove it, and this stage .* begins anew"
        ):
            run(tmp_path, **ONE_STAGE)
    last.unlink()
    assert run(tmp_path, **ONE_STAGE)[1].losses == whole


@pytest.mark.parametrize("damage", [emptied, garbled])
def test_damaged_files_of_a_finished_training_are_told_and_the_advice_helps(tmp_path: Path, damage) -> None:
    whole = run(tmp_path, **ONE_STAGE)[1].losses
    stage = tmp_path / "run" / "stages" / "1-align"
    for file in (stage / "training.json", tmp_path / "run" / "data.json"):
        damage(file)
        with pytest.raises(VlmatchError, match=rf"^'{file}' is damaged \(.*\); remove it"):
            run(tmp_path, **ONE_STAGE)
        file.unlink()
        assert run(tmp_path, **ONE_STAGE)[1].losses == whole
    damage(stage / "projector.safetensors")
    with pytest.raises(VlmatchError, match=rf"projector\.safetensors' is damaged .* remove '{stage}'"):
        run(tmp_path, **ONE_STAGE)
    shutil.rmtree(stage)
    assert run(tmp_path, **ONE_STAGE)[1].losses == whole


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook"])
def test_strategies_whose_processes_would_share_batches_are_refused(tmp_path: Path, strategy: str) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    with pytest.raises(VlmatchError, match=rf"trainer\.strategy={strategy} .* torchrun"):
        Training(vlm, made_vlms.about(), tmp_path / "run", TRAINER.changed(strategy=strategy)).fit([])


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true", 64])
def test_precisions_that_convert_the_whole_llm_are_refused(tmp_path: Path, precision: str | int) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    with pytest.raises(
        VlmatchError, match=rf"trainer\.precision={precision} .* give trainer\.precision=\w+-(mixed|true)"
    ):
        Training(vlm, made_vlms.about(), tmp_path / "run", TRAINER.changed(precision=precision)).fit([])


def test_adapters_are_not_shared_out_by_fsdp(tmp_path: Path) -> None:
    changes = {"stages": [made_vlms.stage(), made_vlms.stage(name="tune", trains={"lora": 1e-3})], "lora": LORA}
    vlm = made_vlms.tiny_vlm(tmp_path / "llm", **changes)
    training = Training(vlm, made_vlms.about(**changes), tmp_path / "run", TRAINER.changed(strategy="fsdp"))
    with pytest.raises(
        VlmatchError, match=r"recipe=tiny trains LoRA, which trainer\.strategy=fsdp .* give trainer=ddp"
    ):
        training.fit([])


def test_data_that_do_not_fill_a_batch_are_refused() -> None:
    data = TrainingData({"a": (1.0, Listed([None] * 20))}, torch.zeros(20, 1, 6))
    assert steps_of(data, made_vlms.stage(steps=None, epochs=2, batch_size=8)) == 5
    with pytest.raises(VlmatchError, match=r"epochs=0\.1 .*batch_size=8"):
        steps_of(data, made_vlms.stage(steps=None, epochs=0.1, batch_size=8))


def test_a_batch_that_can_not_be_cut_evenly_is_refused(tmp_path: Path) -> None:
    assert at_once(32, 4, 2) == 4
    with pytest.raises(VlmatchError, match=r"batch_size=6 .*accumulate=4"):
        run(tmp_path, stages=[made_vlms.stage(accumulate=4, batch_size=6)])


def test_missing_layers_and_encoders_are_refused(tmp_path: Path) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    with pytest.raises(VlmatchError, match=r"recipe\.visual\.cached=false"):
        Stage(vlm, Optimisation({"encoder": 1.0}, 1, 0, 0, 0))
    with pytest.raises(VlmatchError, match=r"recipe\.lora\.targets=.*nowhere.*LlamaForCausalLM"):
        run(tmp_path, lora={**LORA, "targets": ["nowhere"]}, stages=[made_vlms.stage(trains={"lora": 1e-3})])


def test_a_sample_longer_than_the_context_is_refused(tmp_path: Path) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    vlm.causal_lm.config.max_position_embeddings = 15
    with pytest.raises(VlmatchError, match=r"up to \d+ tokens, .* llm 'llama' .* 15;"):
        Training(vlm, made_vlms.about(), tmp_path / "run", TRAINER).fit([made_vlms.training_data(vlm)])


class Broken:
    """Pictures of which one can't be read."""

    def __init__(self, error: VlmatchError) -> None:
        self.error = error

    def __len__(self) -> int:
        return 20

    def __getitem__(self, number: int) -> torch.Tensor:
        if number == 7:
            raise self.error
        return torch.zeros(1, 6)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    "error",
    [VlmatchError("picture 7 is broken; mend it"), ImageError("picture 7 is broken", "can't be decoded", "mend it")],
    ids=["plain", "image"],
)
def test_an_error_of_a_worker_process_has_one_line(tmp_path: Path, workers: int, error: VlmatchError) -> None:
    data = TrainingData(made_vlms.training_data(made_vlms.tiny_vlm(tmp_path / "llm")).parts, Broken(error))
    batches = Batches(data, schedule(data, 20, 4, 0), Collate(2), workers)
    with pytest.raises(VlmatchError) as raised:
        list(batches)
    assert str(raised.value) == "picture 7 is broken; mend it"


def test_a_folder_without_a_vlm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VlmatchError, match=r"has no trained VLM.*vlm\.json"):
        load_vlm(tmp_path)
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    save_vlm(vlm, tmp_path / "saved", made_vlms.about())
    description = json.loads((tmp_path / "saved" / "vlm.json").read_text())
    description["recipe"]["projector"]["kind"] = "linear"
    (tmp_path / "saved" / "vlm.json").write_text(json.dumps(description))
    with pytest.raises(VlmatchError, match=r"projector\.safetensors"):
        load_vlm(tmp_path / "saved", llm=vlm.llm)


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (lambda found: found["recipe"]["stages"][0].pop("clip"), ["recipe.stages.0.clip is missing"]),
        (lambda found: found["recipe"]["visual"].update(cached="yes"), ["recipe.visual.cached='yes'", "true or false"]),
        (lambda found: found["encoder"].pop("_target_"), ["encoder._target_ is missing"]),
        (lambda found: found.update(format=2), ["format=2"]),
        (lambda found: found.update(shape=[1]), ["shape=[1]"]),
        (lambda found: found.clear(), ["format is missing"]),
    ],
)
def test_a_wrong_key_of_a_saved_vlm_is_told_with_file_and_path(tmp_path: Path, damage, parts: list[str]) -> None:
    found = json.loads(json.dumps(made_vlms.about().plain()))
    damage(found)
    (tmp_path / "vlm.json").write_text(json.dumps(found))
    with pytest.raises(VlmatchError) as caught:
        load_vlm(tmp_path)
    for part in ["vlm.json", *parts]:
        assert part in str(caught.value)


def test_a_description_that_is_cut_off_is_told(tmp_path: Path) -> None:
    (tmp_path / "vlm.json").write_text("{")
    with pytest.raises(VlmatchError, match=r"vlm\.json"):
        load_vlm(tmp_path)
