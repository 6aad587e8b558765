"""Public: measure a trained VLM on public benchmarks with lmms-eval, and write a file for task=import."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vlmatch.benchmarks.lmms import evaluate_public, require_lmms_eval, write_results
from vlmatch.benchmarks.lmms_results import require_whole
from vlmatch.errors import VlmatchError
from vlmatch.objects import task
from vlmatch.settings.command import Settings
from vlmatch.settings.recipe import RecipeSettings
from vlmatch.settings.tasks import PublicTask
from vlmatch.vlm.model import VLM
from vlmatch.vlm.runs import Run
from vlmatch.vlm.saved import Description, load_vlm
from vlmatch.vlm.visual import VisualInput


@task
def public(settings: Settings[PublicTask]) -> None:
    """Evaluate the VLM in `task.run` and write `task.to`/RECIPE/LLM-DATA/ENCODER-SEED_results.json."""
    task = settings.task
    if task.run is None:
        raise VlmatchError(
            "task.run has no value; wanted the folder of a trained VLM, which has a vlm.json: give task.run=FOLDER"
        )
    require_whole(task.names, task.limit)
    require_lmms_eval()
    described = Description.read(task.run)
    run = Run(described.encoder, described.llm, described.recipe)
    to = task.to / f"{run.name}_results.json"
    require_new(to)
    template, pad = trained_with(run.recipe, task.template)
    vlm = seeing(task.run, described)
    found = evaluate_public(
        vlm,
        task.names,
        about=about(run, vlm, described.shape[1]),
        template=template,
        pad=pad,
        folder=to.parent,
        limit=task.limit,
        batch_size=task.batch_size,
        max_new_tokens=task.max_new_tokens,
        own_tasks=task.own_tasks,
    )
    write_results(found, to)
    print(f"{to}: {', '.join(task.names)}; task=import task.file={to} adds them to the results")


def require_new(path: Path) -> None:
    """Raise VlmatchError if there is a file of results at `path`: the new one would replace it."""
    if path.exists():
        raise VlmatchError(
            f"'{path}' exists already, and its results took long; give another folder, task.to=FOLDER (task.file="
            "[FILE,FILE] of task=import takes the benchmarks of both files), or move the file away"
        )


def trained_with(recipe: RecipeSettings, template: str | None) -> tuple[str, Sequence[int] | None]:
    """The template of conversations and the colour of the squares (None: no squares) of the recipe's last stage.

    template: replaces the recipe's. Raises VlmatchError if it is None and the recipe has no conversations.
    """
    data = recipe.stages[-1].data
    found = template or data.template
    if found is None:
        raise VlmatchError(
            f"task.template=null: recipe '{recipe.name}' has no conversations, so its VLM has not learnt to answer "
            "questions; give task.template=vicuna_v1 or chat to ask it anyway"
        )
    return found, data.pad


def seeing(folder: Path, described: Description) -> VLM:
    """The VLM with its encoder, even if it was trained on cached features; on the GPU if there is one."""
    import torch

    vlm = load_vlm(folder)
    if vlm.visual is None:
        vlm.visual = VisualInput(described.encoder.build(), described.recipe.visual.what)
    return vlm.to("cuda" if torch.cuda.is_available() else "cpu").eval().requires_grad_(False)


def about(run: Run, vlm: VLM, width: int) -> dict[str, Any]:
    """The facts about the VLM that task=import needs."""
    visual = vlm.visual
    assert visual is not None  # noqa: S101 (for mypy)
    return {
        "encoder": run.encoder.name,
        "llm": run.llm.name,
        "data": run.recipe.data,
        "seed": run.recipe.seed,
        "control": bool(getattr(visual.encoder, "control", False)),
        "recipe": run.recipe.name,
        "version": run.recipe.version,
        "fingerprint": run.recipe_fingerprint,
        "visual": {
            "rule": visual.encoder.rule if visual.what == "feature" else "patches",
            "dimension": width,
            "tokens": vlm.tokens_per_image,
            "weights_sha256": visual.encoder.weights_sha256,
        },
        "lmms_eval": version("lmms-eval"),
    }
