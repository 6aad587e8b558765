"""Training: what learns, in which order samples come, and that a killed run goes on as if nothing had been."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import made_vlms
from vlmatch.errors import VlmatchError
from vlmatch.vlm import fit
from vlmatch.vlm.batches import Batches, Collate
from vlmatch.vlm.course import Fitted, milestones
from vlmatch.vlm.fit import Training
from vlmatch.vlm.material import Listed, Material, schedule, steps_of
from vlmatch.vlm.model import VLM
from vlmatch.vlm.runs import Run
from vlmatch.vlm.saved import load, save
from vlmatch.vlm.stage import Optimisation, Stage

TRAINER = {"accelerator": "cpu", "devices": 1, "strategy": "auto", "precision": "32-true"}
LORA = {"r": 2, "alpha": 4, "dropout": 0.2, "targets": ["q_proj", "v_proj"]}
TWO_STAGES = {
    "lora": LORA,
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
    _, fitted = run(tmp_path, stages=[made_vlms.stage(accumulate=2, batch_size=8)])
    assert fitted.steps == 12


def test_a_folder_goes_on_only_under_its_own_settings(tmp_path: Path) -> None:
    def made(**changes):
        settings = {**made_vlms.recipe(), **changes}
        return Run({"name": "e", "_target_": "x"}, {"name": "l"}, settings)

    folder = made().claim(tmp_path)
    assert folder == tmp_path / "tiny" / "l-made" / "e-0"
    assert made().claim(tmp_path) == folder
    assert made(seed=1).claim(tmp_path) != folder
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
    with pytest.raises(VlmatchError, match=r"recipe\.projector\.kind='deep' is unknown"):
        made_vlms.tiny_vlm(tmp_path / "other", projector={"kind": "deep", "tokens": 1})


def test_a_sample_longer_than_the_context_is_refused(tmp_path: Path) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path / "llm")
    vlm.causal_lm.config.max_position_embeddings = 15
    with pytest.raises(VlmatchError, match=r"longest sample has \d+ tokens, .* llm 'llama' reads 15; give a smaller"):
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
