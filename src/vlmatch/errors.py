"""The errors a user can cause: one line each, which names the argument, its value, what was wanted and what to do."""

import json
from collections.abc import Sequence

_SHOWN = 60  # characters of a value that a message shows
LISTED = 12
"""How many names a sentence lists by default."""


class VlmatchError(ValueError):
    """Bad input or a missing resource; the command line prints it as one line and exits with 2.

    It is a ValueError, so code that catches ValueError for wrong arguments catches it too.
    """


class NotHereError(VlmatchError):
    """Weights or data are not available on this machine; a sweep lists the model as 'not here' and goes on."""


def one_line(text: object) -> str:
    """Fold any message, a library's traceback included, into a single line; for an error without one, name its type."""
    line = " ".join(str(text).split())
    return type(text).__name__ if isinstance(text, BaseException) and not line else line


def shown(value: object) -> str:
    """A value of a yaml for a message: as JSON, but text in single quotes, and cut if it is long."""
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def enumerated(things: Sequence[object], most: int = LISTED) -> str:
    """List at most `most` of the things, and say how many more there are: 'a, b, and 3 more'."""
    named = [str(thing) for thing in things[:most]]
    more = [f"and {len(things) - len(named):,} more"] if len(things) > len(named) else []
    return ", ".join([*named, *more])
