"""Training: what learns, in which order samples come, and that a killed run goes on as if nothing had been."""

import errno
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import made_vlms
from vlmatch.complaints import complaint
from vlmatch.errors import VlmatchError
from vlmatch.vlm import course, fit
from vlmatch.vlm.batches import Batches, Collate, at_once
from vlmatch.vlm.course import Fitted, milestones
from vlmatch.vlm.fit import Training
from vlmatch.vlm.lora import lora_state
from vlmatch.vlm.material import Listed, Material, schedule, steps_of
from vlmatch.vlm.model import VLM, Batch
from vlmatch.vlm.runs import Run
from vlmatch.vlm.saved import load, save
from vlmatch.vlm.stage import Optimisation, Stage

TRAINER = {"accelerator": "cpu", "devices": 1, "strategy": "auto", "precision": "32-true"}
LORA = {"r": 2, "alpha": 4, "dropout": 0.2, "targets": ["q_proj", "v_proj"]}
TWO_STAGES = {
    "lora": LORA,
    "prompts": {"caption": "x"},  # of a recipe without any, no VLM is kept on the way
    "stages": [made_vlms.stage(), made_vlms.stage(name="tune", trains={"projector": 1e-3, "lora": 1e-2}, steps=9)],
}


def run(folder: Path, **changes):
    vlm = made_vlms.tiny_vlm(folder / "llm", **changes)
    stages = changes.get("stages", [made_vlms.stage()])
    materials = [made_vlms.material(vlm) for _ in stages]
    fitted = Training(vlm, made_vlms.about(**changes), folder / "run", TRAINER).fit(materials)
    return vlm, fitted


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[VLM, Fitted]:
    """A run of two stages, 21 steps in all."""
    return run(tmp_path_factory.mktemp("whole"), **TWO_STAGES)


@pytest.mark.parametrize("killed_at", [7, 14, 20])
def test_a_killed_run_goes_on_with_the_same_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: tuple[VLM, Fitted], killed_at: int
) -> None:
    monkeypatch.setattr(fit, "CHECKPOINTS", 4)
    vlm, whole = uninterrupted
    seen = 0

    def die(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == killed_at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Stage, "on_train_batch_start", die)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run(tmp_path / "killed", **TWO_STAGES)
    again, resumed = run(tmp_path / "killed", **TWO_STAGES)
    assert len(resumed.losses) == 21
    torch.testing.assert_close(torch.tensor(resumed.losses), torch.tensor(whole.losses), atol=1e-6, rtol=0)
    for one, other in zip(vlm.projector.parameters(), again.projector.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_sixteen_examples_are_learnt_by_heart(tmp_path: Path) -> None:
    stages = [made_vlms.stage(trains={"projector": 1e-2, "llm": 3e-3}, steps=150, batch_size=16)]
    vlm = made_vlms.tiny_vlm(tmp_path / "llm", stages=stages)
    whole = made_vlms.material(vlm, n=16)
    captions = Material({"caption": whole.parts[made_vlms.PROMPTS[0]]}, whole.pictures)
    fitted = Training(vlm, made_vlms.about(stages=stages), tmp_path / "run", TRAINER).fit([captions])
    assert fitted.losses[0] > 3
    assert fitted.losses[-1] < 0.05


def test_only_what_the_recipe_names_learns(tmp_path: Path) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path / "llm", **TWO_STAGES)
    before = {name: p.detach().clone() for name, p in vlm.named_parameters()}
    Training(vlm, made_vlms.about(**TWO_STAGES), tmp_path / "run", TRAINER).fit([made_vlms.material(vlm)] * 2)
    plain = {name.replace(".base_layer", ""): p for name, p in vlm.named_parameters() if "lora_" not in name}
    assert plain.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(value, plain[name]) != name.startswith("projector."), name
    assert any(float(p.detach().abs().max()) > 0 for name, p in vlm.named_parameters() if "lora_B" in name)


def test_what_is_saved_loads_to_the_same_answers(tmp_path: Path) -> None:
    vlm, _ = run(tmp_path, **TWO_STAGES)
    picture = torch.randn(1, 1, 6)
    prompt = made_vlms.expanded_prompt(vlm)
    again = load(tmp_path / "run" / "final", llm=made_vlms.tiny_llm(tmp_path / "again"))
    with torch.no_grad():
        logits = [
            one.eval().causal_lm(inputs_embeds=one.embed(torch.tensor([prompt]), picture)).logits
            for one in (vlm, again)
        ]
    torch.testing.assert_close(*logits, atol=1e-6, rtol=0)
    assert not any(parameter.requires_grad for parameter in again.parameters())
    course = sorted(int(path.name) for path in (tmp_path / "run" / "course").iterdir())
    assert course == list(milestones(21)) == [3, 5, 10]


def test_checkpoints_are_plain_values_and_hold_what_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "CHECKPOINTS", 4)
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    broken = made_vlms.material(vlm)
    order = schedule(broken, 12, 4, 0)
    seen = {number for batch in order[:4] for _, number in batch}
    late = next(number for batch in order[4:] for _, number in batch if number not in seen)
    broken.pictures[late] = float("nan")
    vlm.projector.standardise = lambda _: None  # a NaN would be in every mean
    with pytest.raises(VlmatchError, match=rf"loss is nan at step .*\b{late}\b.*last checkpoint is kept"):
        Training(vlm, made_vlms.about(), tmp_path / "run", TRAINER).fit([broken])
    checkpoint = torch.load(tmp_path / "run" / "stages" / "1-align" / "last.ckpt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


def test_a_gradient_that_is_no_number_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        Training(vlm, made_vlms.about(), tmp_path / "run", TRAINER).fit([made_vlms.material(vlm)])
    checkpoint = torch.load(tmp_path / "run" / "stages" / "1-align" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "CHECKPOINTS", 4)
    write, calls = torch.save, 0

    def full(value: object, path: Path, *rest: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            Path(path).write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(value, path, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(OSError, match="No space left") as raised:
            run(tmp_path)
    assert "the disk is full; free some space" in str(complaint(raised.value))
    folder = tmp_path / "run" / "stages" / "1-align"
    assert [path.name for path in folder.iterdir()] == ["last.ckpt"]
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 3
    assert run(tmp_path)[1].steps == 12


def test_an_error_that_nobody_foresaw_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(*_: object) -> None:
        raise RuntimeError("sizes differ")

    monkeypatch.setattr(VLM, "loss", odd)
    with pytest.raises(RuntimeError, match="sizes differ") as raised:
        run(tmp_path)
    assert complaint(raised.value) is None


def test_other_data_under_the_same_settings_are_refused(tmp_path: Path) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    training = Training(vlm, made_vlms.about(), tmp_path / "run", TRAINER)
    first = made_vlms.material(vlm)
    training.fit([replace(first, fingerprint="one")])
    training.fit([replace(first, fingerprint="one")])
    with pytest.raises(VlmatchError, match="begun with other training data, though under the same settings"):
        training.fit([replace(first, fingerprint="other")])


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook"])
def test_strategies_whose_processes_would_share_batches_are_refused(tmp_path: Path, strategy: str) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    with pytest.raises(VlmatchError, match=rf"trainer\.strategy={strategy} .* torchrun"):
        Training(vlm, made_vlms.about(), tmp_path / "run", {**TRAINER, "strategy": strategy}).fit([])


def test_learning_rates_warm_up_and_fall() -> None:
    optimisation = Optimisation({"projector": 1.0}, 100, 0.1, 0.0, 0)
    rates = [optimisation.factor(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert all(one >= other for one, other in pairwise(rates[10:]))


def test_parts_are_drawn_by_weight_and_all_of_their_samples_come(tmp_path: Path) -> None:
    material = made_vlms.material(made_vlms.tiny_vlm(tmp_path / "llm"))
    batches = schedule(material, 40, 8, seed=3)
    assert batches == schedule(material, 40, 8, seed=3) != schedule(material, 40, 8, seed=4)
    drawn = [sample for batch in batches for sample in batch]
    captions = [number for part, number in drawn if part == made_vlms.PROMPTS[0]]
    assert len(drawn) == 320
    assert len(captions) == 240
    assert sorted(captions) == sorted(list(range(20)) * 12)


@pytest.mark.parametrize(
    ("steps", "epochs", "message"),
    [(None, None, "give one of them"), (5, 1.0, "give one of them"), (None, 0.1, "don't fill one batch of 8")],
)
def test_a_recipe_says_how_long(tmp_path: Path, steps: int | None, epochs: float | None, message: str) -> None:
    material = Material({"a": (1.0, Listed([None] * 20))}, torch.zeros(20, 1, 6))
    assert steps_of(material, None, 2, 8) == 5
    with pytest.raises(VlmatchError, match=message):
        steps_of(material, steps, epochs, 8)


def test_accumulated_micro_batches_are_one_step(tmp_path: Path) -> None:
    """Means over parts with as many answer tokens are the mean over the whole."""

    def trained(folder: Path, accumulate: int) -> tuple[Fitted, VLM]:
        stages = [made_vlms.stage(accumulate=accumulate, batch_size=8)]
        vlm = made_vlms.tiny_vlm(folder / "llm", stages=stages)
        found = made_vlms.material(vlm)
        kinds = Material({"kind": found.parts[made_vlms.PROMPTS[1]]}, found.pictures)  # each of one token, and an end
        about = made_vlms.about(stages=stages, prompts={"kind": "x"})
        return Training(vlm, about, folder / "run", TRAINER).fit([kinds]), vlm

    (whole, one), (parts, other) = trained(tmp_path / "whole", 1), trained(tmp_path / "parts", 4)
    assert parts.steps == 12
    torch.testing.assert_close(torch.tensor(parts.losses), torch.tensor(whole.losses), atol=1e-4, rtol=1e-4)
    for a, b in zip(one.projector.parameters(), other.projector.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_a_milestone_is_saved_once_however_many_parts_a_batch_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []
    monkeypatch.setattr(course, "save", lambda _vlm, folder, _about: saved.append(folder.name))
    run(tmp_path, stages=[made_vlms.stage(accumulate=4, batch_size=8)], prompts={"caption": "x"})
    assert saved == ["2", "3", "6"]


def test_a_batch_that_can_not_be_cut_evenly_is_refused(tmp_path: Path) -> None:
    assert at_once(32, 4, 2) == 4
    with pytest.raises(VlmatchError, match=r"batch_size=6 can't be cut into accumulate=4 times 1 processes"):
        run(tmp_path, stages=[made_vlms.stage(accumulate=4, batch_size=6)])


def test_a_second_stage_goes_on_with_the_adapters_of_the_first(tmp_path: Path) -> None:
    tune = made_vlms.stage(name="tune", trains={"lora": 1e-2}, steps=3)
    stages = [tune, made_vlms.stage(name="more", trains={"lora": 0.0}, steps=2)]
    vlm, _ = run(tmp_path, lora=LORA, stages=stages)
    first = load_file(tmp_path / "run" / "stages" / "1-tune" / "lora.safetensors")
    for name, value in lora_state(vlm.causal_lm).items():
        torch.testing.assert_close(value, first[name], atol=0, rtol=0)


def test_a_folder_goes_on_only_under_its_own_settings(tmp_path: Path) -> None:
    def made(**changes):
        settings = {**made_vlms.recipe(), **changes}
        return Run({"name": "e", "_target_": "x"}, {"name": "l"}, settings)

    folder = made().claim(tmp_path)
    assert folder == tmp_path / "tiny" / "l-made" / "e-0"
    assert made().claim(tmp_path) == folder
    assert made(seed=1).claim(tmp_path) != folder
    for name in ("e-0", "e-1", "e-big-0"):  # of an encoder 'e-big' too
        (folder.parent / name).mkdir(exist_ok=True)
        (folder.parent / name / "result.json").touch()
    assert [path.parent.name for path in made().results_of_all_seeds(tmp_path)] == ["e-0", "e-1"]
    assert made(version=3).claim(tmp_path) == folder, "nothing has been trained there yet"
    assert made().claim(tmp_path) == folder
    (folder / "vlm").mkdir()
    with pytest.raises(VlmatchError, match=r"recipe\.version: 1 there, 2 asked for"):
        made(version=2).claim(tmp_path)


def test_losses_are_told_over_an_eighth(tmp_path: Path) -> None:
    fitted = Fitted(tuple(float(i) for i in range(16)), 1.0, 5)
    assert fitted.loss_at(16) == 14.5
    assert fitted.loss_at(1) == 0
    fitted.write(tmp_path / "x.json")
    assert Fitted.read(tmp_path / "x.json") == fitted
    assert fitted + Fitted((1.0,), 2.0, 3) == Fitted((*fitted.losses, 1.0), 3.0, 5)
    assert Fitted.read(tmp_path / "y.json") is None


def test_unknown_parts_and_encoders_that_are_not_there_are_refused(tmp_path: Path) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    with pytest.raises(VlmatchError, match="trains has 'tower'; choose of projector, encoder, llm, lora"):
        Stage(vlm, Optimisation({"tower": 1.0}, 1, 0, 0, 0))
    with pytest.raises(VlmatchError, match=r"recipe\.visual\.cached=false"):
        Stage(vlm, Optimisation({"encoder": 1.0}, 1, 0, 0, 0))
    with pytest.raises(VlmatchError, match="no layer of LlamaForCausalLM is named so"):
        run(tmp_path, lora={**LORA, "targets": ["nowhere"]}, stages=[made_vlms.stage(trains={"lora": 1e-3})])
    for visual, said in (
        ({"what": "patches", "cached": True}, "features alone are cached"),
        ({"what": "feature", "cached": False}, r"standardised=true needs features, so recipe\.visual\.cached=true"),
        ({"what": "all", "cached": True}, r"recipe\.visual\.what='all' is unknown"),
    ):
        with pytest.raises(VlmatchError, match=said):
            made_vlms.tiny_vlm(tmp_path / "wrong", visual=visual)
    with pytest.raises(VlmatchError, match=r"recipe\.projector\.kind='deep' is unknown"):
        made_vlms.tiny_vlm(tmp_path / "other", projector={"kind": "deep", "tokens": 1})


def test_a_sample_longer_than_the_context_is_refused(tmp_path: Path) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    vlm.causal_lm.config.max_position_embeddings = 15
    with pytest.raises(VlmatchError, match=r"samples have up to \d+ tokens, .* llm 'llama' reads 15; give a smaller"):
        Training(vlm, made_vlms.about(), tmp_path / "run", TRAINER).fit([made_vlms.material(vlm)])


class Broken:
    """Pictures of which one can't be read."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, number: int) -> torch.Tensor:
        if number == 7:
            raise VlmatchError("picture 7 is broken; mend it")
        return torch.zeros(1, 6)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_a_worker_can_not_read_is_one_line(tmp_path: Path, workers: int) -> None:
    material = Material(made_vlms.material(made_vlms.tiny_vlm(tmp_path / "llm")).parts, Broken())
    batches = Batches(material, schedule(material, 20, 4, 0), Collate(2), workers)
    with pytest.raises(VlmatchError) as raised:
        list(batches)
    assert str(raised.value) == "picture 7 is broken; mend it"


def test_a_folder_without_a_vlm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VlmatchError, match="holds no trained VLM"):
        load(tmp_path)
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    save(vlm, tmp_path / "saved", made_vlms.about())
    description = json.loads((tmp_path / "saved" / "vlm.json").read_text())
    description["recipe"]["projector"]["kind"] = "linear"
    (tmp_path / "saved" / "vlm.json").write_text(json.dumps(description))
    with pytest.raises(VlmatchError, match="is not of this recipe"):
        load(tmp_path / "saved", llm=vlm.llm)
