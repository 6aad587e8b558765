"""FSDP: PyTorch's fully_shard divides weights, gradients and optimiser states of a VLM among processes."""

from typing import Any

import torch
from torch import Tensor, nn

from vlmatch.errors import VlmatchError
from vlmatch.settings.recipe import RecipeSettings
from vlmatch.settings.work import TrainerSettings
from vlmatch.vlm.model import VLM

FSDP = "fsdp"
INSTEAD = {"bf16-true": "bf16-mixed", "16-true": "16-mixed", "64-true": "32-true", "64": "32-true"}
"""For each of Lightning's precisions that convert the whole model: the one to train in."""


def strategy_of(name: str, processes: int) -> Any:
    """What Lightning's trainer takes as the strategy of this name: an object for 'fsdp', otherwise the name itself."""
    if name != FSDP:
        return name
    from pytorch_lightning.strategies import ModelParallelStrategy

    return ModelParallelStrategy(
        data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False
    )


def require_joined(trainer: TrainerSettings) -> None:
    """Raise VlmatchError on strategies that spawn or fork processes: all would get the batches of the first one."""
    strategy = trainer.strategy
    if "spawn" in strategy or "fork" in strategy or "notebook" in strategy:
        raise VlmatchError(
            f"trainer.strategy={strategy} can embed but can't train; start one process for each GPU: "
            "torchrun --nproc-per-node GPUS src/run.py task=train trainer.strategy=ddp ..., or trainer=fsdp"
        )


def require_unconverted(trainer: TrainerSettings) -> None:
    """Raise VlmatchError on a precision that converts the whole model.

    In 16 bits, an LLM's rotary frequencies would be rounded. In 64 bits, the softmax of transformers, which computes in
    32 bits, would give NaN where all is masked.
    """
    if instead := INSTEAD.get(str(trainer.precision)):
        raise VlmatchError(
            f"trainer.precision={trainer.precision} can embed but can't train: it also converts the numbers from which "
            f"an LLM computes its positions and masks; give trainer.precision={instead}"
        )


def require_no_adapters(trainer: TrainerSettings, recipe: RecipeSettings) -> None:
    """Raise VlmatchError on LoRA under FSDP: adapters are added to sharded blocks, so processes would differ."""
    if trainer.strategy == FSDP and recipe.trains("lora"):
        raise VlmatchError(
            f"recipe={recipe.name} trains LoRA, which trainer.strategy=fsdp can't shard; give trainer=ddp "
            "trainer.strategy=ddp_find_unused_parameters_true"
        )


def shard(vlm: VLM, mesh: Any, half: bool) -> None:
    """Shard every block of encoder and LLM, the projector, the rest of the encoder, and the rest of the VLM.

    The weights of each part are gathered while it is computed. half: gather and compute in bfloat16; the stored weights
    keep their dtype. All processes must run the same parts in each step, so a batch without pictures needs a blank one.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if half else None
    options = {"mesh": mesh, **({"mp_policy": policy} if policy else {})}
    blocks = [block for each in vlm.modules() if isinstance(each, nn.ModuleList) for block in each if len(each) > 1]
    for module in (*reversed(blocks), vlm.projector, *([] if vlm.visual is None else [vlm.visual]), vlm):
        fully_shard(module, **options)


def is_shared(vlm: VLM) -> bool:
    """Whether `shard` has been applied to the VLM."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(vlm, FSDPModule)


def gathered(value: Tensor) -> Tensor:
    """The whole tensor, also if it is sharded; all processes must call this."""

    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value
