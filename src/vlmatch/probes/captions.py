"""The caption in a cell of a table or a JSON object: a text, or a list of texts; the first one counts."""

import ast
import contextlib
import json
import math
import re
import unicodedata
from typing import Any

from vlmatch.errors import shown
from vlmatch.probes.problems import EntryError
from vlmatch.probes.text import MAX_CHARACTERS, text_of

ABSENT = frozenset({"nan", "none", "null", "n/a", "#n/a", "<na>"})
"""What programs write into a table if a caption is missing, in lower case."""

_NOT_TEXT = "with a caption that is not text"
_NO_CAPTION = "without a caption"
_LIST = re.compile(r"""\[\s*["'].*["']\s*\]""", re.DOTALL)  # a list of texts that a program wrote as one text


def caption_of(value: Any, where: str) -> tuple[str, int]:
    """The stripped caption ('' if there is none), and how many captions the cell lists.

    Bytes are read as text. A text that is a list of texts, as JSON or Python write it, is read as that list, because a
    CSV can't hold lists in another way. Raises EntryError, naming `where`, if the cell holds anything but a text, a
    list of texts, or null, because numbers, truth values and objects don't describe an image.
    """
    values = list(value) if isinstance(value, list | tuple) else _listed(value, where)
    first = values[0] if values else None
    if isinstance(first, bytes):
        first = text_of(where, first)
    if isinstance(first, float) and math.isnan(first):
        first = None
    if isinstance(first, str | None):
        return (first or "").strip(), len(values)
    raise EntryError(
        f"{where} is of type {type(first).__name__} ({shown(first)}); wanted a text, or a list of texts", _NOT_TEXT
    )


def _listed(value: Any, where: str) -> list[Any]:
    """The texts of a list that was written as text, or the value alone. Raises EntryError for other forms of lists."""
    text = value.strip() if isinstance(value, str) else ""
    if not _LIST.fullmatch(text):
        return [value]
    with contextlib.suppress(ValueError, RecursionError):
        return list(json.loads(text))
    with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        if repr(found := ast.literal_eval(text)) == text:  # NumPy's lists have no commas: Python would join their texts
            return list(found)
    raise EntryError(
        f"{where} is a list that was written as a text ({shown(text)})",
        _NOT_TEXT,
        "write the table as JSON lines, where a list stays a list, or keep one caption per image",
    )


def require_caption(name: str, caption: str) -> None:
    """Raise EntryError if the caption of the pair `name` is empty, stands for a missing one, or is too long."""
    advice = "give it a caption or remove the row"
    if not any(unicodedata.category(each)[0] not in "CZ" for each in caption):  # controls, formats, separators
        raise EntryError(f"the caption of '{name}' is empty", _NO_CAPTION, advice)
    if caption.strip().casefold() in ABSENT:
        raise EntryError(f"the caption of '{name}' is '{caption}', which stands for no caption", _NO_CAPTION, advice)
    if len(caption) > MAX_CHARACTERS:
        raise EntryError(
            f"the caption of '{name}' has {len(caption):,} characters; the limit is {MAX_CHARACTERS:,}",
            "with too long a caption",
            "shorten it or remove the row",
        )


def is_number(caption: str) -> bool:
    """Whether a caption is nothing but a number: perhaps the class, or another column."""
    try:
        float(caption)
    except ValueError:
        return False
    return True
