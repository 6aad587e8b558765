"""LLaVA's data format, for probes and for training: conversations about images, as a JSON list or JSON lines."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError, enumerated
from vlmatch.files import require_regular
from vlmatch.probes.json_items import NumberedItem, json_items
from vlmatch.probes.problems import EntryError
from vlmatch.probes.text import decoded, require_unicode

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
ROLES = {"human": USER, "user": USER, "gpt": ASSISTANT, "assistant": ASSISTANT, "model": ASSISTANT, "system": SYSTEM}
PLACE = "<image>"
"""Where an image goes in the text of a turn."""

LINES = (".jsonl", ".ndjson")
"""The endings of files with one object per line."""

_SAID = ("conversations", "messages")  # keys of the turns
_PATHS = ("path", "url", "image", "image_url")  # keys of an object that names an image


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


def read_items(file: Path, key: str) -> list[NumberedItem]:
    """The items of a json list, or of lines of json (whatever the file's name ends in), as they are in the file.

    A broken line becomes an EntryError among the items. `key` is the setting that names the file, for errors.

    Raises VlmatchError if the file can't be read, or is neither a json list nor lines of json.
    """
    try:
        require_regular(file)
        return json_items(decoded(file.read_bytes()), lines=file.suffix.lower() in LINES)
    except UnicodeError as error:
        raise VlmatchError(f"{key}={file} is not valid Unicode ({error}); save it as UTF-8") from error
    except EntryError as error:
        raise VlmatchError(
            f"{key}={file} {error.problem.removeprefix('it ')}; give LLaVA's json: a list, or one object a line"
        ) from error
    except (OSError, ValueError) as error:  # a ValueError is a path that no file can have
        why = getattr(error, "strerror", None) or error
        raise VlmatchError(f"{key}={file} can't be read ({why}); give the path of LLaVA's json") from error


def conversation_of(number: int, item: Any) -> Conversation:
    """One item of the file, with the names of roles unified.

    Takes LLaVA's {image, conversations: [{from, value}]} and ShareGPT's {images, messages: [{role, content}]}; for the
    images see `images_of`.

    Raises EntryError if something is missing in the item, has the wrong type, or appears twice with other values.
    """
    images = images_of(item)
    said = _only(item, *_SAID)
    if not any(key in item for key in _SAID):
        raise _malformed(f"it has neither {' nor '.join(map(repr, _SAID))}, but {enumerated(list(item))}")
    if not isinstance(said, list):
        raise _malformed("the conversation is empty" if not said else f"the conversation is {_kind(said)}, not a list")
    identifier = item.get("id")
    turns = tuple(_turn(place, each) for place, each in enumerate(said, start=1))
    return Conversation(number, str(number if identifier is None else identifier), turns, images)


def images_of(item: Any) -> tuple[str, ...]:
    """The paths of an item's images: from `image` or `images` or, without these, from the parts of its turns.

    `image` and `images` hold a path or a list of paths; a path may stand in an object, as {path: ...} or {url: ...}.
    Raises EntryError if they hold anything else.
    """
    if isinstance(item, EntryError):
        raise item
    if not isinstance(item, Mapping):
        raise _malformed(f"it is {_kind(item)}; wanted a JSON object with 'image' and 'conversations'")
    given = _only(item, "image", "images") or list(_images_in_turns(item))
    found = [_path(each) for each in (given if isinstance(given, list) else [given])]
    if not all(isinstance(each, str) and each for each in found):
        key = "image" if item.get("image") else "images"
        raise _malformed(f"{key}={given!r}; wanted a path, or a list of paths")
    for each in found:
        require_unicode(f"image={each!a}", each)
    return tuple(found)


def fingerprint_of(conversations: Iterable[Conversation]) -> str:
    """SHA-256 over what is said and the images' paths; the content of the images does not count."""
    digest = hashlib.sha256()
    for each in conversations:
        said = [[turn.role, turn.text] for turn in each.turns]
        digest.update(json.dumps([each.number, said, each.images]).encode())
    return digest.hexdigest()


def _only(item: Mapping[str, Any], *keys: str) -> Any:
    """The value under one of several keys that mean the same; None if there is none.

    Raises EntryError if two of the keys have different values.
    """
    filled = {key: value for key in keys if (value := item.get(key))}
    values = [value if isinstance(value, list) else [value] for value in filled.values()]
    if any(value != values[0] for value in values):
        raise _malformed(f"it has both {' and '.join(map(repr, filled))}, and they differ")
    return next(iter(filled.values()), None)


def _images_in_turns(item: Mapping[str, Any]) -> Iterator[Any]:
    """The images that the parts of turns name."""
    said = _only(item, *_SAID)
    for turn in said if isinstance(said, list) else []:
        text = turn.get("value", turn.get("content")) if isinstance(turn, Mapping) else None
        for part in text if isinstance(text, list) else []:
            if _is_image(part) and _path(part) is not part:
                yield part


def _path(image: Any) -> Any:
    """The path in an object that names an image; anything else as it is."""
    if not isinstance(image, Mapping):
        return image
    return next((_path(value) for key in _PATHS if (value := image.get(key))), image)


def _is_image(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") in ("image", "image_url")


def _turn(place: int, item: Any) -> Turn:
    said = item if isinstance(item, Mapping) else {}
    role, text = said.get("from", said.get("role")), _joined(said.get("value", said.get("content")))
    if not isinstance(role, str) or role.lower() not in ROLES or not isinstance(text, str):
        raise _malformed(
            f"turn {place} is from {role!r}, and its text is {_kind(text)}; wanted from one of "
            f"{', '.join(ROLES)}, and a text"
        )
    require_unicode(f"turn {place}", text)
    return Turn(ROLES[role.lower()], text)


def _joined(text: Any) -> Any:
    """The text of a turn. Chat formats also give a list of parts, {type: text, text: ...} or {type: image}."""
    if not isinstance(text, list) or not all(isinstance(part, Mapping) for part in text):
        return text
    parts = [PLACE if _is_image(part) else part.get("text") for part in text]
    return "".join(parts) if all(isinstance(part, str) for part in parts) else text


def _kind(value: Any) -> str:
    return "null" if value is None else f"of type {type(value).__name__}"


def _malformed(message: str) -> EntryError:
    return EntryError(message, "malformed")
