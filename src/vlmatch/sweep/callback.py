"""Hydra's callback for sweeps: a parent run at the start, a row for every job, failed or not, one answer at the end."""

import atexit
import logging
import os
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from vlmatch.configs import words
from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.jobs import FAILED, NOT_HERE, SCORED, PairStatus, read_statuses
from vlmatch.machine.processes import PARENT, SWEEP, launched
from vlmatch.messages import leave_with_line, leaving, user_message
from vlmatch.objects import admit
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import AnyTask

if TYPE_CHECKING:
    from vlmatch.probes.pairs import ProbeSet

log = logging.getLogger(__name__)

REMEMBERED_CONFIGS = 100  # of about two megabytes each


class ComposingOnce(ConfigLoaderImpl):
    """Hydra's loader of configs, which composes the config of each job once.

    Hydra composes all of them before the first job, because a wrong override must end the sweep early, and composes
    each again to run it. This loader remembers the first config of a job and returns it at the second request.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        super().__init__(loader.get_search_path())
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """The config of the job that has these overrides."""
        key = (*words(master_config.hydra.overrides.hydra), *sweep_overrides)
        if key in self._composed:
            return self._composed.pop(key)  # the job may change it
        config = super().load_sweep_config(master_config, sweep_overrides)
        if len(self._composed) < REMEMBERED_CONFIGS:
            self._composed[key] = config
        return config

    def __getstate__(self) -> dict[str, Any]:
        """Leave the configs behind when a launcher sends the loader to another process."""
        return {**self.__dict__, "_composed": {}}


class SweepCallback(Callback):
    """Hydra calls this before, during and after the jobs; heavy imports are inside, so that `--help` is quick."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the sweep, create the parent run, and give its id to every job as an override.

        An override reaches the jobs of every launcher.
        """
        if launched():
            print("vlmatch: LOCAL_RANK is set, so this process is one of several, and these can't start a sweep; "
                  "launch each job by torchrun, or use trainer=ddp without a launcher", file=sys.stderr)  # fmt: skip
            sys.exit(2)
        with leaving(words(config.hydra.overrides.task), "the sweep is not started"):
            settings = Settings[AnyTask].read(config)
        admit(settings.targets)  # the sweep's probe and scores may be the user's own
        hydra = GlobalHydra.instance().hydra
        if hydra is not None:
            hydra.config_loader = ComposingOnce(hydra.config_loader)
        if _embeds(config):
            _look_ahead(config)
        if not _ranks(config):
            return
        from vlmatch.tracking.tracker import Tracker

        name = Path(config.hydra.sweep.dir).name
        with leaving(words(config.hydra.overrides.task), "the sweep is not started"):
            tracker = Tracker.of(settings.tracking)
            parent = tracker.start(_titled(name), {"sweep": name, "task": "sweep"})
        atexit.register(tracker.close_if_running, parent)  # for a sweep that never reaches its end
        os.environ[PARENT], os.environ[SWEEP] = parent, name
        with open_dict(config):
            config.hydra.overrides.hydra += [
                f"+hydra.job.env_set.{PARENT}={parent}",
                f"+hydra.job.env_set.{SWEEP}='{name}'",
            ]

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """In a sweep, print at once which job failed and why; the others go on. In a ranking, every job becomes a row.

        Hydra itself would report only the first failure, after the last job.
        """
        failed, task = job_return.status == JobStatus.FAILED, words(config.hydra.overrides.task)
        if OmegaConf.is_missing(config.hydra.job, "num"):  # no sweep
            if failed:
                leave_with_line(job_return._return_value, task)  # Hydra would add a line of its own
            return
        ranks = SWEEP in config.hydra.job.env_set  # not in the environment: Hydra has removed it there by now
        if failed:
            outcome = _failure(config, job_return._return_value)
            job = f"{outcome.encoder} x {outcome.llm}" if ranks else " ".join(task)
            print(f"{outcome.status}: {job}: {outcome.message}", file=sys.stderr, flush=True)
            if ranks:
                job_return.status, job_return.return_value = JobStatus.COMPLETED, outcome
        if not ranks:
            return
        with leaving(words(config.hydra.overrides.task), "the sweep ends here"):
            job_return.return_value.write(Path(config.hydra.runtime.output_dir), config.hydra.job.num)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Rank what the jobs scored among all that the store holds, close the parent run, exit with 2 on failures."""
        if _ranks(config):
            with leaving(words(config.hydra.overrides.task), "no answer; task=report ranks what is stored"):
                _answer(config)


def _answer(config: DictConfig) -> None:
    from vlmatch import paths
    from vlmatch.api.evidence import answered
    from vlmatch.embeddings.store import Store
    from vlmatch.ranking import Question
    from vlmatch.report.answer import PoolRanking
    from vlmatch.report.commands import as_given
    from vlmatch.tracking.tracker import Tracker

    settings = Settings[AnyTask].read(config)
    outcomes = read_statuses(Path(config.hydra.sweep.dir))
    failures = [outcome for outcome in outcomes if outcome.status != SCORED]
    groups = {outcome.group for outcome in outcomes if outcome.group}
    ranking = PoolRanking.in_store(
        Store(settings.store),
        groups,
        settings.score,
        Question.of(settings),
        failures=failures,
        results=paths.result_folders(settings.results),
        stated=settings.costs,
        probe=_probe(settings, groups),
        command=as_given(words(config.hydra.overrides.task), sweep=True),
    )
    ranking, report = answered(ranking, settings.answer, settings.study)
    tracker, parent = Tracker.of(settings.tracking), os.environ[PARENT]
    if report is not None:
        tracker.log_report(parent, report)
    addresses = tracker.log_ranking(parent, ranking)
    tracker.client.set_terminated(parent, "FAILED" if failures else "FINISHED")
    for title, address in addresses.items():
        print(f"{title} in MLflow: {paths.program()} task=ui, then {address}")
    if failures:
        sys.exit(2)


def _titled(sweep: str) -> str:
    """A readable name of a sweep: its date and time if its folder has the usual name."""
    return "sweep " + re.sub(r"^(\d{4}-\d\d-\d\d)_(\d\d)-(\d\d)-\d\d_\d+$", r"\1 \2:\3", sweep)


def _probe(settings: Settings[AnyTask], groups: Collection[tuple[str, str, str]]) -> "ProbeSet | None":
    """The probe of all jobs, whose pictures the report shows; None if they had several, or if it can't be read now."""
    from vlmatch.probes.shared import probe_of

    try:
        probe = probe_of(settings.probe.plain())
    except VlmatchError:
        return None
    return probe if {group[0] for group in groups} == {probe.key} else None


def _look_ahead(config: DictConfig) -> None:
    """Print the sweep's pairs and its expected cost; exit, before anything expensive starts, if it can't be run."""
    from vlmatch.sweep.validation import validate

    with leaving(words(config.hydra.overrides.task), "the sweep is not started"):
        probes, notes, ahead = validate(config)
        sheets = [line for probe in probes for line in probe.data_sheet()]
        for line in [*sheets, *(f"note: {note}" for note in notes), str(ahead)]:
            print(line, flush=True)


def _embeds(config: DictConfig) -> bool:
    """Whether the sweep's jobs embed, so that models and probe matter to it."""
    return _ranks(config) or bool(OmegaConf.select(config, "task._target_") == "vlmatch.tasks.embed.embed")


def _ranks(config: DictConfig) -> bool:
    """Whether the sweep computes scores; others, such as task=embed, have no parent run and no answer."""
    return bool(OmegaConf.select(config, "task._target_") == "vlmatch.tasks.rank.rank" and config.pool == "auto")


def _failure(config: DictConfig, error: Any) -> PairStatus:
    line = user_message(error, words(config.hydra.overrides.task))
    if line is None:
        log.error("unexpected error", exc_info=error)
        line = f"unexpected {type(error).__name__}: {one_line(error)} (its traceback stands above)"
    status = NOT_HERE if isinstance(error, NotHereError) else FAILED
    return PairStatus(_name(config, "encoder"), _name(config, "llm"), status, line)


def _name(config: DictConfig, kind: str) -> str:
    """A model's name, or the name of its yaml if the model's name depends on a missing value."""
    try:
        return str(config[kind].name)
    except OmegaConfBaseException:
        return str(config.hydra.runtime.choices[kind])
