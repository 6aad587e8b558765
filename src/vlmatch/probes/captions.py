"""The caption in a cell of a table or a JSON object: a text, or a list of texts of which the first counts."""

from typing import Any

from vlmatch.probes.problems import EntryError


def first_caption(value: Any, where: str) -> tuple[str, int]:
    """The caption, stripped, and how many captions the cell lists; '' where there is none.

    Raises EntryError, naming `where`, if the cell holds anything else than a text, a list of texts, or null.
    """
    values = value if isinstance(value, list) else [value]
    first = values[0] if values else None
    if not isinstance(first, str | None):
        kind = type(first).__name__
        raise EntryError(
            f"{where} is of type {kind}; wanted a text, or a list of texts", "with a caption that is not text"
        )
    return (first or "").strip(), len(values)
