"""Verify: the first stage of dvc.yaml. DVC accepts changed data silently; this task refuses them."""

from vlmatch.files import write_text
from vlmatch.objects import task
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import VerifyTask
from vlmatch.tasks.fetch import fill


@task
def verify(settings: Settings[VerifyTask]) -> None:
    """Fetch missing data, refuse data that differ from data.dvc, and write the file that all other stages depend on."""
    checksum = fill(settings)
    ok = settings.task.ok
    write_text(ok, f"{checksum}\n")
    print(f"data verified: {checksum}")
