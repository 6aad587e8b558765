"""LLaVA's data format, read alike for probes and for training: conversations about images, as a list or as lines."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.probes.images import ImageError
from vlmatch.probes.problems import EntryError

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
ROLES = {"human": USER, "user": USER, "gpt": ASSISTANT, "assistant": ASSISTANT, "system": SYSTEM}
PLACE = "<image>"
"""Where an image goes in the text of a turn."""

_LINES = re.compile("\r\n|\r|\n")  # str.splitlines also splits at characters that JSON allows inside a string

Numbered = tuple[int, Any]
"""An item of the file and its number there, from 0: its place in the list, or its line."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What 'system', 'user' or 'assistant' says; '<image>' in a user's text is where an image goes."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation: its number and id in the file, its turns, and the paths of its images as the file has them."""

    number: int
    id: str
    turns: tuple[Turn, ...]
    images: tuple[str, ...]

    @property
    def answers(self) -> list[str]:
        """What the assistant says in each of its turns, without '<image>'."""
        return [turn.text.replace(PLACE, "").strip() for turn in self.turns if turn.role == ASSISTANT]

    def require_places(self) -> None:
        """Raise EntryError unless the turns hold as many '<image>' as the conversation has images."""
        places = sum(turn.text.count(PLACE) for turn in self.turns)
        if places != len(self.images):
            raise _malformed(f"it names {len(self.images)} images, and its turns hold '{PLACE}' {places} times")


def read_items(file: Path, key: str) -> list[Numbered]:
    """The items of a json list, or of lines of json (whatever the file's name ends in), as they are in the file.

    A broken line becomes an EntryError among the items. `key` is the setting that names the file, for errors.

    Raises VlmatchError if the file can't be read, or is neither a json list nor lines of json.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise VlmatchError(f"{key}={file} can't be read ({error.strerror}); give the path of LLaVA's json") from error
    try:
        text = content.decode(json.detect_encoding(content))
    except UnicodeError as error:
        raise VlmatchError(f"{key}={file} is not valid UTF-8 ({error}); save it as UTF-8") from error
    if file.suffix == ".jsonl" and not text.lstrip().startswith("["):
        return _lines(text)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        if _starts_with_an_object(text):
            return _lines(text)
        raise VlmatchError(
            f"{key}={file} is not JSON ({error}); give LLaVA's json: a list, or one object a line"
        ) from error
    if not isinstance(found, list):
        raise VlmatchError(f"{key}={file} is not a JSON list of conversations; give LLaVA's json")
    return list(enumerate(found))


def conversation_of(number: int, item: Any) -> Conversation:
    """One item of the file, with the names of roles unified.

    Takes LLaVA's {image, conversations: [{from, value}]} and ShareGPT's {images, messages: [{role, content}]}; `image`
    and `images` hold a path or a list of paths, or are absent.

    Raises EntryError if something is missing in the item or has the wrong type.
    """
    images = images_of(item)
    said = item.get("conversations") or item.get("messages")
    if not isinstance(said, list):
        raise _malformed("the conversation is empty" if not said else f"the conversation is {_kind(said)}, not a list")
    identifier = item.get("id")
    turns = tuple(_turn(place, each) for place, each in enumerate(said, start=1))
    return Conversation(number, str(number if identifier is None else identifier), turns, images)


def images_of(item: Any) -> tuple[str, ...]:
    """The paths of an item's images, of `image` or `images`. Raises EntryError if these hold anything else."""
    if isinstance(item, EntryError):
        raise item
    if not isinstance(item, Mapping):
        raise _malformed(f"it is {_kind(item)}; wanted a JSON object with 'image' and 'conversations'")
    key = "image" if item.get("image") else "images"
    given = item.get(key)
    found = [given] if isinstance(given, str) and given else given or []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise _malformed(f"{key}={given!r}; wanted a path, or a list of paths")
    for each in found:
        _require_unicode(f"{key}={each!a}", each)
    return tuple(found)


def image_path(folder: Path, image: str, key: str) -> Path:
    """The path of an image within `folder`, which the setting `key` names; links inside the folder are followed.

    Raises ImageError if the path is absolute or has '..' in it: a json may come from a stranger.
    """
    path = PurePosixPath(image.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise ImageError(
            f"image '{image}' lies outside of {key}={folder}",
            "outside of the images' folder",
            "give a path that starts from that folder",
        )
    return folder / image


def fingerprint_of(conversations: Iterable[Conversation]) -> str:
    """SHA-256 over what is said and the images' paths; the content of the images does not count."""
    digest = hashlib.sha256()
    for each in conversations:
        said = [[turn.role, turn.text] for turn in each.turns]
        digest.update(json.dumps([each.number, said, each.images]).encode())
    return digest.hexdigest()


def _turn(place: int, item: Any) -> Turn:
    said = item if isinstance(item, Mapping) else {}
    role, text = said.get("from", said.get("role")), _joined(said.get("value", said.get("content")))
    if not isinstance(role, str) or role not in ROLES or not isinstance(text, str):
        raise _malformed(
            f"turn {place} is from {role!r}, and its text is {_kind(text)}; wanted from one of "
            f"{', '.join(ROLES)}, and a text"
        )
    _require_unicode(f"turn {place}", text)
    return Turn(ROLES[role], text)


def _joined(text: Any) -> Any:
    """The text of a turn. Chat formats also give a list of parts, {type: text, text: ...} or {type: image}."""
    if not isinstance(text, list) or not all(isinstance(part, Mapping) for part in text):
        return text
    parts = [PLACE if part.get("type") == "image" else part.get("text") for part in text]
    return "".join(parts) if all(isinstance(part, str) for part in parts) else text


def _require_unicode(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise EntryError(
            f"{what} holds half a character ({text[error.start]!a}), which is not valid Unicode",
            "not valid Unicode",
        ) from error


def _lines(text: str) -> list[Numbered]:
    return [(number, _parsed(line, number)) for number, line in enumerate(_LINES.split(text)) if line.strip()]


def _parsed(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return _malformed(f"line {number + 1} is not JSON ({error})")


def _starts_with_an_object(text: str) -> bool:
    """Whether the first line that is not empty is a whole JSON object."""
    first = next((line for line in _LINES.split(text) if line.strip()), "")
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _kind(value: Any) -> str:
    return "null" if value is None else f"of type {type(value).__name__}"


def _malformed(message: str) -> EntryError:
    return EntryError(message, "malformed")
