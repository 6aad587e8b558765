"""Report: the same answer as `task=rank pool=store`, or the user's own scores against the user's own truth."""

from vlmatch.api.evidence import evidence_of, require_used
from vlmatch.objects import task
from vlmatch.report.own import OwnEvidence
from vlmatch.report.table import say, terminal
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import TaskSettings
from vlmatch.tasks.rank import rank_stored


@task
def report(settings: Settings[TaskSettings]) -> None:
    """Rank the store's rows and write `outputs/report.html`; with `study.scores` and a truth, the store is not read."""
    require_used(settings.study, scores=True)
    if settings.study.truth is None or settings.study.scores is None:
        rank_stored(settings, "store" if settings.pool == "auto" else settings.pool)
    else:
        _write(settings, evidence_of(settings.study.scores, settings.study.truth, names=settings.study.names))


def _write(settings: Settings[TaskSettings], evidence: OwnEvidence) -> None:
    """Print the record of a table of scores against a truth, and write its table and its page."""
    console = terminal()
    evidence.show(console)
    if settings.answer.table is not None:
        evidence.to_csv(settings.answer.table)
    if settings.answer.report is not None:
        say(f"report: {evidence.report(settings.answer.report)}", console=console)
