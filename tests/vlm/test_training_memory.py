"""The memory estimate of a stage equals closed forms, and a stage that does not fit is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import made_vlms
from vlmatch.encoders.controls import Pixels
from vlmatch.errors import VlmatchError
from vlmatch.settings.recipe import ProjectorSettings
from vlmatch.vlm.building import build_vlm
from vlmatch.vlm.model import VLM
from vlmatch.vlm.training_memory import (
    GIB,
    kept_by,
    kept_by_llm,
    memory_of_device,
    memory_of_stage,
    processes_of,
    require_memory,
    require_projector,
)

CPU = made_vlms.TRAINER
PICTURE = torch.zeros(1, 6)


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> VLM:
    return made_vlms.tiny_vlm(tmp_path_factory.mktemp("llm"))


def test_a_perceptron_keeps_its_input_and_the_values_before_and_after_gelu() -> None:
    layers = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))
    images = torch.zeros(3, 4)
    assert kept_by(layers, (images,), torch.float32, trained=True) == 3 * (4 + 8 + 8) * 4
    assert kept_by(layers, (images,), torch.bfloat16, trained=True) == 3 * (4 + 8 + 8) * 2
    assert kept_by(layers, (images,), torch.float32, trained=False) == 0
    assert kept_by(layers, (images.requires_grad_(),), torch.float32, trained=False) == 3 * 8 * 4
    assert all(not parameter.is_meta and parameter.requires_grad for parameter in layers.parameters())


def test_a_llama_keeps_the_bytes_of_korthikanti_et_al() -> None:
    """34 bytes a layer, token and width, without scores ("Reducing Activation Recomputation", 2023, section 4.1).

    transformers' norms, two a layer, work in float32: they keep up to 10 bytes more each.
    """
    config = transformers.LlamaConfig(vocab_size=32)  # of the size of Llama 7B, on no device
    with torch.device("meta"):
        causal_lm = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    model: Any = type("Model", (), {"causal_lm": causal_lm})
    kept = kept_by_llm(model, torch.bfloat16, trained=True, checkpointed=False)
    assert 34 <= kept / (config.hidden_size * config.num_hidden_layers) <= 34 + 2 * 10
    assert kept_by_llm(model, torch.bfloat16, trained=False, checkpointed=False) < kept
    inputs = config.num_hidden_layers * config.hidden_size * 2
    checkpointed = kept_by_llm(model, torch.bfloat16, trained=True, checkpointed=True)
    assert checkpointed == pytest.approx(inputs + kept / config.num_hidden_layers)


@pytest.mark.parametrize("family", ["opt", "qwen3_5"])
def test_llms_of_other_kinds_keep_more_if_they_are_trained(family: str, tmp_path: Path) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path, family)
    frozen, trained = (kept_by_llm(vlm, torch.float32, trained=each, checkpointed=False) for each in (False, True))
    assert 0 < frozen < trained


def test_an_llm_that_cannot_run_without_values_is_counted_without_activations(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vlm = made_vlms.tiny_vlm(tmp_path, "bloom")
    memory = memory_of_stage(vlm, made_vlms.stage(), CPU, 20, PICTURE, 1)
    assert memory.weights > 0
    assert memory.activations == 4 * (20 - vlm.tokens_per_image) / 2 * 259 * 12  # the logits of 4 samples alone
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("the memory of recipe stage 'align' is counted without the activations of llm 'bloom'")


def test_weights_gradients_and_both_moments_of_adam_are_counted(vlm: VLM) -> None:
    llm = sum(parameter.numel() for parameter in vlm.causal_lm.parameters())
    projector = sum(parameter.numel() for parameter in vlm.projector.parameters())
    stage = made_vlms.stage(trains={"projector": 1e-3, "llm": 1e-3})
    one = memory_of_stage(vlm, stage, CPU, 20, PICTURE, 1)
    assert (one.weights, one.gradients, one.optimiser) == tuple(n * 4 * (llm + projector) for n in (1, 1, 2))
    assert one.total == one.weights + one.gradients + one.optimiser + one.activations
    frozen = memory_of_stage(vlm, made_vlms.stage(), CPU, 20, PICTURE, 1)
    assert (frozen.gradients, frozen.optimiser) == (4 * projector, 8 * projector)
    assert frozen.activations < one.activations
    fsdp = memory_of_stage(vlm, stage, CPU.changed(strategy="fsdp"), 20, PICTURE, 4)
    assert (fsdp.weights, fsdp.gradients, fsdp.optimiser) == (one.weights / 4, one.gradients / 4, one.optimiser / 4)
    assert fsdp.activations == one.activations / 4  # 4 samples a batch, and as many processes
    zero = memory_of_stage(vlm, stage, CPU.changed(strategy="deepspeed_stage_2"), 20, PICTURE, 4)
    assert (zero.weights, zero.gradients, zero.optimiser) == (one.weights, one.gradients / 4, one.optimiser / 4)


def test_smaller_batches_and_checkpointing_take_less(vlm: VLM) -> None:
    def activations(**changes: Any) -> float:
        return memory_of_stage(vlm, made_vlms.stage(**changes), CPU, 20, PICTURE, 1).activations

    assert activations(accumulate=4) == activations() / 4
    assert activations(gradient_checkpointing=True) < activations()
    assert (
        memory_of_stage(vlm, made_vlms.stage(), CPU.changed(precision="bf16-mixed"), 20, PICTURE, 1).activations
        < activations()
    )


def test_an_encoder_that_is_trained_keeps_its_activations(tmp_path: Path) -> None:
    class Wide(Pixels):
        def __init__(self) -> None:
            super().__init__("wide", 4)
            self.layer = nn.Linear(3, 1000)

        def tokens(self, images: torch.Tensor) -> torch.Tensor:
            return self.layer(super().tokens(images))

    recipe = made_vlms.recipe(visual={"what": "patches", "cached": False}, projector={"kind": "linear", "tokens": 1})
    vlm = build_vlm(recipe, made_vlms.tiny_llm(tmp_path), Wide(), (16, 1000))
    picture = torch.zeros(3, 4, 4)
    trained = made_vlms.stage(trains={"projector": 1e-3, "encoder": 1e-3})
    frozen = memory_of_stage(vlm, made_vlms.stage(), CPU, 30, picture, 1)
    found = memory_of_stage(vlm, trained, CPU, 30, picture, 1)
    assert found.activations - frozen.activations == 4 * 16 * 3 * 4  # the input of its one layer, for 4 samples
    assert found.gradients - frozen.gradients == 4 * (3 * 1000 + 1000)


def test_a_stage_that_does_not_fit_is_refused_in_one_line(vlm: VLM) -> None:
    recipe = made_vlms.recipe()
    (memory,) = require_memory(vlm, recipe, CPU, [20], PICTURE)
    require_memory(vlm, recipe, CPU, [20], PICTURE, available=int(memory.total) + 1)
    with pytest.raises(VlmatchError) as caught:
        require_memory(vlm, recipe, CPU, [20], PICTURE, available=int(memory.total) - 1)
    said = str(caught.value)
    assert said.startswith(f"recipe.stages.0 (align) needs about {memory.total / GIB:.3g} GiB on each device, but")
    for way in (
        "4 samples at once",
        "recipe.stages.0.accumulate",
        "gradient_checkpointing=true",
        "trainer=fsdp",
        "narrower encoder",
    ):
        assert way in said
    assert "\n" not in said


def test_a_projector_too_wide_is_refused_before_it_is_allocated() -> None:
    settings = ProjectorSettings(kind="mlp2x_gelu", tokens=2)
    weights = 4 * (1000 * 32 + 32 + 32 * 64 + 64)
    require_projector(1000, 32, settings, CPU, available=4 * weights)
    with pytest.raises(VlmatchError, match=r"recipe\.projector .*width 1,000.*narrower encoder"):
        require_projector(1000, 32, settings, CPU, available=4 * weights - 1)
    with pytest.raises(VlmatchError, match="narrower encoder"):  # 40 TB, which nothing could allocate
        require_projector(10**10, 256, settings, CPU)


def test_the_number_of_processes_follows_from_the_trainer() -> None:
    assert processes_of(CPU.changed(devices=2)) == 2
    assert processes_of(CPU.changed(devices=[0, 1, 2])) == 3
    assert processes_of(CPU.changed(devices="auto")) == 1
    assert processes_of(CPU.changed(devices=-1)) == 1


@pytest.mark.parametrize("accelerator", ["gpu", "cuda", "auto"])
def test_all_gpus_are_counted_and_the_process_has_what_is_free_on_its_own(
    monkeypatch: pytest.MonkeyPatch, accelerator: str
) -> None:
    free = {0: 3 * GIB, 1: 5 * GIB, 2: 7 * GIB}
    reserved = {0: 0, 1: GIB, 2: 0}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device], 24 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved[device])
    trainer = CPU.changed(accelerator=accelerator, devices="auto")
    assert processes_of(trainer) == processes_of(trainer.changed(devices=-1)) == 3
    assert processes_of(CPU.changed(devices="auto")) == 1
    assert memory_of_device(trainer) == 3 * GIB
    assert memory_of_device(trainer.changed(devices=[2])) == 7 * GIB
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert memory_of_device(trainer) == memory_of_device(trainer.changed(devices=[0, 1])) == 6 * GIB
    with pytest.raises(VlmatchError, match=r"^trainer: "):
        memory_of_device(trainer.changed(devices=[9]))
