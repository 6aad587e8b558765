"""Report: the same answer as `task=rank pool=store`; or scores of the user's against a truth of the user's."""

from vlmatch.api.evidence import evidence_of
from vlmatch.errors import VlmatchError
from vlmatch.jobs import SCORED, PairStatus
from vlmatch.objects import task
from vlmatch.report.table import terminal
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import TaskSettings
from vlmatch.settings.work import StudySettings
from vlmatch.tasks.rank import rank_stored


@task
def report(settings: Settings[TaskSettings]) -> PairStatus:
    """Rank the store's rows and write `outputs/report.html`; with `study.scores`, nothing of the store is read."""
    if settings.study.scores is None:
        return rank_stored(settings, "store" if settings.pool == "auto" else settings.pool)
    _own_scores(settings, settings.study)
    return PairStatus("*", "*", SCORED)


def _own_scores(settings: Settings[TaskSettings], study: StudySettings) -> None:
    """The record of a table of scores against a truth, in the terminal and in the report."""
    if study.truth is None or study.scores is None:
        raise VlmatchError(f"study.scores={study.scores}, but study.truth=null; give the truth: study.truth=FILE")
    evidence = evidence_of(study.scores, study.truth, names=study.names)
    console = terminal()
    evidence.show(console)
    if settings.answer.table is not None:
        evidence.to_csv(settings.answer.table)
    if settings.answer.report is not None:
        console.print(f"report: {evidence.report(settings.answer.report)}", soft_wrap=True)
