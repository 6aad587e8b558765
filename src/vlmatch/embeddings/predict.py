"""The embedding loop: Lightning predicts the shards that are missing, and each is on disk before the next begins."""

import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import BasePredictionWriter
from torch import Tensor

from vlmatch.embeddings.batches import Batch, PreparedBatches, batches_of
from vlmatch.embeddings.counting import Counted, counted
from vlmatch.embeddings.decoded import DECODED
from vlmatch.embeddings.header import ITEMS
from vlmatch.embeddings.measured import Measured, device_name
from vlmatch.embeddings.own import Items, OwnModel
from vlmatch.embeddings.progress import EmbeddingProgress
from vlmatch.embeddings.store import Shards
from vlmatch.errors import VlmatchError, one_line
from vlmatch.foreign import model_faults
from vlmatch.lightning import quiet_lightning, trainer_faults
from vlmatch.machine.memory import EMBEDDING_ADVICE, is_out_of_memory
from vlmatch.probes.pairs import ProbeSet
from vlmatch.settings.work import TrainerSettings

_COMPILERS = ("torch._dynamo", "torch._inductor")
_SINGLE = {"trainer.precision": "32-true", "llm.dtype": "float32"}  # what a model computes in by default
_REMEDY = "try the model on one input (task=check {}={}); --debug shows the cause"


class Embedding(LightningModule):
    """A frozen encoder or LLM in a predict loop; each process takes its share of the missing shards.

    A batch that does not fit into memory goes through the model in smaller pieces, as do all after it: shards and
    batches stay as they are, and a row's numbers change by no more than rounding.
    """

    def __init__(self, model: Any, probe: ProbeSet, shards: Shards, trainer: TrainerSettings) -> None:
        super().__init__()
        self.model = model._apply(_channels_last) if model.kind == "encoder" else model
        if trainer.compile:
            self.model.compile()
        self.probe = probe
        self.captions = probe.captions
        self.shards = shards
        self.batch_size = trainer.batch_size
        self.num_workers = trainer.num_workers
        self.at_once = trainer.batch_size
        self.started = self.ended = 0.0
        self.counted = Counted()

    def predict_dataloader(self) -> PreparedBatches:
        """The missing shards of this process, in order."""
        todo = self.shards.missing()[self.trainer.global_rank :: self.trainer.world_size]
        return PreparedBatches(
            batches_of(self.shards, todo, self.batch_size, self.length),
            self.prepare,
            self.collate,
            # Captions take almost no time to prepare, and two threads must not share a tokenizer.
            threads=self.num_workers if self.model.kind == "encoder" else 0,
            pin=self.trainer.strategy.root_device.type == "cuda",
        )

    def prepare(self, row: int) -> Any:
        """The image or caption of a row, as the model wants it."""
        item = DECODED.image(self.probe, row) if self.model.kind == "encoder" else self.captions[row]
        with self._faults(f"preparing '{self.probe.pairs[row].id}'"):
            return self.model.prepare(item)

    def collate(self, items: list[Any]) -> Any:
        """Prepared items as one batch."""
        with self._faults("making a batch"):
            return self.model.collate(items)

    def _faults(self, doing: str) -> AbstractContextManager[None]:
        return model_faults(self.model.kind, self.model.name, doing, _REMEDY.format(self.model.kind, self.model.name))

    def length(self, row: int) -> int:
        """The length of a row's caption, in characters; 0 for every image."""
        return 0 if self.model.kind == "encoder" else len(self.captions[row])

    def on_predict_start(self) -> None:
        """Check that a user's own model embeds an item twice in the same way; then start the clock."""
        missing = self.shards.missing()
        if missing and isinstance(self.model, OwnModel):
            row = self.shards.rows(missing[0])[0]
            self.model.require_repeatable(self._alone(row), self._alone(row))
        self.started = time.perf_counter()

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[list[int], Tensor]:
        """Embed one batch: row numbers and a (batch, d) float32 tensor."""
        rows, inputs = batch
        if batch_idx == 0 and self.model.kind == "encoder":
            started = time.perf_counter()
            self.counted = counted(self.model, _piece(inputs, 0, 1))
            self.started += time.perf_counter() - started  # the time of counting does not belong to embedding
        return rows, self._checked(self._embedded(inputs, len(rows)), len(rows))

    def on_predict_end(self) -> None:
        """Wait for the other processes: the rows are whole only when all have written theirs."""
        self.trainer.strategy.barrier()
        self.ended = time.perf_counter()

    def _alone(self, row: int) -> Tensor:
        """The embedding of one row, (1, d)."""
        inputs = self.trainer.strategy.batch_to_device(self.collate([self.prepare(row)]))
        with self._faults("running a batch"):
            return self._checked(self.model(inputs), 1)

    def _checked(self, embedded: Tensor, n: int) -> Tensor:
        """The embeddings of n items in single precision; VlmatchError if they are not (n, d)."""
        if embedded.ndim != 2 or len(embedded) != n:
            raise VlmatchError(
                f"{self.model.kind} '{self.model.name}': its output is {tuple(embedded.shape)} for {n} items; wanted "
                "(n, d), one vector per item: check the feature rule, or the output node of an ONNX model"
            )
        return embedded.float()

    def _embedded(self, inputs: Any, n: int) -> Tensor:
        while True:
            try:
                if n <= self.at_once:
                    return self.model(inputs)
                starts = range(0, n, self.at_once)
                return torch.cat([self.model(_piece(inputs, start, start + self.at_once)) for start in starts])
            except Exception as error:
                if type(error).__module__.startswith(_COMPILERS):
                    raise VlmatchError(
                        f"{self.model.kind} '{self.model.name}': torch.compile failed ({one_line(error)[:160]}); "
                        "give trainer.compile=false"
                    ) from error
                if not is_out_of_memory(error):
                    with self._faults(f"running a batch of {n}"):
                        raise
                self._at_once_halved(n, error)
            if torch.cuda.is_available():  # after the exception, which holds the tensors of the failed pass
                torch.cuda.empty_cache()

    def _at_once_halved(self, n: int, error: Exception) -> None:
        things = ITEMS[self.model.kind]
        tried = min(n, self.at_once)
        if tried == 1:
            raise VlmatchError(
                f"{self.model.kind} '{self.model.name}': out of memory even when embedding the {things} one at a time; "
                f"{EMBEDDING_ADVICE}"
            ) from error
        self.at_once = tried // 2
        print(
            f"{self.model.kind} '{self.model.name}': out of memory with {tried} {things} at once; "
            f"going on with {self.at_once} (trainer.batch_size={self.batch_size})",
            flush=True,
        )


class ShardWriter(BasePredictionWriter):
    """Writes a shard as soon as its last row is computed."""

    def __init__(self, shards: Shards) -> None:
        super().__init__("batch")
        self.shards = shards
        self.batches: list[Tensor] = []  # on the device, so that the loop waits for a GPU only once per shard
        self.shard_by_last_row = {shards.rows(shard)[-1]: shard for shard in range(shards.n_shards)}

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Collect the batch; store the shard that it completes."""
        rows, embedded = prediction
        self.batches.append(embedded)
        shard = self.shard_by_last_row.get(rows[-1])
        if shard is not None:
            array = torch.cat(self.batches).cpu().numpy()
            _require_finite(pl_module, self.shards.rows(shard), array)
            self.shards.write(shard, array)
            self.batches = []
        if trainer.received_sigterm:  # in a predict loop, Lightning only records the signal
            raise SystemExit(143)


def predict_missing(
    model: Any, probe: ProbeSet, shards: Shards, trainer: TrainerSettings, *, progress: bool = True
) -> Measured | None:
    """Compute every missing shard and return what that took; None if this process had none to compute.

    progress: whether a bar or lines show how far it is.

    Raises VlmatchError if a shard would not hold whole batches.
    """
    if shards.size % trainer.batch_size:
        raise VlmatchError(
            f"trainer.shard_size={shards.size} is not a multiple of trainer.batch_size={trainer.batch_size}; "
            "give a multiple"
        )
    module = Embedding(model.eval(), probe, shards, trainer)
    todo = sum(len(shards.rows(shard)) for shard in shards.missing())
    shown = [EmbeddingProgress(f"{model.kind} '{model.name}'", ITEMS[model.kind], todo)] if progress else []
    with quiet_lightning():
        warnings.filterwarnings("ignore", module="PIL")
        with trainer_faults():
            loop = Trainer(
                **{**trainer.lightning(), "accelerator": _accelerator(trainer.accelerator, model)},
                default_root_dir=shards.folder,
                logger=False,
                enable_checkpointing=False,
                enable_model_summary=False,
                enable_progress_bar=False,
                use_distributed_sampler=False,
                inference_mode=True,
                callbacks=[ShardWriter(shards), *shown],
            )
        loop.predict(module, return_predictions=False)
    if not todo or not module.ended:  # processes that Lightning spawned did the work on copies of the module
        return None
    device = device_name(loop.strategy.root_device, loop.world_size)
    return Measured(todo, module.ended - module.started, device, module.counted.gflops, module.counted.tokens)


def _accelerator(wanted: str, model: Any) -> str:
    """Where to run: 'auto' means a CUDA GPU if there is one and the model has weights, else the CPU."""
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() and next(model.parameters(), None) is not None else "cpu"


def _require_finite(loop: Any, rows: Sequence[int], array: NDArray[np.float32]) -> None:
    """Raise VlmatchError if an embedding holds NaN or infinity, which no score accepts."""
    unusable = ~np.isfinite(array).all(axis=1)
    if not unusable.any():
        return
    first = loop.probe.pairs[rows[int(unusable.argmax())]].id
    advice = ["its weights may be damaged, or its preparation divides by 0" if unusable.all() else "look at that item"]
    given = {"trainer.precision": str(loop.trainer.precision), "llm.dtype": getattr(loop.model, "dtype_name", None)}
    advice += [f"use {key}={_SINGLE[key]}" for key, value in given.items() if value not in (None, _SINGLE[key])]
    raise VlmatchError(
        f"{loop.model.kind} '{loop.model.name}': {unusable.sum()} of {len(rows)} embeddings hold NaN or infinity, "
        f"the first is that of '{first}'; {', or '.join(advice)}"
    )


def _channels_last(tensor: Tensor) -> Tensor:
    """Weights of a 2-dimensional convolution with the channels last; any other tensor as it is.

    This layout makes convolutions on a CPU up to 1.9 times as fast (EfficientNet-Lite0: 69 against 37 images/s).
    """
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _piece(inputs: Any, start: int, end: int) -> Any:
    """Items `start` to `end` of a batch: a tensor, or a mapping or list of tensors."""
    if isinstance(inputs, Mapping):
        return {key: _piece(value, start, end) for key, value in inputs.items()}
    if isinstance(inputs, Items):
        return Items(inputs[start:end])
    if isinstance(inputs, list | tuple):
        return [_piece(value, start, end) for value in inputs]
    return inputs[start:end]
