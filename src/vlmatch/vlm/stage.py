"""One stage of a training: which parts learn, how fast, and what is logged of every step."""

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor, nn

from vlmatch.errors import VlmatchError
from vlmatch.vlm.model import VLM, Batch
from vlmatch.vlm.sharding import gathered, is_shared, shard

PARTS = ("projector", "encoder", "llm", "lora")


@dataclass(frozen=True)
class Optimisation:
    """How a stage learns: `trains` is the highest learning rate of each part that learns, the others are frozen.

    AdamW; the rates rise over the first `warm_up` of `steps` and fall to 0 by a cosine. Norms, biases and positions
    have no weight decay.
    """

    trains: Mapping[str, float]
    steps: int
    warm_up: float
    weight_decay: float
    seed: int

    def factor(self, step: int) -> float:
        """What the learning rates are multiplied by at a step, counted from 0."""
        rising = math.ceil(self.warm_up * self.steps)
        if step < rising:
            return (step + 1) / rising
        return (1 + math.cos(math.pi * (step - rising) / max(1, self.steps - rising))) / 2


class Stage(LightningModule):
    """A VLM in one stage of its training.

    Checkpoints hold what learns, and plain values. Random numbers (dropout) follow from seed and step.
    prefixes: texts that stand in front of samples and are not in their batches.
    """

    def __init__(self, vlm: VLM, optimisation: Optimisation, prefixes: Sequence[Sequence[int]] = ()) -> None:
        super().__init__()
        if unknown := sorted(set(optimisation.trains) - set(PARTS)):
            raise VlmatchError(f"recipe.stages: trains has '{unknown[0]}'; choose of {', '.join(PARTS)}")
        self.vlm = vlm
        self.optimisation = optimisation
        self.prefixes = prefixes
        self.strict_loading = False  # what is frozen is not in a checkpoint
        self.losses: list[float] = []
        self.seconds = 0.0
        self._spent, self._tokens, self._summed = time.perf_counter(), 0, 0.0
        self._names: tuple[str, ...] = ()
        for parameter in self.vlm.parameters():
            parameter.requires_grad_(False)
        for part in optimisation.trains:
            for _, parameter in parameters_of(vlm, part):
                parameter.requires_grad_(True)

    def configure_model(self) -> None:
        """Share out the model among the processes, where the trainer says so and an earlier stage has not."""
        if isinstance(self.trainer.strategy, ModelParallelStrategy) and not is_shared(self.vlm):
            half = str(self.trainer.precision).startswith("bf16")
            shard(self.vlm, self.device_mesh["data_parallel"], half)  # type: ignore[index]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean cross entropy over the answers' tokens."""
        torch.manual_seed((self.optimisation.seed * 100_003 + batch_idx) * 1009 + self.global_rank)
        loss = self.vlm.loss(batch)
        self._names = batch.names
        self._require_finite("loss", float(loss.detach()))
        self._tokens += int(batch.mask.sum())
        self._summed += float(loss.detach()) / self.trainer.accumulate_grad_batches
        return loss

    def on_train_start(self) -> None:
        """Cache the prefixes, where the LLM is now; what is frozen, encoders' batch statistics too, stays as in use."""
        self.vlm.eval()
        self.vlm.projector.train()
        if {"llm", "lora"} & set(self.optimisation.trains) or self.vlm.causal_lm.is_activation_checkpointing:
            self.vlm.causal_lm.train()  # transformers recomputes nothing in evaluation mode
        if self.prefixes:
            self.vlm.cache_prefixes(self.prefixes)
        self._spent = time.perf_counter()

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Log what a step took, before its gradient is clipped."""
        if not ends_step(self.trainer, self.trainer.fit_loop.batch_idx):
            return  # DeepSpeed's strategy comes here with every part of a step
        now, processes = time.perf_counter(), self.trainer.world_size
        ours = torch.tensor([self._summed, self._tokens], device=self.device)
        loss, tokens = self.trainer.strategy.reduce(ours, reduce_op="mean").tolist()
        gradients = [p.grad for p in self.vlm.parameters() if p.grad is not None]
        measured = {
            "gradient_norm": float(gathered(nn.utils.get_total_norm(gradients))),
            "learning_rate": optimizer.param_groups[0]["lr"],
            "tokens_per_second": tokens * processes / (now - self._spent),
            "memory_gib": used_memory() / 2**30,
        }
        if self.trainer.precision != "16-mixed":  # its scaler leaves such steps out
            self._require_finite("gradient's norm", measured["gradient_norm"])
        self.log("loss", loss, prog_bar=True)
        self.log_dict(measured)
        self.losses.append(loss)
        self.seconds += now - self._spent
        self._spent, self._tokens, self._summed = now, 0, 0.0

    def _require_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise VlmatchError(
                f"the {what} is {value} at step {self.global_step + 1}, in a batch with {', '.join(self._names[:4])} "
                "and others; the last checkpoint is kept. Give a lower learning rate (recipe.stages), or look at these "
                "samples"
            )

    def configure_optimizers(self) -> Any:
        """AdamW over a group for each part, with and without weight decay."""
        optimisation = self.optimisation
        groups = [
            {"params": parameters, "lr": rate, "weight_decay": optimisation.weight_decay if decays else 0.0}
            for part, rate in optimisation.trains.items()
            for decays in (True, False)
            if (parameters := [p for name, p in parameters_of(self.vlm, part) if _decays(name, p) == decays])
        ]
        optimiser = torch.optim.AdamW(groups)
        cycle = torch.optim.lr_scheduler.LambdaLR(optimiser, optimisation.factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what is frozen."""
        kept = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        kept |= {f"vlm.projector.{name}" for name, _ in self.vlm.projector.named_buffers()}
        checkpoint["state_dict"] = {key: value for key, value in checkpoint["state_dict"].items() if key in kept}
        checkpoint["losses"], checkpoint["seconds"] = self.losses, self.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with losses and seconds."""
        self.losses, self.seconds = list(checkpoint["losses"]), checkpoint["seconds"]


def parameters_of(vlm: VLM, part: str) -> Iterator[tuple[str, nn.Parameter]]:
    """The named parameters of a part: LoRA's are those that peft put into the LLM, and 'llm' is all others of it."""
    if part == "projector":
        yield from vlm.projector.named_parameters()
    elif part == "encoder":
        if vlm.visual is None:
            raise VlmatchError(
                "recipe.stages: trains the encoder, of which there are only cached features; give "
                "recipe.visual.cached=false"
            )
        yield from vlm.visual.named_parameters()
    else:
        for name, parameter in vlm.causal_lm.named_parameters():
            if ("lora_" in name) == (part == "lora"):
                yield name, parameter


def ends_step(trainer: Trainer, batch_idx: int) -> bool:
    """Whether the micro-batch of this number is the last of its step."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0


def used_memory() -> int:
    """The most memory in use so far, in bytes: the GPU's where there is one, else this process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _decays(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim > 1 and not name.endswith("position")
