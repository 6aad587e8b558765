"""Turn an exception that the user can fix into one line; anything else is a bug and keeps its traceback."""

import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import yaml

from vlmatch.configs import (
    NOT_GLOBAL,
    choices,
    composed,
    damaged_yaml,
    groups,
    nearest,
    unknown_choice,
    yaml_path,
    yaml_reason,
)
from vlmatch.errors import VlmatchError, one_line
from vlmatch.machine.disk import is_full, is_refused, refusal
from vlmatch.secrets import masked_addresses

DEBUG = "VLMATCH_DEBUG"  # set by --debug: tracebacks instead of lines

_NULL_GROUP = "Config group override must be a string or a list"  # what Hydra says to GROUP=null
_MERGING = "Error merging override "
_OF_HYDRA = (_NULL_GROUP, "Only one of --run", "Invalid defaults list")  # starts of its plain ValueErrors
_OF_SUBMITIT = ("UncompletedJobError", "FailedJobError")  # a job that was cancelled, killed or ran into its time limit


def user_message(error: BaseException, arguments: Iterable[str] = ()) -> str | None:
    """The line to print for `error`; None if the user can't fix it. Passwords in addresses are masked.

    arguments: the command line. For a group, choice or key that Hydra does not know, the line suggests the nearest.
    """
    line = _line(error, list(arguments))
    return None if line is None else masked_addresses(line)


def leave_with_line(error: BaseException, arguments: Iterable[str]) -> None:
    """Print the line for `error` and exit with 2; return if it has none, or if its traceback is wanted."""
    line = user_message(error, arguments)
    if line is not None and not os.environ.get(DEBUG):
        print(f"vlmatch: {line}", file=sys.stderr)
        sys.exit(2)


@contextmanager
def leaving(arguments: Iterable[str], otherwise: str) -> Iterator[None]:
    """Exit on an error in the block: print its line or, if it has none, its traceback and the line `otherwise`.

    Hydra's callbacks need this: Hydra only warns of an error in a callback, and goes on.
    """
    try:
        yield
    except Exception as error:
        leave_with_line(error, arguments)
        traceback.print_exception(error)
        print(f"vlmatch: {otherwise}", file=sys.stderr)
        sys.exit(1)


def _line(error: BaseException, arguments: list[str]) -> str | None:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    for cause in _causes(error):
        if isinstance(cause, VlmatchError):
            return one_line(cause)
    if damaged := _damaged_yaml(error):
        return f"{damaged}; fix the file, or move it away"
    of_hydra = isinstance(error, ValueError) and str(error).startswith(_OF_HYDRA)
    if of_hydra or isinstance(error, HydraException | OmegaConfBaseException):
        return _about_config(error, arguments)
    if type(error).__name__ == "MisconfigurationException":  # Lightning's; its import takes seconds
        return f"trainer: {one_line(error)} Choose another one: trainer=cpu"
    if type(error).__name__ in _OF_SUBMITIT:
        return _about_job(str(error))
    refused = error if is_refused(error) else next(filter(is_full, _causes(error, handled=True)), None)
    return None if refused is None else refusal(refused, arguments)


def _damaged_yaml(error: BaseException) -> str | None:
    """File, line and reason if the error comes from a yaml that can't be parsed."""
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, yaml.YAMLError) and mark is not None:
        return f"'{mark.name}'{yaml_reason(error)}"
    return damaged_yaml() if isinstance(error, yaml.YAMLError | UnicodeDecodeError) else None  # no file is named


def _causes(error: BaseException, *, handled: bool = False) -> Iterable[BaseException]:
    """The error, and the errors that it was raised from: Hydra wraps what a constructor raises.

    handled: also yield the error that was being handled when an error was raised. Without it, a bug in a handler is
    reported as the bug, and not as the error that the handler handled.
    """
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:  # an error may be its own cause
        yield cause
        seen.append(cause)
        cause = cause.__cause__ or (cause.__context__ if handled else None)


def _about_job(message: str) -> str:
    """The line for a job that ended without a result. message: submitit's, which quotes whole logs below its head."""
    head = one_line(message.partition("Error stream")[0].partition("-----")[0])
    job, state = re.search(r"Job (\d\S*)", head), re.search(r"state: ([^)]*)", head)
    which = f"job {job[1]} of the sweep" if job else "a job of the sweep"
    how = f"in state {state[1]}" if state else f"before its end: {head}"
    return (
        f"the cluster ended {which} {how}; waiting and running jobs go on; once they are done, the same command "
        "computes what is missing; the job's log is in .submitit below hydra.sweep.dir"
    )


def _about_config(error: BaseException, arguments: list[str]) -> str:
    from hydra.errors import OverrideParseException

    message = one_line(next(filter(str, _causes(error)), error))  # some errors have no message
    if message.startswith(_NULL_GROUP):
        null = [each for each in arguments if each.endswith("=null")]
        given = next((each for each in null if re.split("[/@=]", each.lstrip("+"))[0] in groups()), "GROUP=null")
        return f"{given}: a config group can't be null; to leave it out, give ~{given.partition('=')[0]}"
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override} can't be read; give KEY=VALUE, and put quotes around a value that has spaces or one of "
            "= , ' [ ] { }, such as \"KEY='a=b'\""
        )
    several = re.search(r"Ambiguous value for argument '(.+?)' 1\.", message)
    if several:
        return f"{several[1]} gives several values; add the word multirun to run each, or give one (a list: KEY=[a,b])"
    choice = re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", message)
    if choice:
        return unknown_choice(*choice.groups())
    key = re.search(
        r"Could not override '([^']+)'|Key '([^']+)' is not in struct|In '[^']*': Could not find '([^']+)'", message
    )
    if key:
        return _about_key(next(group for group in key.groups() if group), arguments)
    if message.startswith(_MERGING):  # a key of Hydra's own config, which is typed
        reason = str(error.__cause__).partition("\n")[0]
        message = f"{message.removeprefix(_MERGING)}: {reason}; give another value"
    return message.removesuffix(" Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.")


def _about_key(name: str, arguments: list[str]) -> str:
    """The line for a key that Hydra does not know; `name` may be only a part of what was typed."""
    if "@local." in name:
        return NOT_GLOBAL
    if name.endswith("/"):
        return f"{name[:-1]}= names nothing; give {name[:-1]}=NAME, {nearest('', choices(name[:-1]))}"
    typed = [each.partition("=")[0].lstrip("+~") for each in arguments]
    asked = name if name in typed else next((key for key in typed if name in key), name)
    if asked in groups():
        return f"'{asked}' is a config group that this task does not use; choose the task that uses it, by task=NAME"
    keys = _keys(arguments)
    part = asked.partition(".")[0]
    owners = [task for task in choices("task") if part in yaml.safe_load(yaml_path("task", task).read_text("utf-8"))]
    if owners and part not in keys:
        return f"'{asked}' is a key of task={owners[0]} alone; add task={owners[0]}, or leave it out"
    deeper = [key for key in keys if key.endswith(f".{asked}")]  # `fed` for `answer.fed`, as the Python API calls it
    meant = f"did you mean {' or '.join(deeper[:3])}?" if deeper else nearest(asked, keys)
    return f"'{asked}' is not a key of the config; {meant}"


def _keys(arguments: list[str]) -> list[str]:
    """Every config group, and every dotted key of the task's default config unless a user's own yaml breaks it."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    try:
        default = composed(*(each for each in arguments if each.startswith("task=")))
    except HydraException:
        return groups()
    return list(dict.fromkeys([*groups(), *_dotted(OmegaConf.to_container(default, resolve=False))]))


def _dotted(node: object, prefix: str = "") -> Iterable[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield f"{prefix}{name}"
            yield from _dotted(value, f"{prefix}{name}.")
