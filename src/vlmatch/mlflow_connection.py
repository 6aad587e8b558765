"""Connecting to MLflow's server or database: every failure is one line that names the setting, in under 20 seconds."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError, one_line
from vlmatch.network import require_network
from vlmatch.secrets import masked_addresses

# Of MLflow, while connecting: its own values retry for four minutes. They apply unless the user set others.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "8"}
LONGEST = 300  # characters of MLflow's reason in an error


def require_usable(uri: str, experiment: str) -> None:
    """Raise VlmatchError for an address or a name that cannot work, NotHereError for a server while offline."""
    if not experiment.strip():
        raise VlmatchError(f"tracking.experiment='{experiment}', wanted a name; give tracking.experiment=NAME")
    if uri.startswith("file:") or not ("://" in uri or uri.startswith("databricks")):
        raise VlmatchError(
            f"tracking.uri='{uri}' is a folder, wanted a database or a server, because MLflow no longer keeps runs in "
            "folders; give tracking.folder=FOLDER for a database in a folder, or tracking.uri=http://HOST:PORT"
        )
    if not uri.startswith("sqlite:"):
        require_network(f"the MLflow server '{masked_addresses(uri)}' is", "give tracking.uri=null")


def experiment_id(client: Any, uri: str, experiment: str, folder: Path) -> str:
    """The id of the experiment, which is created if there is none; VlmatchError if it was deleted."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        location = (folder / "artifacts").as_uri() if uri.startswith("sqlite:") else None
        return str(client.create_experiment(experiment, location))
    if found.lifecycle_stage != "active":
        raise VlmatchError(
            f"tracking.experiment='{experiment}' is {found.lifecycle_stage} in MLflow; give another name, or "
            f"restore it: mlflow experiments restore --experiment-id {found.experiment_id}"
        )
    return str(found.experiment_id)


@contextlib.contextmanager
def connecting(uri: str) -> Iterator[None]:
    """Turn whatever MLflow raises about `uri` into VlmatchError, and let it retry a lost connection only once."""
    before = {name: os.environ.get(name) for name in IMPATIENT}
    os.environ.update({name: value for name, value in IMPATIENT.items() if before[name] is None})
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, CommandError, ImportError) as error:  # ImportError: a database's driver
        reason = masked_addresses(one_line(error)).partition(" [SQL:")[0][:LONGEST]
        raise VlmatchError(
            f"tracking.uri='{masked_addresses(uri)}' can't be used: {reason}; correct it, or give tracking.uri=null "
            "for a database in tracking.folder (if mlflow.db is damaged, move it away, and a new one is made)"
        ) from error
    finally:
        for name in IMPATIENT:
            if before[name] is None:
                os.environ.pop(name, None)
