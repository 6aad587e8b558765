"""What a stage takes of a device's memory, reckoned before it starts: too wide an encoder is refused in time."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlmatch.errors import VlmatchError
from vlmatch.memory import training_advice
from vlmatch.settings.recipe import ProjectorSettings, RecipeSettings, StageSettings
from vlmatch.settings.work import TrainerSettings
from vlmatch.vlm.batches import at_once
from vlmatch.vlm.model import VLM
from vlmatch.vlm.projector import Projector
from vlmatch.vlm.stage import parameters_of

GIB = 2**30
TRIED = 8  # tokens that an LLM is tried with: what it keeps for the backward pass is proportional to them


@dataclass(frozen=True)
class Budget:
    """Bytes on each device. AdamW keeps two numbers for each that learns; activations are what backward needs."""

    weights: float
    gradients: float
    optimiser: float
    activations: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.optimiser + self.activations


def require_memory(
    vlm: VLM,
    recipe: RecipeSettings,
    trainer: TrainerSettings,
    longest: Sequence[int],
    picture: Tensor,
    available: int | None = None,
) -> list[Budget]:
    """What each stage takes; VlmatchError, naming what to change, where that is more than a device has.

    longest: the tokens of each stage's longest sample. picture: one as the data give it, (c, h, w) or (t, d).
    available: bytes of a device; by default those of the GPU, or of this machine shared by its processes.
    """
    processes = processes_of(trainer)
    available = available or memory_of(trainer)
    budgets = []
    for number, (stage, length) in enumerate(zip(recipe.stages, longest, strict=True)):
        budget = budget_of(vlm, stage, trainer, length, picture, processes)
        if budget.total > available:
            samples = at_once(stage.batch_size, stage.accumulate, processes)
            parts = ", ".join(f"{name} {value / GIB:.3g}" for name, value in vars(budget).items())
            raise VlmatchError(
                f"recipe.stages.{number} ({stage.name}) needs about {budget.total / GIB:.3g} GiB on each device, "
                f"which has {available / GIB:.3g} ({parts}; {samples} samples at once); {training_advice(number)}"
            )
        budgets.append(budget)
    return budgets


def require_projector(
    width: int, llm_width: int, projector: ProjectorSettings, trainer: TrainerSettings, available: int | None = None
) -> None:
    """VlmatchError where the recipe's projector alone is more than a device has, before any of it is allocated."""
    available = available or memory_of(trainer)
    with torch.device("meta"):
        weights = sum(p.nbytes for p in Projector(width, llm_width, scale=1.0, **projector.model_dump()).parameters())
    if 4 * weights > available:
        raise VlmatchError(
            f"a projector from features of width {width:,} takes {4 * weights / GIB:.3g} GiB with its gradients and "
            f"AdamW's moments, and there are {available / GIB:.3g}; give a narrower encoder (encoder.feature=paper "
            "pools), or fewer recipe.projector.tokens"
        )


def budget_of(
    vlm: VLM, stage: StageSettings, trainer: TrainerSettings, length: int, picture: Tensor, processes: int
) -> Budget:
    """What one stage takes on each device, with samples of `length` tokens and one picture each.

    FSDP shares out weights, gradients and optimiser states, ZeRO-2 the last two. Of an LLM with gradient checkpointing
    the inputs of its layers are kept, and all of one layer at a time. Logits stand at half of the text's places.
    """
    strategy = trainer.strategy
    of_states = processes if strategy.startswith(("fsdp", "deepspeed")) else 1
    of_weights = processes if strategy.startswith("fsdp") else 1
    learning = [p for part in stage.trains for _, p in parameters_of(vlm, part)]
    learnt = sum(p.nbytes for p in learning)
    half = str(trainer.precision).startswith(("bf16", "16"))
    dtype = torch.bfloat16 if half else vlm.causal_lm.get_input_embeddings().weight.dtype
    kept = length * kept_by_llm(vlm, dtype, "llm" in stage.trains, stage.gradient_checkpointing)
    if vlm.visual is not None and "encoder" in stage.trains:
        kept += kept_by(vlm.visual, (picture[None],), torch.bfloat16 if half else torch.float32, trained=True)
    vocabulary = vlm.causal_lm.get_output_embeddings().weight.shape[0]
    kept += (
        (length - vlm.tokens_per_image) / 2 * vocabulary * (dtype.itemsize + 4 + 4)
    )  # as such, as float, its gradient
    return Budget(
        weights=sum(p.nbytes for p in vlm.parameters()) / of_weights,
        gradients=learnt / of_states,
        optimiser=2 * learnt / of_states,
        activations=at_once(stage.batch_size, stage.accumulate, processes) * max(0.0, kept),
    )


def kept_by_llm(vlm: VLM, dtype: torch.dtype, trained: bool, checkpointed: bool) -> float:
    """Bytes that the LLM keeps of each token for the backward pass, which leads through it to the projector."""
    config = vlm.causal_lm.config.get_text_config()
    tokens = {
        "inputs_embeds": torch.zeros(1, TRIED, config.hidden_size, requires_grad=True),
        "attention_mask": torch.zeros(1, 1, TRIED, TRIED),  # as a whole, so that no mask is made from its numbers
    }
    kept = kept_by(vlm.causal_lm.base_model, (), dtype, trained, **tokens, use_cache=False) / TRIED
    if not checkpointed:
        return kept
    return kept / config.num_hidden_layers + config.num_hidden_layers * config.hidden_size * dtype.itemsize


def kept_by(module: nn.Module, inputs: Sequence[Tensor], dtype: torch.dtype, trained: bool, **options: Any) -> int:
    """Bytes that a module keeps of its inputs for the backward pass, weights aside; nothing is computed.

    It runs on PyTorch's meta device, where tensors have shapes and no numbers.
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
            kept[storage._cdata] = (storage.nbytes(), storage)  # held, so that its address is not used again
        return tensor

    moved = {key: empty(value) if isinstance(value, Tensor) else value for key, value in options.items()}
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        torch.func.functional_call(module, state, tuple(empty(each) for each in inputs), moved)
    return sum(size for size, _ in kept.values())


def processes_of(trainer: TrainerSettings) -> int:
    """How many processes a trainer's config starts; 'auto' and -1 devices are all GPUs."""
    devices = trainer.devices
    if isinstance(devices, list):
        return len(devices)
    asked = -1 if devices == "auto" else int(devices)
    return asked if asked > 0 else max(1, torch.cuda.device_count())


def memory_of(trainer: TrainerSettings) -> int:
    """Bytes of a device: of the GPU, or of this machine shared by the trainer's processes."""
    if trainer.accelerator == "gpu" and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[1])
    return physical_memory() // processes_of(trainer)


def physical_memory(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Bytes of this machine's memory, or those that a container is held to (`limit`: its file) where they are fewer."""
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    held = limit.read_text().strip() if limit.is_file() else "max"
    return min(found, int(held)) if held.isdigit() else found
