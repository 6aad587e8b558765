"""Items of a JSON list, or of lines of JSON: a broken line does not affect the others."""

import re
from typing import Any

from vlmatch.probes.problems import EntryError
from vlmatch.probes.text import parsed_json

_LINES = re.compile("\r\n|\r|\n")  # str.splitlines also splits at characters that JSON allows inside a string

NumberedItem = tuple[int, Any]
"""An item of the file and its number there, from 0: its place in the list, or its line."""


def json_items(text: str, *, lines: bool) -> list[NumberedItem]:
    """The items of a JSON list or, whatever the file is called, of lines of JSON; a broken line is an EntryError.

    lines: whether the file's name promises lines; if so, a broken first line is an EntryError like any other.

    Raises EntryError if the text is neither.
    """
    if lines and not text.lstrip().startswith("["):
        return _lines(text)
    try:
        found = parsed_json(text)
    except EntryError:
        if _starts_with_an_object(text):
            return _lines(text)
        raise
    if not isinstance(found, list):
        raise EntryError("it is not a JSON list", "malformed")
    return list(enumerate(found))


def _lines(text: str) -> list[NumberedItem]:
    return [(number, _parsed(line, number)) for number, line in enumerate(_LINES.split(text)) if line.strip()]


def _parsed(line: str, number: int) -> Any:
    try:
        return parsed_json(line)
    except EntryError as error:
        return EntryError(f"line {number + 1} {error.problem.removeprefix('it ')}", error.reason)


def _starts_with_an_object(text: str) -> bool:
    """Whether the first line that is not empty is a whole JSON object."""
    first = next((line for line in _LINES.split(text) if line.strip()), "")
    try:
        return isinstance(parsed_json(first), dict)
    except EntryError:
        return False
