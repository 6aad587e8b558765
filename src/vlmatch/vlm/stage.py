"""One stage of a training: which parts learn, at which rates, and what is logged at every step."""

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
from vlmatch.settings.recipe import Part
from vlmatch.vlm.checkpointing import set_modes
from vlmatch.vlm.model import VLM, Batch
from vlmatch.vlm.sharding import gathered, is_shared, shard

LLM_PARTS = frozenset({"llm", "lora"})
"""The parts with which an LLM learns."""


@dataclass(frozen=True)
class Optimisation:
    """How a stage learns, with AdamW.

    trains: the highest learning rate of each part that learns; other parts are frozen. warm_up: the part of `steps`
    over which rates rise linearly; then they fall to 0 along a cosine. weight_decay: norms, biases and positions have
    none.
    """

    trains: Mapping[Part, float]
    steps: int
    warm_up: float
    weight_decay: float
    seed: int

    def factor(self, step: int) -> float:
        """The factor of the highest learning rates at a step, counted from 0."""
        rising = math.ceil(self.warm_up * self.steps)
        if step < rising:
            return (step + 1) / rising
        return (1 + math.cos(math.pi * (step - rising) / max(1, self.steps - rising))) / 2


class Stage(LightningModule):
    """A VLM in one stage of its training.

    prefixes: the token ids of texts in front of samples; they are cached, so batches don't have them. before: the
    number of steps of the earlier stages; what is logged counts the steps of all stages. Checkpoints hold only the
    parameters that learn, and plain values. Random numbers (dropout) depend only on the seed, the number of
    the micro-batch and that of the process.
    """

    def __init__(
        self, vlm: VLM, optimisation: Optimisation, prefixes: Sequence[Sequence[int]] = (), before: int = 0
    ) -> None:
        super().__init__()
        self.vlm = vlm
        self.optimisation = optimisation
        self.prefixes = prefixes
        self.before = before
        self.strict_loading = False  # checkpoints don't hold frozen parameters
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
        """Shard the model among the processes, if the trainer's strategy does so and no earlier stage has done it."""
        if isinstance(self.trainer.strategy, ModelParallelStrategy) and not is_shared(self.vlm):
            half = str(self.trainer.precision).startswith("bf16")
            shard(self.vlm, self.device_mesh["data_parallel"], half)  # type: ignore[index]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The micro-batch's summed cross entropy, divided by the mean number of answer tokens in a micro-batch.

        The mean number is over the step's micro-batches and processes. Lightning averages the returned values over
        them too. That gives the mean over all answer tokens of the step, although micro-batches have different numbers.
        """
        torch.manual_seed((self.optimisation.seed * 100_003 + batch_idx) * 1009 + self.global_rank)
        mean = torch.tensor(batch.mean_answers, device=self.device)
        loss = self.vlm.loss(batch) * (batch.answers / self.trainer.strategy.reduce(mean, reduce_op="mean"))
        self._names = batch.names
        self._require_finite("loss", float(loss.detach()))
        self._tokens += int(batch.mask.sum())
        self._summed += float(loss.detach()) / self.trainer.accumulate_grad_batches
        return loss

    def on_train_start(self) -> None:
        """Set modes, and cache the prefixes, now that the LLM is on its device.

        Frozen parts are in evaluation mode: encoders keep their batch statistics, and LLMs draw no dropout.
        """
        self.vlm.eval()
        self.vlm.projector.train()
        set_modes(self.vlm.causal_lm, learns=bool(LLM_PARTS & set(self.optimisation.trains)))
        if self.prefixes:
            self.vlm.cache_prefixes(self.prefixes)
        self._spent = time.perf_counter()

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Log the step's loss, gradient norm, speed and memory, before its gradient is clipped."""
        if not ends_step(self.trainer, self.trainer.fit_loop.batch_idx):
            return  # DeepSpeed's strategy calls this for every micro-batch of a step
        now, processes = time.perf_counter(), self.trainer.world_size
        ours = torch.tensor([self._summed, self._tokens], device=self.device)
        loss, tokens = self.trainer.strategy.reduce(ours, reduce_op="mean").tolist()
        gradients = [p.grad for p in self.vlm.parameters() if p.grad is not None]
        measured = {
            "gradient_norm": float(gathered(nn.utils.get_total_norm(gradients))),
            "learning_rate": optimizer.param_groups[0]["lr"],
            "tokens_per_second": tokens * processes / (now - self._spent),
            "memory_gib": used_memory() / 2**30,
            "step": float(self.before + self.global_step),  # Lightning takes it as the step of the others
        }
        if self.trainer.precision != "16-mixed":  # with it, a scaler skips steps whose gradient is not finite
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
                "and others; the last checkpoint is kept. Give lower learning rates (recipe.stages.N.trains), or check "
                "these samples"
            )

    def configure_optimizers(self) -> Any:
        """AdamW with two groups of parameters for each part, with and without weight decay."""
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
        """Leave out frozen parameters; add losses and seconds."""
        kept = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        kept |= {f"vlm.projector.{name}" for name, _ in self.vlm.projector.named_buffers()}
        checkpoint["state_dict"] = {key: value for key, value in checkpoint["state_dict"].items() if key in kept}
        checkpoint["losses"], checkpoint["seconds"] = self.losses, self.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore losses and seconds."""
        self.losses, self.seconds = list(checkpoint["losses"]), checkpoint["seconds"]


def parameters_of(vlm: VLM, part: Part) -> Iterator[tuple[str, nn.Parameter]]:
    """The named parameters of a part: 'lora' are those that peft added to the LLM, 'llm' are all others of the LLM."""
    if part == "projector":
        yield from vlm.projector.named_parameters()
    elif part == "encoder":
        if vlm.visual is None:
            raise VlmatchError(
                "recipe.stages.N.trains has encoder, but only its cached features are loaded; give "
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
    """The most memory used so far, in bytes: of the GPU if there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _decays(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim > 1 and not name.endswith("position")
