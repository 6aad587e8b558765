"""The command line: one Hydra application whose `task=` picks what runs, with one-line errors and exit code 2."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from vlmatch import paths
from vlmatch.configs import choices, groups, register_search_path, require_choices, words
from vlmatch.messages import DEBUG, leave_with_line
from vlmatch.objects import admitted, prefixes_in, task_named

UNLISTED = ("hydra", "local")  # config groups that a user doesn't choose from
TEXTS = ("search.command", "search.value_file")  # keys whose values Hydra must not parse: they may have braces
CHECKOUT_ONLY = "  [checkout]"  # ends the lines of help.txt that an installed wheel leaves out


def main(arguments: list[str] | None = None) -> None:
    """Run the command line `arguments` (default: those of this process). Exits with code 2 if the input is wrong.

    If `arguments` are given, the process keeps its own arguments, environment and signal handlers.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if {"--help", "-h"} & set(given):
        print(help_page())
        return
    if arguments is None:  # this process runs one command
        gc.disable()  # until the task starts
        signal.signal(signal.SIGTERM, leave)
        _run(given)
    else:
        with _process_as_before():
            _run(given)


@contextmanager
def _process_as_before() -> Iterator[None]:
    """Restore the arguments and the environment of the process after the block."""
    arguments, environment = sys.argv, dict(os.environ)
    try:
        yield
    finally:
        sys.argv = arguments
        for added in os.environ.keys() - environment.keys():
            del os.environ[added]
        os.environ.update(environment)


def _run(arguments: list[str]) -> None:
    command = arguments_for_hydra(arguments)
    sys.argv = [sys.argv[0], *command]
    # With this variable, Hydra raises exceptions instead of printing them. They are printed below, and nowhere else.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("NUMBA_CACHE_DIR", str(paths.cache() / "numba"))
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    print_whatever_the_terminal_can()
    try:
        _application()()
    except Exception as error:
        leave_with_line(error, command)
        raise
    except (KeyboardInterrupt, SystemExit) as left:
        # Lightning turns an interrupt into a SystemExit.
        if isinstance(left, SystemExit) and not isinstance(left.__context__, KeyboardInterrupt):
            raise
        print("vlmatch: stopped; what was computed is kept, and the same command goes on from there", file=sys.stderr)
        sys.exit(130)


def arguments_for_hydra(arguments: list[str]) -> list[str]:
    """Move the bare word `multirun` to where Hydra reads it, take out the flag `--debug`, and quote command lines.

    Hydra accepts `--multirun` only in front of the overrides; `python src/run.py encoder=siglip multirun` reads better.
    """
    multirun = {"multirun", "--multirun", "-m"}
    if "--debug" in arguments:
        os.environ[DEBUG] = "1"
    rest = [_quoted(argument) for argument in arguments if argument not in multirun and argument != "--debug"]
    return ["--multirun", *rest] if multirun & set(arguments) else rest


def _quoted(argument: str) -> str:
    """The argument with its value in quotes, if its key is one of `TEXTS` and the value has no quotes yet."""
    from hydra.core.override_parser.types import Quote, QuotedString

    key, _, value = argument.partition("=")
    if key.lstrip("+") not in TEXTS or value in ("", "null"):
        return argument
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" and value[0] not in value[1:-1]:
        return argument
    return f"{key}={QuotedString(value, Quote.single).with_quotes()}"


def help_page() -> str:
    """What `--help` prints: `help.txt`, with the names that each config group offers.

    Hydra's own help composes the whole config and takes twice as long.
    """
    offered = {group: ", ".join(choices(group)) for group in groups() if group not in UNLISTED}
    listed = "\n".join(f"{group}: {names}" for group, names in offered.items() if names)
    lines = Path(__file__).with_name("help.txt").read_text(encoding="utf-8").splitlines()
    if not paths.in_checkout():
        lines = [line.replace("python src/run.py", "vlmatch") for line in lines if not line.endswith(CHECKOUT_ONLY)]
    return "\n".join(line.removesuffix(CHECKOUT_ONLY) for line in lines).replace("{groups}", listed)


def run_task(config: Any) -> Any:
    """Run the task that the config names; a sweep calls this once for each job, here or on another machine."""
    from hydra.core.hydra_config import HydraConfig

    from vlmatch.settings.command import settings_for

    print_whatever_the_terminal_can()  # for a job in another process
    if "SUBMITIT_EXECUTOR" in os.environ:  # submitit ignores SIGTERM: `scancel` would wait, and then kill
        signal.signal(signal.SIGTERM, leave)
    if HydraConfig.initialized():
        require_choices(words(HydraConfig.get().overrides.task))
    with admitted(*prefixes_in(config.targets)):
        function = task_named(config.task._target_)
        _start_collecting()
        return function(settings_for(function, config))


def _application() -> Any:
    import hydra

    register_search_path()
    # Absolute: a relative path would start from the folder of the module that is __main__.
    return hydra.main(version_base="1.3", config_path=str(paths.conf()), config_name="config")(run_task)


def print_whatever_the_terminal_can() -> None:
    """Print a question mark for each character that the terminal's encoding lacks, such as `±` in ASCII."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _start_collecting() -> None:
    """Collect garbage from now on, but skip the objects that imports created: they live until the process ends.

    Scanning them would take a tenth of the time of a sweep that finds everything in the store.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def leave(signum: int, frame: object) -> None:
    """Turn SIGTERM into an exit, so that `with` blocks close their runs and files."""
    sys.exit(128 + signum)
