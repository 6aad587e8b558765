"""Export: a trained VLM as a LLaVA checkpoint that transformers loads with no code of ours."""

from pathlib import Path

from omegaconf import DictConfig

from vlmatch.objects import plain, task
from vlmatch.vlm.export import export_llava
from vlmatch.vlm.saved import description, load_vlm


@task
def export(config: DictConfig) -> None:
    """Read the VLM in task.run, write it to task.to and compare the two."""
    task = plain(config.task)
    run, to = Path(task["run"]), Path(task["to"])
    data = description(run)["recipe"]["stages"][-1]["data"]
    notes = export_llava(load_vlm(run), to, template=data.get("template"), pad=data.get("pad"))
    print(f"{to}: a LLaVA checkpoint; transformers computes the logits that are computed here")
    for note in notes:
        print(f"note: {note}")
