"""Estimates the memory that a stage needs, and refuses a stage that can't fit before it starts."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlmatch.errors import VlmatchError, one_line
from vlmatch.lightning import trainer_faults
from vlmatch.machine.memory import physical_memory, training_advice
from vlmatch.machine.processes import local_rank
from vlmatch.settings.recipe import ProjectorSettings, RecipeSettings, StageSettings
from vlmatch.settings.work import TrainerSettings
from vlmatch.vlm.batches import at_once
from vlmatch.vlm.model import VLM
from vlmatch.vlm.projector import Projector
from vlmatch.vlm.stage import parameters_of

log = logging.getLogger(__name__)

GIB = 2**30
TRIED = 64  # tokens with which an LLM's activations are estimated: a chunk of linear attention


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that a stage needs on each device.

    optimiser: AdamW's two moments of each trained weight. activations: the tensors kept for the backward pass.
    """

    weights: float
    gradients: float
    optimiser: float
    activations: float

    @property
    def total(self) -> float:
        """The sum of all four."""
        return self.weights + self.gradients + self.optimiser + self.activations


def require_memory(
    vlm: VLM,
    recipe: RecipeSettings,
    trainer: TrainerSettings,
    longest: Sequence[int],
    picture: Tensor,
    available: int | None = None,
) -> list[TrainingMemory]:
    """The memory of each stage. Raises VlmatchError, with advice, if a stage needs more memory than a device has.

    longest: the length of each stage's longest sample, in tokens. picture: any picture of the data, (c, h, w) or
    (t, d). available: bytes of a device; by default, `memory_of_device` gives them.
    """
    processes = processes_of(trainer)
    available = available or memory_of_device(trainer)
    found = []
    for number, (stage, length) in enumerate(zip(recipe.stages, longest, strict=True)):
        memory = memory_of_stage(vlm, stage, trainer, length, picture, processes)
        if memory.total > available:
            samples = at_once(stage.batch_size, stage.accumulate, processes)
            parts = ", ".join(f"{name} {value / GIB:.3g}" for name, value in vars(memory).items())
            raise VlmatchError(
                f"recipe.stages.{number} ({stage.name}) needs about {memory.total / GIB:.3g} GiB on each device, "
                f"but {available / GIB:.3g} are available ({parts}; {samples} samples at once); "
                f"{training_advice(number)}"
            )
        found.append(memory)
    return found


def require_projector(
    width: int, llm_width: int, projector: ProjectorSettings, trainer: TrainerSettings, available: int | None = None
) -> None:
    """Raise VlmatchError if the projector alone needs more memory than a device has; nothing is allocated."""
    available = available or memory_of_device(trainer)
    with torch.device("meta"):
        weights = sum(p.nbytes for p in Projector(width, llm_width, scale=1.0, **projector.model_dump()).parameters())
    if 4 * weights > available:
        raise VlmatchError(
            f"recipe.projector needs {4 * weights / GIB:.3g} GiB for features of width {width:,}, with gradients and "
            f"AdamW's moments, but {available / GIB:.3g} are available on a device; give a narrower encoder "
            "(encoder.feature=paper pools), or fewer recipe.projector.tokens"
        )


def memory_of_stage(
    vlm: VLM, stage: StageSettings, trainer: TrainerSettings, length: int, picture: Tensor, processes: int
) -> TrainingMemory:
    """The memory of one stage, for samples of `length` tokens with one picture each.

    FSDP divides weights, gradients and optimiser states among the processes; DeepSpeed's ZeRO-2 divides gradients and
    optimiser states. With gradient checkpointing, an LLM keeps the inputs of its layers, and the activations of one
    layer at a time. We assume that half of the text's tokens have a label, and so need logits. An LLM that transformers
    can't run without values (a mixture of experts in float32) is counted without its activations, with a warning.
    """
    strategy = trainer.strategy
    of_states = processes if strategy.startswith(("fsdp", "deepspeed")) else 1
    of_weights = processes if strategy.startswith("fsdp") else 1
    learning = [p for part in stage.trains for _, p in parameters_of(vlm, part)]
    learnt = sum(p.nbytes for p in learning)
    half = str(trainer.precision).startswith(("bf16", "16"))
    dtype = torch.bfloat16 if half else vlm.causal_lm.get_input_embeddings().weight.dtype
    try:
        kept = length * kept_by_llm(vlm, dtype, "llm" in stage.trains, stage.gradient_checkpointing)
    except Exception as error:  # each architecture has its own reasons
        log.warning(
            "the memory of recipe stage '%s' is counted without the activations of llm '%s', which can't be estimated "
            "(%s: %s); if memory runs out, give a smaller recipe.stages.N.batch_size",
            stage.name, vlm.llm.name, type(error).__name__, one_line(error)[:100],
        )  # fmt: skip
        kept = 0.0
    if vlm.visual is not None and "encoder" in stage.trains:
        kept += kept_by(vlm.visual, (picture[None],), torch.bfloat16 if half else torch.float32, trained=True)
    vocabulary = vlm.causal_lm.get_output_embeddings().weight.shape[0]
    of_logit = dtype.itemsize + 4 + 4  # in the LLM's dtype, in float32, and its gradient
    kept += (length - vlm.tokens_per_image) / 2 * vocabulary * of_logit
    return TrainingMemory(
        weights=sum(p.nbytes for p in vlm.parameters()) / of_weights,
        gradients=learnt / of_states,
        optimiser=2 * learnt / of_states,
        activations=at_once(stage.batch_size, stage.accumulate, processes) * max(0.0, kept),
    )


def kept_by_llm(vlm: VLM, dtype: torch.dtype, trained: bool, checkpointed: bool) -> float:
    """Bytes per token that the LLM keeps for the backward pass; a frozen LLM too, for the projector's gradient.

    Fused attention keeps no scores, so the bytes are proportional to the number of tokens.
    """
    config = vlm.causal_lm.config.get_text_config()
    tokens = {
        "inputs_embeds": torch.zeros(1, TRIED, config.hidden_size, requires_grad=True),
        "attention_mask": torch.zeros(1, 1, TRIED, TRIED),  # 4-D: a 2-D mask's values would be read; it has none
        "position_ids": torch.arange(TRIED)[None],  # OPT would count them in a 2-D mask
    }
    kept = kept_by(vlm.causal_lm.base_model, (), dtype, trained, **tokens, use_cache=False) / TRIED
    if not checkpointed:
        return kept
    return kept / config.num_hidden_layers + config.num_hidden_layers * config.hidden_size * dtype.itemsize


def kept_by(module: nn.Module, inputs: Sequence[Tensor], dtype: torch.dtype, trained: bool, **options: Any) -> int:
    """Bytes that a module keeps for the backward pass, besides its weights.

    It runs on PyTorch's meta device, where tensors have shapes and no values, so nothing is computed.
    """

    def empty(tensor: Tensor) -> Tensor:
        found = tensor.detach().to("meta", dtype if tensor.is_floating_point() else None)
        return found.requires_grad_(tensor.requires_grad)

    state = {name: empty(value) for name, value in [*module.named_parameters(), *module.named_buffers()]}
    for name, _ in module.named_parameters():
        state[name].requires_grad_(trained)
    weights = {value.untyped_storage()._cdata for value in state.values()}
    kept: dict[int, tuple[int, Any]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = (storage.nbytes(), storage)  # a reference, so that its address is not reused
        return tensor

    moved = {key: empty(value) if isinstance(value, Tensor) else value for key, value in options.items()}
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        torch.func.functional_call(module, state, tuple(empty(each) for each in inputs), moved)
    return sum(size for size, _ in kept.values())


def processes_of(trainer: TrainerSettings) -> int:
    """How many processes the trainer's settings start; devices 'auto' and -1 mean all GPUs, or one process on a CPU."""
    devices = trainer.devices
    if isinstance(devices, list):
        return len(devices)
    if isinstance(devices, int) and devices > 0:
        return devices
    return torch.cuda.device_count() if on_gpus(trainer) else 1


def on_gpus(trainer: TrainerSettings) -> bool:
    """Whether Lightning uses this machine's CUDA GPUs with these settings."""
    return trainer.accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available()


def memory_of_device(trainer: TrainerSettings) -> int:
    """Bytes for this process: what is free or its own on its GPU, or this machine's memory divided by the processes."""
    if not on_gpus(trainer):
        return physical_memory() // processes_of(trainer)
    devices = trainer.devices if isinstance(trainer.devices, list) else range(torch.cuda.device_count())
    with trainer_faults():  # there may be no such GPU
        device = devices[local_rank() % len(devices)]
        return int(torch.cuda.mem_get_info(device)[0]) + torch.cuda.memory_reserved(device)
