"""Training: which parts learn, in which order samples come, and a killed run that continues with equal losses."""

import os
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.loggers.logger import Logger
from safetensors.torch import load_file

import made_vlms
from made_vlms import LORA, TRAINER, killed, run
from vlmatch.cli import leave
from vlmatch.settings.work import TrackingSettings
from vlmatch.tracking.tracker import Tracker
from vlmatch.vlm import fit, milestones
from vlmatch.vlm.fit import Training
from vlmatch.vlm.lora import lora_state
from vlmatch.vlm.milestones import milestone_steps
from vlmatch.vlm.model import VLM
from vlmatch.vlm.saved import load_vlm
from vlmatch.vlm.stage import Optimisation, Stage
from vlmatch.vlm.tokens import answered, encode
from vlmatch.vlm.training_data import Listed, Sample, TrainingData, schedule
from vlmatch.vlm.training_log import TrainingLog

TWO_STAGES = {
    "lora": LORA,
    "prompts": {"caption": "x"},  # of a recipe without any, no VLM is kept on the way
    "stages": [made_vlms.stage(), made_vlms.stage(name="tune", trains={"projector": 1e-3, "lora": 1e-2}, steps=9)],
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[VLM, TrainingLog]:
    """A run of two stages, 21 steps in all."""
    return run(tmp_path_factory.mktemp("whole"), **TWO_STAGES)


def test_the_bar_counts_steps_of_the_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, **TWO_STAGES)
    shown = capsys.readouterr().out
    assert all(part in shown for part in ("align", "12/12", "tune", "9/9"))
    assert not any(part in shown for part in ("Epoch", "v_num"))


def test_logged_steps_count_all_stages(tmp_path: Path) -> None:
    class Kept(Logger):
        name = version = None

        def __init__(self) -> None:
            super().__init__()
            self.logged: list[tuple[int, float]] = []

        def log_hyperparams(self, *_: Any) -> None:
            pass

        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            self.logged.append((step, metrics["loss"]))

    vlm, logger = made_vlms.tiny_vlm(tmp_path / "llm", **TWO_STAGES), Kept()
    data = [made_vlms.training_data(vlm)] * 2
    log = Training(vlm, made_vlms.about(**TWO_STAGES), tmp_path / "run", TRAINER, logger).fit(data)
    assert [step for step, _ in logger.logged] == list(range(21))
    assert [loss for _, loss in logger.logged] == pytest.approx(log.losses)


@pytest.mark.parametrize("killed_at", [7, 14, 20])
def test_a_killed_run_continues_with_the_same_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: tuple[VLM, TrainingLog], killed_at: int
) -> None:
    monkeypatch.setattr(fit, "CHECKPOINTS", 4)
    vlm, whole = uninterrupted
    killed(monkeypatch, killed_at, tmp_path / "killed", **TWO_STAGES)
    again, resumed = run(tmp_path / "killed", **TWO_STAGES)
    assert len(resumed.losses) == 21
    torch.testing.assert_close(torch.tensor(resumed.losses), torch.tensor(whole.losses), atol=1e-6, rtol=0)
    for one, other in zip(vlm.projector.parameters(), again.projector.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_a_training_paused_at_its_milestones_gives_the_same_numbers(tmp_path: Path) -> None:
    first = made_vlms.stage(steps=3, accumulate=2)  # the second milestone is its end, the third lies in the next stage
    changes = {**TWO_STAGES, "stages": [first, TWO_STAGES["stages"][1]]}
    vlm, whole = run(tmp_path / "whole", **changes)
    for fraction, step in ((1 / 8, 2), (1 / 4, 3), (1 / 4, 3), (1 / 2, 6)):
        again = made_vlms.tiny_vlm(tmp_path / "paused" / "llm", **changes)
        training = Training(again, made_vlms.about(**changes), tmp_path / "paused" / "run", TRAINER)
        assert training.fit_until([made_vlms.training_data(again) for _ in range(2)], fraction) == step
        assert max(int(folder.name) for folder in (tmp_path / "paused" / "run" / "course").iterdir()) == step
        assert not (tmp_path / "paused" / "run" / fit.DONE).exists()
    again, resumed = run(tmp_path / "paused", **changes)
    assert resumed.losses == whole.losses
    for one, other in zip(vlm.projector.parameters(), again.projector.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)
    for step in ("2", "3", "6"):
        kept, saved = (
            load_file(tmp_path / each / "run" / "course" / step / "projector.safetensors")
            for each in ("whole", "paused")
        )
        for name, value in kept.items():
            torch.testing.assert_close(saved[name], value, atol=0, rtol=0)


@pytest.mark.parametrize("how", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGINT])
def test_a_stopped_training_ends_at_once_as_killed_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: tuple[VLM, TrainingLog], how: signal.Signals
) -> None:
    monkeypatch.setattr(fit, "CHECKPOINTS", 4)
    begun: list[int] = []

    def stop(*_: object) -> None:
        begun.append(1)
        if len(begun) == 8:
            os.kill(os.getpid(), how)

    tracker = Tracker.of(TrackingSettings(folder=tmp_path / "mlruns", uri=None, experiment="vlmatch"))
    before = signal.signal(signal.SIGTERM, leave), signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(Stage, "on_train_batch_start", stop)
            with pytest.raises(SystemExit), tracker.run("r", {}) as run_id:
                run(tmp_path / "stopped", **TWO_STAGES)
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    assert len(begun) == 8
    assert tracker.client.get_run(run_id).info.status == "KILLED"
    resumed = run(tmp_path / "stopped", **TWO_STAGES)[1].losses
    torch.testing.assert_close(torch.tensor(resumed), torch.tensor(uninterrupted[1].losses), atol=1e-6, rtol=0)


def test_a_run_killed_twice_inside_accumulated_steps_loses_no_micro_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a resumed run, Lightning's own callback also writes a checkpoint after the first part of a step."""
    monkeypatch.setattr(fit, "CHECKPOINTS", 3)
    changes = {"stages": [made_vlms.stage(accumulate=4, batch_size=8)]}
    _, whole = run(tmp_path / "whole", **changes)
    killed(monkeypatch, 22, tmp_path / "killed", **changes)  # in step 6, behind the checkpoint of step 4
    killed(monkeypatch, 6, tmp_path / "killed", **changes)  # in step 6 again
    checkpoint = torch.load(tmp_path / "killed/run/stages/1-align/last.ckpt", weights_only=True)
    assert (checkpoint["global_step"], len(checkpoint["losses"])) == (4, 4)
    _, resumed = run(tmp_path / "killed", **changes)
    torch.testing.assert_close(torch.tensor(resumed.losses), torch.tensor(whole.losses), atol=1e-6, rtol=0)


def test_a_stage_without_checkpointing_follows_one_with_it(tmp_path: Path) -> None:
    stages = [made_vlms.stage(gradient_checkpointing=True), made_vlms.stage(name="more", steps=3)]
    vlm, log = run(tmp_path, stages=stages)
    assert log.steps == 15
    assert not vlm.causal_lm.is_activation_checkpointing


def test_a_micro_batch_without_pictures_can_train_the_projector(tmp_path: Path) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    seeing = made_vlms.training_data(vlm)
    ids = encode(vlm.tokenizer, "no picture", special=True)
    text = Listed(Sample(f"text {i}", answered(ids, [7 + i, 1]), ()) for i in range(4))
    mixed = TrainingData({**seeing.parts, "text": (1.0, text)}, seeing.pictures)
    about = made_vlms.about(stages=[made_vlms.stage(batch_size=2, accumulate=2)])
    log = Training(vlm, about, tmp_path / "run", TRAINER).fit([mixed])
    assert log.steps == 12
    assert torch.isfinite(torch.tensor(log.losses)).all()


def test_every_batch_draws_random_numbers_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, drawn = VLM.loss, []

    def noting(vlm: VLM, batch: Any) -> torch.Tensor:
        drawn.append(float(torch.rand(())))
        return original(vlm, batch)

    monkeypatch.setattr(VLM, "loss", noting)
    for name in ("one", "two"):
        run(tmp_path / name, stages=[made_vlms.stage(steps=4)])
    assert len(set(drawn[:4])) == 4
    assert drawn[4:] == drawn[:4], "they depend on seed and step alone"
    run(tmp_path / "three", stages=[made_vlms.stage(steps=4)], seed=1)
    assert not set(drawn[8:]) & set(drawn[:4])


def test_sixteen_captions_are_memorised(tmp_path: Path) -> None:
    stages = [made_vlms.stage(trains={"projector": 1e-2, "llm": 3e-3}, steps=150, batch_size=16)]
    vlm = made_vlms.tiny_vlm(tmp_path / "llm", stages=stages)
    whole = made_vlms.training_data(vlm, n=16)
    captions = TrainingData({"caption": whole.parts[made_vlms.PROMPTS[0]]}, whole.pictures)
    log = Training(vlm, made_vlms.about(stages=stages), tmp_path / "run", TRAINER).fit([captions])
    assert log.losses[0] > 3
    assert log.losses[-1] < 0.05


def test_only_the_parts_that_the_recipe_names_learn(tmp_path: Path) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path / "llm", **TWO_STAGES)
    before = {name: p.detach().clone() for name, p in vlm.named_parameters()}
    Training(vlm, made_vlms.about(**TWO_STAGES), tmp_path / "run", TRAINER).fit([made_vlms.training_data(vlm)] * 2)
    plain = {name.replace(".base_layer", ""): p for name, p in vlm.named_parameters() if "lora_" not in name}
    assert plain.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(value, plain[name]) != name.startswith("projector."), name
    assert any(float(p.detach().abs().max()) > 0 for name, p in vlm.named_parameters() if "lora_B" in name)


def test_a_saved_vlm_loads_and_gives_the_same_answers(tmp_path: Path) -> None:
    vlm, _ = run(tmp_path, **TWO_STAGES)
    picture = torch.randn(1, 1, 6)
    prompt = made_vlms.expanded_prompt(vlm)
    again = load_vlm(tmp_path / "run" / "final", llm=made_vlms.tiny_llm(tmp_path / "again"))
    with torch.no_grad():
        logits = [
            one.eval().causal_lm(inputs_embeds=one.embed(torch.tensor([prompt]), picture)).logits
            for one in (vlm, again)
        ]
    torch.testing.assert_close(*logits, atol=1e-6, rtol=0)
    assert not any(parameter.requires_grad for parameter in again.parameters())
    steps = sorted(int(path.name) for path in (tmp_path / "run" / "course").iterdir())
    assert steps == list(milestone_steps(21)) == [3, 5, 10]


def test_checkpoints_are_plain_values_of_the_parts_that_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[dict] = []
    monkeypatch.setattr(
        Stage, "on_train_end", lambda self: kept.append(self.trainer._checkpoint_connector.dump_checkpoint())
    )
    run(tmp_path)
    (checkpoint,) = kept
    path = tmp_path / "x.ckpt"
    torch.save(checkpoint, path)
    found = torch.load(path, weights_only=True)
    assert {key.split(".")[1] for key in found["state_dict"]} == {"projector"}
    assert "vlm.projector.mean" in found["state_dict"]
    assert len(found["losses"]) == 12


def test_learning_rates_warm_up_and_fall() -> None:
    optimisation = Optimisation({"projector": 1.0}, 100, 0.1, 0.0, 0)
    rates = [optimisation.factor(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert all(one >= other for one, other in pairwise(rates[10:]))


def test_parts_are_drawn_by_weight_and_all_samples_are_used(tmp_path: Path) -> None:
    data = made_vlms.training_data(made_vlms.tiny_vlm(tmp_path / "llm"))
    batches = schedule(data, 40, 8, seed=3)
    assert batches == schedule(data, 40, 8, seed=3) != schedule(data, 40, 8, seed=4)
    drawn = [sample for batch in batches for sample in batch]
    captions = [number for part, number in drawn if part == made_vlms.PROMPTS[0]]
    assert len(drawn) == 320
    assert len(captions) == 240
    assert sorted(captions) == sorted(list(range(20)) * 12)


def test_accumulated_micro_batches_are_one_step(tmp_path: Path) -> None:
    """Answers differ in length, and each of a step's answer tokens counts the same in however many parts."""

    def trained(folder: Path, accumulate: int) -> tuple[TrainingLog, VLM]:
        stages = [made_vlms.stage(accumulate=accumulate, batch_size=8)]
        vlm = made_vlms.tiny_vlm(folder / "llm", stages=stages)
        about = made_vlms.about(stages=stages, prompts={"kind": "x"})
        return Training(vlm, about, folder / "run", TRAINER).fit([made_vlms.training_data(vlm)]), vlm

    (whole, one), (parts, other) = trained(tmp_path / "whole", 1), trained(tmp_path / "parts", 4)
    assert parts.steps == 12
    torch.testing.assert_close(torch.tensor(parts.losses), torch.tensor(whole.losses), atol=1e-4, rtol=1e-4)
    for a, b in zip(one.projector.parameters(), other.projector.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_a_milestone_is_saved_once_with_accumulated_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[str] = []
    monkeypatch.setattr(milestones, "save_vlm", lambda _vlm, folder, _about: saved.append(folder.name))
    run(tmp_path, stages=[made_vlms.stage(accumulate=4, batch_size=8)], prompts={"caption": "x"})
    assert saved == ["2", "3", "6"]


def test_a_second_stage_continues_with_the_adapters_of_the_first(tmp_path: Path) -> None:
    tune = made_vlms.stage(name="tune", trains={"lora": 1e-2}, steps=3)
    stages = [tune, made_vlms.stage(name="more", trains={"lora": 0.0}, steps=2)]
    vlm, _ = run(tmp_path, lora=LORA, stages=stages)
    first = load_file(tmp_path / "run" / "stages" / "1-tune" / "lora.safetensors")
    for name, value in lora_state(vlm.causal_lm).items():
        torch.testing.assert_close(value, first[name], atol=0, rtol=0)


def test_the_loss_at_a_step_is_the_mean_over_an_eighth(tmp_path: Path) -> None:
    log = TrainingLog(tuple(float(i) for i in range(16)), 1.0, 5)
    assert log.loss_at(16) == 14.5
    assert log.loss_at(1) == 0
    log.write(tmp_path / "x.json")
    assert TrainingLog.read(tmp_path / "x.json") == log
    assert log + TrainingLog((1.0,), 2.0, 3) == TrainingLog((*log.losses, 1.0), 3.0, 5)
    assert TrainingLog.read(tmp_path / "y.json") is None
