"""Verify: the first stage of dvc.yaml. DVC accepts changed data silently; this task refuses them."""

from vlmatch.files import renamed
from vlmatch.objects import task
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import VerifyTask
from vlmatch.tasks.fetch import fill


@task
def verify(settings: Settings[VerifyTask]) -> None:
    """Fetch missing data, refuse data that differ from data.dvc, and write the file that all other stages depend on."""
    checksum = fill(settings)
    ok = settings.task.ok
    with renamed(ok) as temporary:
        temporary.write_text(f"{checksum}\n", encoding="utf-8")
    print(f"data verified: {checksum}")
