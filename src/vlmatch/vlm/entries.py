"""The entries of a json in LLaVA's format: read whole, and each checked for what it must hold."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.vlm.conversations import ASSISTANT, SYSTEM, USER, Turn
from vlmatch.vlm.tokens import PLACE

ROLES = {"human": USER, "user": USER, "gpt": ASSISTANT, "assistant": ASSISTANT, "system": SYSTEM}

Numbered = tuple[int, Any]
"""An item of the file, and its place there."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One conversation: its place in the file, what is said, and its pictures' paths within the folder."""

    number: int
    turns: tuple[Turn, ...]
    images: tuple[str, ...]


def read_items(file: Path) -> list[Numbered]:
    """The items of a json list, or the lines of a .jsonl, as they are; VlmatchError if it is no such file."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise VlmatchError(f"data.path={file} can't be read ({error.strerror}); give LLaVA's json") from error
    if file.suffix == ".jsonl":
        return [
            (number, _parsed(file, line, number)) for number, line in enumerate(content.splitlines()) if line.strip()
        ]
    found = _parsed(file, content, None)
    if not isinstance(found, list):
        raise VlmatchError(f"data.path={file} is no JSON list of conversations; give LLaVA's json")
    return list(enumerate(found))


def chosen(items: Sequence[Numbered], limit: int | None, sample: int | None, seed: int) -> list[Numbered]:
    """All items, the first `limit`, or `sample` of them by lot; a larger sample holds the smaller one."""
    if sample is None:
        return list(items[:limit])
    drawn = sorted(items, key=lambda item: hashlib.sha256(f"{seed} {item[0]}".encode()).digest())[:sample]
    return sorted(drawn, key=lambda item: item[0])


def entry_of(number: int, item: Any) -> Entry:
    """One item of the file as an entry, its roles named alike; VlmatchError if something is missing in it."""
    if not isinstance(item, dict):
        raise VlmatchError("it is no JSON object with 'conversations'")
    image = item.get("image")
    images = [image] if isinstance(image, str) else image or []
    if not isinstance(images, list) or not all(isinstance(each, str) for each in images):
        raise VlmatchError(f"image={image!r}; wanted a path, or a list of paths")
    said = item.get("conversations", item.get("messages"))
    if not isinstance(said, list) or not said:
        raise VlmatchError("the conversation is empty")
    entry = Entry(number, tuple(_turn(each) for each in said), tuple(images))
    places = sum(turn.text.count(PLACE) for turn in entry.turns)
    if places != len(images):
        raise VlmatchError(f"it names {len(images)} images, and has {places} times '{PLACE}' in its turns")
    return entry


def fingerprint_of(entries: Iterable[Entry]) -> str:
    """SHA-256 over what is said and the pictures' paths; what is in the pictures is not looked at."""
    digest = hashlib.sha256()
    for entry in entries:
        said = [[turn.role, turn.text] for turn in entry.turns]
        digest.update(json.dumps([entry.number, said, entry.images]).encode())
    return digest.hexdigest()


def _turn(item: Any) -> Turn:
    said = item if isinstance(item, dict) else {}
    role, text = said.get("from", said.get("role")), said.get("value", said.get("content"))
    if not isinstance(role, str) or role not in ROLES or not isinstance(text, str):
        raise VlmatchError(
            f"a turn is from {role!r} and holds {type(text).__name__}; wanted one of {', '.join(ROLES)}, and a text"
        )
    return Turn(ROLES[role], text)


def _parsed(file: Path, content: bytes, line: int | None) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        where = f"data.path={file}" if line is None else f"data.path={file}: line {line + 1}"
        raise VlmatchError(f"{where} is no JSON ({error}); give LLaVA's json, or lines of it as .jsonl") from error
