"""Time whole training steps and the LLM's bare forward and backward passes: `python perf/training.py [llm ...]`.

perf/README.md explains the columns of the result.
"""

import argparse
import statistics
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from gromov_report import machine

from vlmatch.configs import composed
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import TrainTask
from vlmatch.settings.work import TrainerSettings
from vlmatch.vlm.building import build_vlm
from vlmatch.vlm.fit import Training
from vlmatch.vlm.model import VLM, Batch
from vlmatch.vlm.runs import Run
from vlmatch.vlm.stage import Stage
from vlmatch.vlm.tokens import IGNORED
from vlmatch.vlm.training_data import DataContext

AT_MOST = 1.10
WIDTH = 1280


def main() -> None:
    """Measure each LLM; rows go to perf/training.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("llms", nargs="*", default=["smollm2"])
    parser.add_argument("--steps", type=int, default=48, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    machine_line = machine()
    print(machine_line, flush=True)
    rows = []
    for llm in options.llms:
        rows.append(measure(llm, options.steps, options.rounds) | {"machine": machine_line})
        print({key: value for key, value in rows[-1].items() if key != "machine"}, flush=True)
        pd.DataFrame(rows).to_csv(options.out / "training.csv", index=False, float_format="%.4g")


def measure(llm: str, steps: int, rounds: int) -> dict[str, Any]:
    """The row of one LLM: rounds of whole steps alternate with bare passes on the same batches; times are medians."""
    settings: Settings[TrainTask] = Settings[TrainTask].read(
        composed(
            *("task=train", "encoder=mobilenetv2", f"llm={llm}", "recipe=embedded", "recipe.data=vlm_a"),
            f"recipe.stages.0.steps={steps}",
        )
    )
    run = Run(settings.encoder, settings.llm, settings.recipe)
    model = run.llm.build()
    random = torch.Generator().manual_seed(0)
    # Random features: their values do not affect the time, so no encoder is needed.
    context = DataContext(model.tokenizer, None, lambda items: torch.randn(len(items), 1, WIDTH, generator=random))
    datasets = [stage.data.build().load(context) for stage in run.recipe.stages]
    whole: list[float] = []
    bare: list[float] = []
    tokens = answers = 0
    for _ in range(rounds):
        vlm = build_vlm(run.recipe, model, None, (1, WIDTH))
        batches: list[Batch] = []
        whole += _whole(vlm, run, datasets, settings.trainer, batches)
        bare += [_bare(vlm, batch) for batch in batches][2:]
        tokens = sum(int(batch.mask.sum()) for batch in batches)
        answers = sum(int((batch.labels != IGNORED).sum()) for batch in batches)
    step, alone = statistics.median(whole), statistics.median(bare)
    return {
        "llm": llm,
        "threads": torch.get_num_threads(),
        "steps": steps,
        "rounds": rounds,
        "batch_size": run.recipe.stages[0].batch_size,
        "tokens_a_step": tokens / steps,
        "answer_tokens_a_step": answers / steps,
        "step_seconds": step,
        "bare_seconds": alone,
        "step_to_bare": step / alone,
        "missed": "" if step / alone <= AT_MOST else "step_to_bare",
    }


def _whole(vlm: VLM, run: Run, datasets: list, trainer: TrainerSettings, seen: list[Batch]) -> list[float]:
    """Seconds of each step except the first two, as Lightning runs it: loader, projector, LLM, optimiser, logging."""
    times = [time.perf_counter()]
    original = Stage.on_train_batch_start

    def note(self: Stage, batch: Batch, batch_idx: int) -> None:
        seen.append(batch)
        times.append(time.perf_counter())

    Stage.on_train_batch_start = note
    try:
        with TemporaryDirectory() as folder:
            Training(vlm, run.description((1, WIDTH)), Path(folder), trainer).fit(datasets)
    finally:
        Stage.on_train_batch_start = original
    return [after - before for before, after in pairwise(times[3:])]


def _bare(vlm: VLM, batch: Batch) -> float:
    """Seconds of the LLM's forward and backward pass alone, from embeddings to their gradient."""
    with torch.no_grad():
        inputs, labels = vlm.inputs(batch)
    inputs["inputs_embeds"].requires_grad_(True)
    started = time.perf_counter()
    logits = vlm.causal_lm(**inputs).logits
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED).backward()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
