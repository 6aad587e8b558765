"""The errors a user can cause: one line each, which names the argument, its value, what was wanted and what to do."""

import json
from collections.abc import Sequence

_SHOWN = 60  # characters of a value that a message shows
LISTED = 12
"""How many names a sentence lists, unless it says otherwise."""


class VlmatchError(ValueError):
    """Bad input or a missing resource; the command line prints it as one line and exits with 2.

    Code that expects ValueError of wrong arguments, as from other libraries, catches it too.
    """


class NotHereError(VlmatchError):
    """Weights or data that can't be had on this machine; a sweep shows the model as a row 'not here' and goes on."""


def one_line(text: object) -> str:
    """Fold any message, a library's traceback included, into a single line; of an error without one, its type."""
    line = " ".join(str(text).split())
    return type(text).__name__ if isinstance(text, BaseException) and not line else line


def shown(value: object) -> str:
    """A value of a yaml for a message: as JSON has it, text in single quotes, cut where it is long."""
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def enumerated(things: Sequence[object], most: int = LISTED) -> str:
    """At most so many of them in a list, and how many more there are: 'a, b, and 3 more'."""
    named = [str(thing) for thing in things[:most]]
    more = [f"and {len(things) - len(named):,} more"] if len(things) > len(named) else []
    return ", ".join([*named, *more])
