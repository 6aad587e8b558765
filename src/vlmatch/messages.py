"""Turn an exception that the user can mend into one line; anything else is a bug and keeps its traceback."""

import re
from collections.abc import Iterable

from vlmatch.configs import composed, groups, nearest, unknown_choice
from vlmatch.disk import is_full, is_refused, refusal
from vlmatch.errors import VlmatchError, one_line
from vlmatch.secrets import masked_addresses

DEBUG = "VLMATCH_DEBUG"  # set by --debug: tracebacks instead of lines

_NULL_GROUP = "Config group override must be a string or a list"  # what Hydra says to GROUP=null


def user_message(error: BaseException, arguments: Iterable[str] = ()) -> str | None:
    """The line to print for `error`, or None where it is not the user's to mend; passwords in addresses are masked.

    `arguments` is the command line: a group, choice or key that Hydra does not know is matched against the nearest.
    """
    line = _line(error, list(arguments))
    return None if line is None else masked_addresses(line)


def _line(error: BaseException, arguments: list[str]) -> str | None:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    for cause in _causes(error):
        if isinstance(cause, VlmatchError):
            return one_line(cause)
    of_hydra = isinstance(error, ValueError) and str(error).startswith(_NULL_GROUP)
    if of_hydra or isinstance(error, HydraException | OmegaConfBaseException):
        return _about_config(error, arguments)
    if type(error).__name__ == "MisconfigurationException":  # Lightning's; its import takes seconds
        return f"trainer: {one_line(error)} Choose another one: trainer=cpu"
    if is_refused(error):
        return refusal(error, arguments)
    return next((refusal(cause, arguments) for cause in _causes(error) if is_full(cause)), None)


def _causes(error: BaseException) -> Iterable[BaseException]:
    """The error, and what it was raised from: Hydra wraps what a constructor raises."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:  # one may be its own cause
        yield cause
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__


def _about_config(error: BaseException, arguments: list[str]) -> str:
    message = one_line(error)
    if message.startswith(_NULL_GROUP):
        given = next((each for each in arguments if each.endswith("=null")), "GROUP=null")
        return f"{given}: a config group can't be null; to leave it out, give ~{given.partition('=')[0]}"
    choice = re.search(r"Could not find '([^']+)/([^'/]+)'", message)
    if choice:
        return unknown_choice(*choice.groups())
    key = re.search(
        r"Could not override '([^']+)'|Key '([^']+)' is not in struct|In '[^']*': Could not find '([^']+)'", message
    )
    if key:
        name = next(group for group in key.groups() if group)
        asked = next((a.split("=")[0].lstrip("+~") for a in arguments if name in a.split("=")[0]), name)
        if asked in groups():
            return (
                f"'{asked}' is a config group that this task does not use; choose the task that uses it, by task=NAME"
            )
        return f"'{asked}' is not a key of the config; {nearest(asked, _keys())}"
    return message.removesuffix(" Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.")


def _keys() -> list[str]:
    """Every config group, and every dotted key of the default config."""
    from omegaconf import OmegaConf

    return list(dict.fromkeys([*groups(), *_dotted(OmegaConf.to_container(composed(), resolve=False))]))


def _dotted(node: object, prefix: str = "") -> Iterable[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield f"{prefix}{name}"
            yield from _dotted(value, f"{prefix}{name}.")
