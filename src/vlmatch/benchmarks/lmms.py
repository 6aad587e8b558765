"""Public benchmarks by lmms-eval, run in this process on a VLM in memory."""

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.files import write_text
from vlmatch.machine.network import require_network
from vlmatch.vlm.model import VLM


def evaluate_public(
    vlm: VLM,
    tasks: Sequence[str],
    *,
    about: Mapping[str, Any],
    template: str,
    pad: Sequence[int] | None = None,
    folder: Path,
    limit: int | None = None,
    batch_size: int = 1,
    max_new_tokens: int = 128,
    own_tasks: Path | None = None,
) -> dict[str, Any]:
    """Run the benchmarks `tasks` of lmms-eval and return its results as plain values, for `write_results`.

    about: describes this VLM; the results hold it as the model's arguments. template, pad: the template of the
    conversations and the colour of the squares that the VLM was trained with. folder: where tasks write files of their
    own. limit: how many items of each task; None: all. own_tasks: a folder with yamls of your own tasks; if it is
    given, tasks are only taken from there, and the network is not used.

    Raises VlmatchError on a wrong argument, NotHereError if lmms-eval or a task's data are not available.
    """
    _check(limit, batch_size, max_new_tokens)
    require_lmms_eval()
    if own_tasks is None:
        require_network("task.tasks: the data of public benchmarks are", "give tasks of your own by task.own_tasks")
    from lmms_eval.evaluator import simple_evaluate
    from loguru import logger
    from tenacity import RetryError

    from vlmatch.benchmarks.lmms_model import VlmatchModel

    logger.disable("lmms_eval")  # it logs a line for each of some thousand tasks
    model = VlmatchModel(vlm, template=template, pad=pad, batch_size=batch_size, max_new_tokens=max_new_tokens)
    manager = _task_manager(tasks, own_tasks)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = simple_evaluate(
            model,
            model_args=dict(about),
            tasks=list(tasks),
            task_manager=manager,
            batch_size=batch_size,
            limit=limit,
            log_samples=False,
            cli_args=Namespace(output_path=str(folder), process_with_media=False),
        )
    except (OSError, RetryError) as error:
        raise _not_here(tasks, error) from error
    return dict(found)


def _task_manager(tasks: Sequence[str], own_tasks: Path | None) -> Any:
    """lmms-eval's list of tasks. Raises VlmatchError if it lacks one of `tasks`."""
    from lmms_eval.tasks import TaskManager

    manager = TaskManager(
        include_path=None if own_tasks is None else str(own_tasks),
        include_defaults=own_tasks is None,
        model_name="vlmatch",
    )
    if unknown := [task for task in tasks if task not in manager.all_tasks]:
        raise VlmatchError(f"task.tasks={unknown[0]}: lmms-eval has no such task; `lmms-eval tasks` lists them")
    return manager


def write_results(results: Mapping[str, Any], path: Path) -> None:
    """Write results in the format of lmms-eval's own files, atomically; `task=import` reads them."""
    from lmms_eval.utils import handle_non_serializable

    write_text(path, json.dumps(results, indent=2, default=handle_non_serializable, ensure_ascii=False))


def require_lmms_eval() -> None:
    """Raise NotHereError unless lmms-eval is installed; `make test-lmms` installs it beside the project's packages."""
    if find_spec("lmms_eval") is None:
        raise NotHereError("lmms-eval is not installed; `make test-lmms` makes an environment with it, .venv-lmms")


def _not_here(tasks: Sequence[str], error: Any) -> BaseException:
    """NotHereError if the data could not be loaded after several attempts; any other error as it was."""
    cause: BaseException = error if isinstance(error, OSError) else error.last_attempt.exception()
    if not isinstance(cause, OSError):  # the hub's errors and those of `datasets` are OSErrors
        return cause
    return NotHereError(
        f"task.tasks={','.join(tasks)}: the data can't be loaded ({one_line(cause)[:200]}); lmms-eval downloads them "
        "from the Hugging Face hub, where some need a login: set HF_TOKEN"
    )


def _check(limit: object, batch_size: int, max_new_tokens: int) -> None:
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise VlmatchError(
            f"task.limit={limit}; wanted a whole number of items a task, or null for all. A share is refused because "
            "lmms-eval computes the number of items from the first task and uses it for all"
        )
    for name, value in (("batch_size", batch_size), ("max_new_tokens", max_new_tokens)):
        if value < 1:
            raise VlmatchError(f"task.{name}={value}; wanted 1 or more")
