"""Report: the same answer as `task=rank pool=store`, for whatever the store holds."""

from vlmatch.jobs import PairStatus
from vlmatch.objects import task
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import TaskSettings
from vlmatch.tasks.rank import rank_stored


@task
def report(settings: Settings[TaskSettings]) -> PairStatus:
    """Rank the store's rows and write `outputs/report.html`."""
    return rank_stored(settings, "store" if settings.pool == "auto" else settings.pool)
