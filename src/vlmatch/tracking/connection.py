"""The only connection to MLflow: every failed call becomes an error of one line that names the setting."""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

from vlmatch.errors import VlmatchError, one_line
from vlmatch.files import FULL, renamed
from vlmatch.machine.disk import faults_as, is_full
from vlmatch.machine.network import require_network
from vlmatch.machine.waiting import SECONDS, waiting
from vlmatch.secrets import masked_addresses
from vlmatch.settings.work import TrackingSettings

ENVIRONMENT = "MLFLOW_TRACKING_URI"
FOLDER = "tracking.folder"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""The kinds of database that MLflow knows."""
_WITH_TIMEOUT = ("postgresql", "mysql")  # they wait for minutes without the argument connect_timeout
OWN_DATABASE = f"leave out tracking.uri and {ENVIRONMENT}: runs are then kept in tracking.folder"
LONGEST = 300  # characters that an error quotes of MLflow's reason
LONGEST_NAME = 200  # characters of an experiment's name


class TrackingError(VlmatchError):
    """MLflow failed, or can't be reached; what was to be logged is not at fault."""


class Patience(NamedTuple):
    """How long MLflow waits for a lost connection; its own default is four minutes.

    retries: how often a request is sent again. seconds: after which a request is given up. until: the whole wait in
    words.
    """

    retries: int
    seconds: int
    until: str

    @property
    def environment(self) -> Mapping[str, str]:
        """MLflow's own variables, which apply unless the user set them."""
        return {
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(self.retries),
            "MLFLOW_HTTP_REQUEST_TIMEOUT": str(self.seconds),
        }


BRIEF = Patience(0, 2, "it is given up after 2 s")
HURRIED = Patience(1, 6, "it is given up after 15 s")
PATIENT = Patience(5, 10, "it is given up after two minutes")
ONCE = Patience(0, 2, "it does so once")

_lost: set[str] = set()
"""Addresses for which this process has waited in vain: only `BRIEF` applies to each until it answers again."""


@dataclass(frozen=True)
class Address:
    """Where MLflow's runs are kept. key: the setting or environment variable that names the place."""

    uri: str
    key: str

    @classmethod
    def of(cls, settings: TrackingSettings) -> Self:
        """The address that settings and environment name. Raises VlmatchError if it can't work."""
        if settings.uri is not None:
            address = cls(settings.uri, "tracking.uri")
        elif os.environ.get(ENVIRONMENT):
            address = cls(os.environ[ENVIRONMENT], ENVIRONMENT)
        else:
            address = cls(f"sqlite:///{settings.folder.absolute() / 'mlflow.db'}", FOLDER)
        address._require_usable()
        return address

    def __str__(self) -> str:
        return f"{self.key}='{masked_addresses(self.uri)}'"

    @property
    def database(self) -> str | None:
        """The kind of database, such as 'sqlite'; None for a server."""
        kind = self.uri.partition(":")[0].partition("+")[0]
        return kind if kind in DATABASES else None

    @property
    def _path(self) -> str:
        return self.uri.removeprefix("sqlite:///")

    def _failure(self, doing: str, error: Exception, patience: Patience) -> TrackingError:
        """The error of one line for a call of MLflow that failed. doing: what MLflow was asked to do."""
        kept = "what was computed is kept, and the same command goes on from there; " if patience is PATIENT else ""
        return TrackingError(f"{self}: MLflow can't {doing} there: {_reason(error)}; {kept}{self.remedy}")

    @property
    def remedy(self) -> str:
        """What to do about an address that fails, for the end of a message."""
        if self.database == "sqlite":
            return (
                f"make '{self._path}' readable and writable; if it is damaged, move it away, and a new one is made; or "
                "give tracking.folder=FOLDER"
            )
        return (
            "check the address, that its server is up, and your login (MLFLOW_TRACKING_USERNAME and "
            f"MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN), or {OWN_DATABASE}"
        )

    def _require_usable(self) -> None:
        if self.uri.startswith("file:") or not ("://" in self.uri or self.uri.startswith("databricks")):
            raise VlmatchError(
                f"{self} is a folder, wanted a database or a server, because MLflow no longer keeps runs in "
                "folders; give tracking.folder=FOLDER for a database in a folder, or tracking.uri=http://HOST:PORT"
            )
        if self.key == FOLDER and ("?" in self.uri or unquote(self.uri) != self.uri):
            raise VlmatchError(
                f"{self}: MLflow can't keep a database in a folder with '?' or with '%' and digits in its name; give "
                f"another {FOLDER}"
            )
        if self.database != "sqlite":
            require_network(f"MLflow's server {self} is", OWN_DATABASE)

    def create_database(self) -> None:
        """Create the SQLite database if it is missing, atomically: MLflow itself leaves half of one if it is stopped.

        Raises VlmatchError if MLflow can't create it.
        """
        path = Path(self._path).absolute()
        names_a_file = self.uri.startswith("sqlite:///") and self._path not in ("", ":memory:") and "?" not in self.uri
        is_absent = not path.exists() or (path.is_file() and not path.stat().st_size)
        if not (names_a_file and is_absent and path.parent.is_dir()):
            return
        with renamed(path) as temporary, self.entered("create its database", ONCE):
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            SqlAlchemyStore(f"sqlite:///{temporary}", (path.parent / "artifacts").as_uri()).engine.dispose()

    def require_database(self) -> None:
        """Raise VlmatchError if the address is a database that can't be opened or that belongs to another program.

        MLflow itself would try for a minute, and add its tables to those of the other program.
        """
        if self.database is None:
            return
        with self.entered("open a database", HURRIED) as applied:
            from sqlalchemy import create_engine, inspect

            limits = {"connect_timeout": applied.seconds} if self.database in _WITH_TIMEOUT else {}
            engine = create_engine(self.uri, connect_args=limits)
            try:
                tables = inspect(engine).get_table_names()
            finally:
                engine.dispose()
        if tables and "experiments" not in tables:
            raise VlmatchError(
                f"{self} is a database of another program (tables: {', '.join(tables[:3])}) and is left as it is; "
                "give tracking.folder=FOLDER, or another tracking.uri"
            )

    @contextlib.contextmanager
    def entered(self, doing: str, patience: Patience) -> Iterator[Patience]:
        """Turn errors of MLflow in the block into TrackingError; if the block takes long, print what it waits for.

        doing: what MLflow is asked to do, as in "create run". The block gets the patience that applies: after a long
        wait in vain, all later ones are brief, so that all jobs of a sweep together wait once for a dead server.
        Errors of the disk stay as they are.
        """
        applied = BRIEF if self.uri in _lost else patience
        own = [name for name in applied.environment if name not in os.environ]
        os.environ.update({name: applied.environment[name] for name in own})
        started = time.monotonic()
        try:
            with (
                faults_as(lambda error: self._failure(doing, error, patience)),
                waiting(f"MLflow at {self} to {doing}", applied.until),
            ):
                yield applied
        except VlmatchError:
            if time.monotonic() - started > SECONDS:
                _lost.add(self.uri)
            raise
        except Exception as error:
            if self.database == "sqlite" and is_full(error):  # sqlite does not say which file
                raise OSError(errno.ENOSPC, FULL, self._path) from error
            raise
        finally:
            for name in own:
                os.environ.pop(name, None)


class GuardedClient:
    """MLflow's client; each of its methods runs inside `Address.entered`."""

    def __init__(self, address: Address) -> None:
        """Raises VlmatchError if MLflow can't use the address."""
        self._address, self._patience = address, PATIENT
        with address.entered("connect", HURRIED):
            from mlflow import MlflowClient

            self._client = MlflowClient(address.uri)

    @contextlib.contextmanager
    def hurried(self) -> Iterator[None]:
        """Inside the block, a server that does not answer is given up after seconds."""
        self._patience = HURRIED
        try:
            yield
        finally:
            self._patience = PATIENT

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self._client, name)
        if not callable(method):
            return method

        @wraps(method)
        def guarded(*arguments: Any, **named: Any) -> Any:
            with self._address.entered(name.replace("_", " "), self._patience):
                answer = method(*arguments, **named)
            _lost.discard(self._address.uri)
            return answer

        return guarded


def require_experiment_name(name: str) -> None:
    """Raise VlmatchError unless MLflow can have an experiment of this name."""
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise VlmatchError(
            f"tracking.experiment={name[:60]!r}, wanted a name of 1 to {LONGEST_NAME} printable characters; give "
            "tracking.experiment=NAME"
        )


def experiment_id(client: GuardedClient, address: Address, experiment: str, folder: Path) -> str:
    """The id of the experiment, which is created if there is none. Raises VlmatchError if it was deleted."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        location = (folder / "artifacts").as_uri() if address.database == "sqlite" else None
        try:
            return str(client.create_experiment(experiment, location))
        except VlmatchError:  # another process may have created it on the server meanwhile
            found = client.get_experiment_by_name(experiment)
            if found is None:
                raise
    if not found.experiment_id:  # MLflow reads an empty answer of another kind of server as this
        raise VlmatchError(f"{address} does not answer as MLflow does; {address.remedy}")
    if found.lifecycle_stage != "active":
        raise VlmatchError(
            f"tracking.experiment='{experiment}' is {found.lifecycle_stage} in MLflow; give another name, or restore "
            f"it: {ENVIRONMENT}={masked_addresses(address.uri)} mlflow experiments restore --experiment-id "
            f"{found.experiment_id}"
        )
    return str(found.experiment_id)


def _reason(error: BaseException) -> str:
    """Why MLflow failed: what the network said if it is at fault, else MLflow's own words without its SQL."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionError | TimeoutError | socket.gaierror):
            return one_line(cause)
        cause = cause.__cause__ or cause.__context__
    return masked_addresses(one_line(error)).partition(" [SQL:")[0][:LONGEST]
