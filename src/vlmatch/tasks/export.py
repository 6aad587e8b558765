"""Export: a trained VLM as a LLaVA checkpoint that transformers loads with no code of ours."""

from vlmatch.objects import task
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import ExportTask
from vlmatch.vlm.export import export_llava
from vlmatch.vlm.saved import Description, load_vlm


@task
def export(settings: Settings[ExportTask]) -> None:
    """Read the VLM in task.run, write it to task.to and compare the two."""
    run, to = settings.task.run, settings.task.to
    data = Description.read(run).recipe.stages[-1].data
    notes = export_llava(load_vlm(run), to, template=data.template, pad=data.pad)
    print(f"{to}: a LLaVA checkpoint; transformers computes the logits that are computed here")
    for note in notes:
        print(f"note: {note}")
