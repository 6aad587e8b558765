"""Read text from elsewhere: find its Unicode encoding, and refuse repeated keys in JSON and broken characters."""

import json
from collections.abc import Sequence
from typing import Any

from vlmatch.probes.problems import EntryError

MAX_CHARACTERS = 1_000_000  # of one caption, or one field of a table

BROKEN = "not valid Unicode"
"""The reason under which broken texts are counted."""

_START = 4  # bytes that tell the encoding


class NotUtf8Error(EntryError):
    """A text with a byte that is not UTF-8."""


def encoding_of(start: bytes) -> tuple[str, str]:
    """The encoding of a text by its first bytes, and the error handler to read it with.

    The byte order mark tells the encoding. Without one, the places of zero bytes tell it, because tables, JSON and
    English captions start with ASCII characters. Bytes that are not UTF-8 and halves of characters are read as lone
    surrogates, so that they affect only their own row; `require_unicode` finds them.
    """
    found = json.detect_encoding(start[:_START])
    return found, "surrogateescape" if found.startswith("utf-8") else "surrogatepass"


def decoded(content: bytes) -> str:
    """A text in UTF-8, UTF-16 or UTF-32, without its byte order mark; see `encoding_of`.

    Raises UnicodeError for UTF-16 or UTF-32 that is cut within a character.
    """
    return content.decode(*encoding_of(content))


def text_of(what: str, content: bytes) -> str:
    """A text as `decoded` reads it. Raises EntryError, naming `what`, unless all of it can be read."""
    try:
        text = decoded(content)
    except UnicodeError as error:
        raise EntryError(f"{what} is not valid Unicode ({error})", BROKEN, "save it as UTF-8") from error
    require_unicode(what, text)
    return text


def require_unicode(what: str, text: str) -> None:
    """Raise EntryError, naming `what`, if a text holds half a character, or a byte that is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        if 0xDC80 <= code <= 0xDCFF:
            raise NotUtf8Error(
                f"{what} holds the byte 0x{code - 0xDC00:02x}, which is not UTF-8", BROKEN, "save it as UTF-8"
            ) from error
        raise EntryError(
            f"{what} holds half a character ({text[error.start]!a}), which is not valid Unicode", BROKEN
        ) from error


def parsed_json(text: str) -> Any:
    """The value of a JSON text; an object that has a key twice becomes an EntryError, wherever it stands in the value.

    Raises EntryError if the text is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise EntryError(f"it is not JSON ({error})", "malformed") from error


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any] | EntryError:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    keys = [key for key, _ in pairs]
    twice = next(key for key in keys if keys.count(key) > 1)
    return EntryError(f"its JSON has the key {twice!a} twice", "malformed")
