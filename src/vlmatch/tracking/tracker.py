"""MLflow: one run for each pair, nested under the run of its sweep, in a database that many processes may write to."""

import contextlib
import logging
import os
import socket
import statistics
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import DictConfig, OmegaConf

from vlmatch import paths
from vlmatch.errors import VlmatchError, one_line
from vlmatch.machine.processes import is_alive
from vlmatch.machine.waiting import locked
from vlmatch.results import Result, rendered
from vlmatch.scores.rows import Row
from vlmatch.secrets import masked, masked_addresses
from vlmatch.settings.work import TrackingSettings
from vlmatch.tracking.connection import Address, GuardedClient, experiment_id, require_experiment_name
from vlmatch.tracking.fields import (
    Pair,
    dataset_of,
    details,
    figures,
    pair_of,
    pair_of_tags,
    ranked_metrics,
    row_params,
    score_metrics,
    tags_of_holder,
    truths_of,
)
from vlmatch.tracking.views import (
    MACHINE_LEARNING,
    View,
    address_part,
    ranking_views,
    saved,
    search_view,
    trainings_view,
)

if TYPE_CHECKING:
    from vlmatch.report.answer import PoolRanking

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # C's is ten times as fast, but not in every PyYAML
OPENING = "opening MLflow's database"
LOCAL_PAGE = "http://127.0.0.1:5000"
LONGEST_NOTE = 5000  # characters of a description; MLflow's limit for a tag


@dataclass(frozen=True)
class Tracker:
    """An MLflow server or database, and the experiment in it."""

    client: GuardedClient
    uri: str
    experiment_id: str
    folder: Path

    @classmethod
    def of(cls, settings: TrackingSettings) -> "Tracker":
        """Connect, create database and experiment if they are missing, and close orphaned runs.

        With a database, this happens under a lock, because two processes that use a new sqlite file at once break it.
        With a server there is no lock, so that no process has to wait until another gives up a dead server. Raises
        VlmatchError if the server or the database can't be used.
        """
        folder = settings.folder.absolute()
        require_experiment_name(settings.experiment)
        address = Address.of(settings)
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # a run's address, which we print ourselves
        import mlflow  # noqa: F401 - before the levels below, because it sets its own

        for talkative in ("mlflow", "alembic"):
            logging.getLogger(talkative).setLevel(logging.CRITICAL)  # failures are also raised, as one line
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock", OPENING) if address.database else contextlib.nullcontext():
            address.create_database()
            address.require_database()
            client = GuardedClient(address)
            with client.hurried():
                experiment = experiment_id(client, address, settings.experiment, folder)
                tracker = cls(client, address.uri, experiment, folder)
                tracker.close_orphans()
        return tracker

    def close_orphans(self) -> None:
        """Mark as KILLED the running runs of this machine whose process has ended."""
        running = self.client.search_runs(
            [self.experiment_id],
            f"attributes.status = 'RUNNING' and tags.host = '{socket.gethostname()}'",
            max_results=1000,
        )
        for run in running:
            if not is_alive(int(run.data.tags["pid"])):
                self.client.set_terminated(run.info.run_id, "KILLED")

    def close_if_running(self, run_id: str) -> None:
        """Mark a run as KILLED unless it has ended, or MLflow can't be reached: then the next start does so."""
        with contextlib.suppress(VlmatchError), self.client.hurried():
            if self.client.get_run(run_id).info.status == "RUNNING":
                self.client.set_terminated(run_id, "KILLED")

    def start(self, name: str, tags: Mapping[str, str], parent: str | None = None) -> str:
        """Create a run, nested under `parent` if that is given; return its id."""
        commit = paths.commit()
        own = {**tags_of_holder(parent), "mlflow.runName": name, **({"git_commit": commit} if commit else {})}
        return str(self.client.create_run(self.experiment_id, tags={**own, **tags}).info.run_id)

    @contextlib.contextmanager
    def run(
        self, name: str, tags: Mapping[str, str], parent: str | None = None, again: str | None = None
    ) -> Iterator[str]:
        """A run that ends as FINISHED, as FAILED if the block raises, or as KILLED if the process is stopped.

        again: the id of a run to continue, below `parent` if that is given.
        """
        run_id = self._again(again, parent) or self.start(name, tags, parent)
        try:
            yield run_id
        except BaseException as error:
            with contextlib.suppress(VlmatchError), self.client.hurried():  # must not hide `error`
                if isinstance(error, Exception):
                    self.client.set_tag(run_id, "error", masked_addresses(one_line(error))[:500])
                self.client.set_terminated(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        self.client.set_terminated(run_id, "FINISHED")

    def parent(self, name: str, tags: Mapping[str, str]) -> str:
        """The run of this name that groups the runs of several seeds; created if missing, and always FINISHED."""
        with locked(self.folder / ".lock", OPENING):
            found = self.client.search_runs(
                [self.experiment_id], f"attributes.run_name = '{name}' and tags.task = '{tags['task']}'", max_results=1
            )
            if found:
                return str(found[0].info.run_id)
            run_id = self.start(name, tags)
            self.client.set_terminated(run_id, "FINISHED")
        return run_id

    def lightning_logger(self, run_id: str) -> Any:
        """A logger for Lightning's trainer that writes to this run, and leaves its end to `run`."""
        from pytorch_lightning.loggers import MLFlowLogger

        client = self.client

        class GuardedLogger(MLFlowLogger):
            @property
            def experiment(self) -> Any:
                return client

        return GuardedLogger(tracking_uri=self.uri, run_id=run_id)

    def log_result(self, run_id: str, result: Result) -> None:
        """Log a result: metrics for mean, groups and benchmarks, the learning curve, and the whole as JSON.

        MLflow draws a metric that has only step 0 as a bar, and any other metric as a curve.
        """
        course = [("course/mean", milestone.mean, milestone.step) for milestone in result.milestones]
        self._log(run_id, figures(result), curve=course)
        self.client.log_text(run_id, rendered(result), "result.json")

    def log_seeds(self, run_id: str, results: Sequence[Result]) -> None:
        """Log mean and deviation over seeds to the run that groups them, and save a view of all such runs."""
        every = [figures(result) for result in results]
        for name in (name for name in every[0] if all(name in each for each in every)):
            values = [each[name] for each in every]
            self.client.log_metric(run_id, name, statistics.fmean(values))
            if len(values) > 1:
                self.client.log_metric(run_id, f"{name}/deviation", statistics.stdev(values))
        self._save(trainings_view(results[0]))
        self.client.set_tag(run_id, "seeds", ",".join(str(result.seed) for result in results))

    def log_row(self, run_id: str, row: Row, costs: Mapping[str, float], first: Collection[str] = ()) -> None:
        """Log a metric for each score (first those of `first`), both models' parameters, and a table of details."""
        self._log(run_id, {**score_metrics(row.scores, first), **costs}, params=row_params(row))
        self.client.log_table(run_id, details(row), "scores.json")
        self.client.log_inputs(run_id, [dataset_of(row)])

    def log_ranking(self, parent: str, ranking: "PoolRanking") -> dict[str, str]:
        """Log place, value, truth and cost to the runs below `parent`, and describe `parent` by the shortlists.

        Saves a view of these runs for each LLM, which replaces an earlier sweep's. Returns their addresses by title.
        """
        from vlmatch.report.first_screen import first_screen

        self.log_places(self._by_pair(parent), ranking)
        sweep = self.client.get_run(parent).data.tags["sweep"]
        views = ranking_views(ranking.rankings, sweep, lambda llm: truths_of(llm, ranking.evidence))
        for view in views:
            self._save(view)
        lists = [first_screen(llm, each.question).headline for each in ranking.rankings for llm in each.llms]
        self.client.set_tag(parent, "mlflow.note.content", "\n\n".join(lists)[:LONGEST_NOTE])
        return {view.title: self._runs() + address_part(view.key) for view in views}

    def log_places(self, run_ids: Mapping[Pair, str], ranking: "PoolRanking") -> None:
        """Log place, value, truth and cost to the runs of these pairs; pairs without a run are skipped."""
        for llm in (llm for each in ranking.rankings for llm in each.llms):
            truths = truths_of(llm, ranking.evidence)
            for ranked in llm.encoders:
                if run_id := run_ids.get(pair_of(ranked.row)):
                    self._log(run_id, ranked_metrics(ranked, truths))

    def log_config(self, run_id: str, config: DictConfig) -> None:
        """Log the resolved config as an artifact, with secrets masked."""
        plain = masked(OmegaConf.to_container(config, resolve=True))
        self.client.log_text(
            run_id, yaml.dump(plain, Dumper=DUMPER, sort_keys=False, allow_unicode=True), "config.yaml"
        )

    def log_sheet(self, run_id: str, sheet: Mapping[str, Any]) -> None:
        """Log the probe's data sheet, plain values, as an artifact."""
        self.client.log_dict(run_id, dict(sheet), "probe.json")

    def log_file(self, run_id: str, path: Path) -> None:
        """Log a file as an artifact."""
        self.client.log_artifact(run_id, str(path))

    def log_report(self, run_id: str, page: Path) -> None:
        """Log the report's page, and the Markdown beside it, as artifacts."""
        self.log_file(run_id, page)
        self.log_file(run_id, page.with_suffix(".md"))

    def _by_pair(self, parent: str) -> dict[Pair, str]:
        """The ids of the runs nested under `parent`, by their pair."""
        below = f"tags.`mlflow.parentRunId` = '{parent}'"
        found = self.client.search_runs([self.experiment_id], below, max_results=10_000)
        return {pair_of_tags(run.data.tags): run.info.run_id for run in found}

    def _save(self, view: View) -> None:
        self.client.set_experiment_tag(self.experiment_id, view.tag, view.stored())

    def save_search(self, name: str, parent: str, *, higher: bool) -> str:
        """Save a view of the race of a search, and return its address. parent: the search's run."""
        view = search_view(name, parent, higher=higher)
        self._save(view)
        return self._runs() + address_part(view.key)

    def address(self, run_id: str) -> str:
        """The address of a run's page."""
        return f"{self._runs()}/{run_id}"

    def pages(self, page: str = LOCAL_PAGE) -> dict[str, str]:
        """The addresses of all runs, rankings and trainings, by title. page: where a database is served."""
        tags, runs = self.client.get_experiment(self.experiment_id).tags, self._runs(page)
        views = {title: runs + address_part(key) for key, title in saved(tags).items()}
        return {"All runs": f"{runs}?{MACHINE_LEARNING}", **views}

    @property
    def page(self) -> str | None:
        """The address of MLflow's server; None for a database, which `make ui` serves."""
        return masked_addresses(self.uri).rstrip("/") if self.uri.startswith("http") else None

    def _runs(self, page: str = LOCAL_PAGE) -> str:
        return f"{self.page or page}/#/experiments/{self.experiment_id}/runs"

    def _log(
        self,
        run_id: str,
        metrics: Mapping[str, float],
        *,
        curve: Iterable[tuple[str, float, int]] = (),
        params: Mapping[str, str] | None = None,
    ) -> None:
        """Log metrics, the points of a curve (name, value and step each) and parameters, in one request."""
        from mlflow.entities import Metric, Param
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        points = [*((name, value, 0) for name, value in metrics.items()), *curve]
        self.client.log_batch(
            run_id,
            metrics=[Metric(name, value, now, step) for name, value, step in points],
            params=[Param(name, value[:500]) for name, value in (params or {}).items()],
        )

    def _again(self, run_id: str | None, parent: str | None) -> str | None:
        """Set an ended run of this experiment to running below `parent`; returns its id, or None if it is not there."""
        if run_id is None:
            return None
        try:
            run = self.client.get_run(run_id)
        except VlmatchError:
            return None
        if run.info.experiment_id != self.experiment_id or run.info.lifecycle_stage != "active":
            return None
        for key, value in tags_of_holder(parent).items():
            self.client.set_tag(run_id, key, value)  # first, or another process might close the run as an orphan
        if "error" in run.data.tags:
            self.client.delete_tag(run_id, "error")
        self.client.update_run(run_id, status="RUNNING")
        return run_id
