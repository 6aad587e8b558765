"""FSDP: weights, gradients and optimiser states of a VLM shared out among processes, by PyTorch's fully_shard."""

from typing import Any

import torch
from torch import Tensor, nn

from vlmatch.errors import VlmatchError
from vlmatch.settings.recipe import RecipeSettings
from vlmatch.settings.work import TrainerSettings
from vlmatch.vlm.model import VLM

FSDP = "fsdp"


def strategy_of(name: str, processes: int) -> Any:
    """Lightning's strategy of a trainer's yaml: for 'fsdp' the one for fully_shard, all others are its own names."""
    if name != FSDP:
        return name
    from pytorch_lightning.strategies import ModelParallelStrategy

    return ModelParallelStrategy(
        data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False
    )


def require_joined(trainer: TrainerSettings) -> None:
    """Refuse strategies that start their processes within this one: each of them would read the first one's batches."""
    strategy = trainer.strategy
    if "spawn" in strategy or "fork" in strategy or "notebook" in strategy:
        raise VlmatchError(
            f"trainer.strategy={strategy} embeds, and can't train; start one process a GPU: "
            "torchrun --nproc-per-node GPUS src/run.py task=train trainer.strategy=ddp ..., or trainer=fsdp"
        )


def require_no_adapters(trainer: TrainerSettings, recipe: RecipeSettings) -> None:
    """Refuse LoRA under FSDP: adapters come into blocks that have been shared out, and would differ by process."""
    if trainer.strategy == FSDP and recipe.trains("lora"):
        raise VlmatchError(
            f"recipe={recipe.name} trains LoRA, which trainer.strategy=fsdp doesn't share out; give trainer=ddp "
            "trainer.strategy=ddp_find_unused_parameters_true"
        )


def shard(vlm: VLM, mesh: Any, half: bool) -> None:
    """Share out every block of encoder and LLM, the projector, what else the encoder has, and the rest.

    Each of these is gathered when it is its turn. half: gather and compute in bfloat16; weights stay as they are.
    All processes must run the same parts in each step: a batch without a picture needs a blank one.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if half else None
    options = {"mesh": mesh, **({"mp_policy": policy} if policy else {})}
    blocks = [block for each in vlm.modules() if isinstance(each, nn.ModuleList) for block in each if len(each) > 1]
    for module in (*reversed(blocks), vlm.projector, *([] if vlm.visual is None else [vlm.visual]), vlm):
        fully_shard(module, **options)


def is_shared(vlm: VLM) -> bool:
    """Whether `shard` has been there."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(vlm, FSDPModule)


def gathered(value: Tensor) -> Tensor:
    """A tensor that may be shared out, as a whole; all processes must ask for it."""
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value
