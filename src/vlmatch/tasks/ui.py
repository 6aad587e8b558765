"""UI: print the address of each ranking in MLflow, and serve MLflow's pages."""

import os
import sys

from vlmatch.objects import task
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import UiTask
from vlmatch.tracking.tracker import Tracker


@task
def ui(settings: Settings[UiTask]) -> None:
    """Print the address of each saved view, then become MLflow's server, unless the runs are on a server already."""
    tracker = Tracker.of(settings.tracking)
    page = tracker.page or f"http://127.0.0.1:{settings.task.port}"
    for title, address in tracker.pages(page).items():
        print(f"{title}: {address}")
    if tracker.page is not None:
        return
    artifacts = settings.tracking.folder.absolute() / "artifacts"
    where = ["--host", "127.0.0.1", "--port", str(settings.task.port), "--workers", "1"]
    kept = ["--backend-store-uri", tracker.uri, "--artifacts-destination", str(artifacts)]
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", *where, *kept])  # noqa: S606 - no shell is wanted
