"""MLflow: one run for each pair, nested under the run of its sweep, in a database that many processes may write to."""

import contextlib
import json
import logging
import os
import socket
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from omegaconf import DictConfig, OmegaConf

from vlmatch import paths
from vlmatch.embeddings.header import Header
from vlmatch.errors import VlmatchError, one_line
from vlmatch.mlflow_connection import Address, GuardedClient, experiment_id, require_experiment_name
from vlmatch.processes import SWEEP
from vlmatch.results import Result, rendered
from vlmatch.scores.rows import Row
from vlmatch.scores.scored import Scored
from vlmatch.secrets import masked, masked_addresses
from vlmatch.settings.work import TrackingSettings
from vlmatch.waiting import locked

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the one in C is ten times as fast, and not in every PyYAML
OPENING = "opening MLflow's database"
LOCAL_PAGE = "http://127.0.0.1:5000"


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

        All of that happens under a lock, because two processes that use a fresh sqlite file at once break it. Raises
        VlmatchError if the server or the database cannot be used.
        """
        folder = settings.folder.absolute()
        require_experiment_name(settings.experiment)
        address = Address.of(settings)
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # a run's address, which we print ourselves
        import mlflow  # noqa: F401 - before the levels, because it sets its own

        for talkative in ("mlflow", "alembic"):
            logging.getLogger(talkative).setLevel(logging.CRITICAL)  # what fails is raised too, as one line
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock", OPENING):
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
            if not _alive(int(run.data.tags["pid"])):
                self.client.set_terminated(run.info.run_id, "KILLED")

    def close_if_running(self, run_id: str) -> None:
        """Mark a run as KILLED unless it has ended, or MLflow can't be reached: then the next start does so."""
        with contextlib.suppress(VlmatchError), self.client.hurried():
            if self.client.get_run(run_id).info.status == "RUNNING":
                self.client.set_terminated(run_id, "KILLED")

    def start(self, name: str, tags: Mapping[str, str], parent: str | None = None) -> str:
        """Create a run, nested under `parent` if that is given; return its id."""
        nesting = {"mlflow.parentRunId": parent} if parent else {}
        own = {"host": socket.gethostname(), "pid": str(os.getpid()), "mlflow.runName": name}
        if commit := paths.commit():
            own["git_commit"] = commit
        return str(self.client.create_run(self.experiment_id, tags={**own, **nesting, **tags}).info.run_id)

    @contextlib.contextmanager
    def run(
        self, name: str, tags: Mapping[str, str], parent: str | None = None, again: str | None = None
    ) -> Iterator[str]:
        """A run that ends as FINISHED, as FAILED if the block raises, or as KILLED if the process is stopped.

        again: the id of a run to continue.
        """
        run_id = self._again(again) or self.start(name, tags, parent)
        try:
            yield run_id
        except BaseException as error:
            with contextlib.suppress(VlmatchError), self.client.hurried():  # the error that ends the run comes first
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

        MLflow draws a metric at step 0 alone as a bar, and any other metric as a curve.
        """
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        metrics = [Metric(name, value, now, 0) for name, value in figures(result).items()]
        metrics += [Metric("course/mean", milestone.mean, now, milestone.step) for milestone in result.milestones]
        self.client.log_batch(run_id, metrics=metrics)
        self.client.log_text(run_id, rendered(result), "result.json")

    def log_seeds(self, run_id: str, results: Sequence[Result]) -> None:
        """Log the mean and standard deviation over seeds to the run that groups them."""
        for name in figures(results[0]):
            values = [figures(result)[name] for result in results]
            self.client.log_metric(run_id, name, statistics.fmean(values))
            if len(values) > 1:
                self.client.log_metric(run_id, f"{name}/deviation", statistics.stdev(values))
        self.client.set_tag(run_id, "seeds", ",".join(str(result.seed) for result in results))

    def log_row(self, run_id: str, row: Row, costs: Mapping[str, float]) -> None:
        """Log a metric for each score, the parameters of both models, and a table of all details."""
        from mlflow.entities import Metric, Param
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        values = {**{name: scored.value for name, scored in row.scores.items()}, **costs}
        params = {**_params("encoder", row.image), **_params("llm", row.text), "n_pairs": str(row.image.spec.n_pairs)}
        self.client.log_batch(
            run_id,
            metrics=[Metric(name, value, now, 0) for name, value in values.items()],
            params=[Param(name, value[:500]) for name, value in params.items()],
        )
        self.client.log_table(run_id, _details(row), "scores.json")
        self._log_probe(run_id, row)

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

    def children(self, parent: str) -> list[str]:
        """The ids of the finished runs nested under `parent`, oldest first."""
        found = self.client.search_runs(
            [self.experiment_id],
            f"tags.`mlflow.parentRunId` = '{parent}' and attributes.status = 'FINISHED'",
            order_by=["attributes.start_time ASC"],
            max_results=1000,
        )
        return [run.info.run_id for run in found]

    def comparison(self, run_ids: Sequence[str]) -> str:
        """The address of MLflow's comparison page for these runs; a local database is served by `make ui`."""
        page = masked_addresses(self.uri).rstrip("/") if self.uri.startswith("http") else LOCAL_PAGE
        runs, experiments = (
            quote(json.dumps(ids, separators=(",", ":"))) for ids in (list(run_ids), [self.experiment_id])
        )
        return f"{page}/#/compare-runs?runs={runs}&experiments={experiments}"

    def _again(self, run_id: str | None) -> str | None:
        """Set an ended run of this experiment to running again; None if there is no such run."""
        if run_id is None:
            return None
        try:
            run = self.client.get_run(run_id)
        except VlmatchError:
            return None
        if run.info.experiment_id != self.experiment_id or run.info.lifecycle_stage != "active":
            return None
        self.client.update_run(run_id, status="RUNNING")
        for key, value in (("host", socket.gethostname()), ("pid", str(os.getpid()))):
            self.client.set_tag(run_id, key, value)
        return run_id

    def _log_probe(self, run_id: str, row: Row) -> None:
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag

        spec = row.image.spec
        dataset = MetaDataset(CodeDatasetSource(tags={}), name=spec.probe, digest=spec.probe_fingerprint[:36])
        self.client.log_inputs(
            run_id, [DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", "probe")])]
        )


def figures(result: Result) -> dict[str, float]:
    """The metrics of a result in MLflow, by name."""
    benchmarks = {f"benchmark/{name}": found.score for name, found in result.benchmarks.items()}
    groups = {f"group/{name}": found.score for name, found in result.groups.items()}
    return {"mean": result.mean.score, "mean/standard_error": result.mean.standard_error, **groups, **benchmarks}


def tags_of(encoder: str, llm: str, **more: str) -> dict[str, str]:
    """The tags of a pair's run: all that tells it apart, because a sorted page in MLflow drops the nesting."""
    own = {"task": "rank", "encoder": encoder, "llm": llm, "sweep": os.environ.get(SWEEP)}
    return {key: value for key, value in {**own, **more}.items() if value}


def _params(side: str, header: Header) -> dict[str, str]:
    """The parameters of one model; MLflow's comparison page first plots the first three in alphabetical order."""
    licence = "-" if header.control else header.licence["name"]
    about = {"recipe": header.spec.slug, "rule": header.rule, "dimension": header.dimension}
    named = {f"{side}.{key}": str(value) for key, value in {**about, "n_parameters": header.n_parameters}.items()}
    return {side: header.spec.model, **named, f"licence.{side}": licence}


def _figures(scored: Scored) -> dict[str, float]:
    """A score's value, its noise twin and its deviation, as far as it has them."""
    found = {"value": scored.value, "noise": scored.noise, "deviation": scored.deviation}
    return {name: figure for name, figure in found.items() if figure is not None}


def _details(row: Row) -> dict[str, list[Any]]:
    rows = [
        (name, scored.version, key, str(value))
        for name, scored in row.scores.items()
        for key, value in {**_figures(scored), **scored.details}.items()
    ]
    return dict(zip(("score", "version", "detail", "value"), map(list, zip(*rows, strict=True)), strict=True))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
