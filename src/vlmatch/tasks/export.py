"""Export: write a trained VLM as a LLaVA checkpoint, which transformers loads without vlmatch."""

from vlmatch.objects import task
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import ExportTask
from vlmatch.vlm.export import export_llava
from vlmatch.vlm.saved import Description, load_vlm


@task
def export(settings: Settings[ExportTask]) -> None:
    """Write the VLM in `task.run` as a LLaVA checkpoint to `task.to`, and compare the two."""
    run, to = settings.task.run, settings.task.to
    data = Description.read(run).recipe.stages[-1].data
    notes = export_llava(load_vlm(run), to, template=data.template, pad=data.pad)
    print(f"{to}: a LLaVA checkpoint, from which transformers computes the same logits")
    for note in notes:
        print(f"note: {note}")
