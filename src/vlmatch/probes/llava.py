"""LLaVA's training format: a json list of conversations about images; one of the answers is the caption."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.objects import buildable
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.selection import Options, build

LONGEST = "longest"
ANSWERERS = ("gpt", "assistant")

_PLACEHOLDER = "<image>"  # where the image stands in a conversation


@buildable
def llava(
    path: str | Path, images: str | Path | None = None, name: str = "llava", *, turn: int | str = 1, **options: Any
) -> ProbeSet:
    """Read a json list of {id, image, conversations: [{from, value}, ...]}, in its order (Liu et al., 2023).

    So come LLaVA's LCS-558K, CC3M-595K and the mixture of 665K; ShareGPT's {messages: [{role, content}, ...]} is
    read too. The caption is the answer number `turn` (from 1, by 'gpt' or 'assistant'), or the 'longest' by words:
    the first answers of the 665K are often one word. `images` is the folder that the image paths start from, by
    default the json's own. Entries without an image, or with fewer answers than `turn`, are skipped and counted.
    Repeated ids, as the 665K has, become ID#2, ID#3, ...; `options` are those of `selection.Options`.

    Raises VlmatchError naming the entry that lacks something, or as `selection.build` does.
    """
    if turn != LONGEST and not (type(turn) is int and turn >= 1):
        raise VlmatchError(f"probe '{name}': probe.turn={turn!r}; wanted 1 for the first answer, 2, ..., or {LONGEST}")
    file = Path(path).expanduser()
    folder = file.parent if images is None else Path(images).expanduser()
    conversations = _Conversations(name, file, folder, turn)
    return build(name, conversations, Options(**options), source=file.name, skipped=lambda: conversations.skipped)


class _Conversations:
    """The entries of the file that have an image and the turn, and how many were passed over so far, by reason."""

    def __init__(self, name: str, file: Path, folder: Path, turn: int | str) -> None:
        self.name = name
        self.folder = folder
        self.turn = turn
        self.content = _content(name, file)
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[ProbeEntry]:
        times: Counter[str] = Counter()
        for number, item in enumerate(self.content):
            if not isinstance(item, dict):
                raise self._error(number, "is no JSON object with 'image' and 'conversations'; mend or remove it")
            image = item.get("image")
            if image is None:
                self.skipped["without an image"] += 1
                continue
            if not isinstance(image, str):
                raise self._error(number, f"has image={image!r}; wanted one path as a string")
            caption = self._caption(item, number)
            if caption is None:
                self.skipped[f"without an answer {self.turn}"] += 1
                continue
            identifier = str(item.get("id", number))
            times[identifier] += 1
            if times[identifier] > 1:
                identifier = f"{identifier}#{times[identifier]}"
            yield ProbeEntry(identifier, self.folder / image, caption, where=f"entry {number}")

    def _caption(self, item: Mapping[str, Any], number: int) -> str | None:
        """The answer asked for; None where there are fewer."""
        turns = item.get("conversations") or item.get("messages")
        answers = [self._answer(turn, number) for turn in turns] if isinstance(turns, list) else []
        texts = [text for text in answers if text is not None]
        if not texts:
            raise self._error(number, "has no turn from 'gpt' in its conversations; add one or remove it")
        if isinstance(self.turn, str):
            return max(texts, key=lambda text: len(text.split()))
        return texts[self.turn - 1] if self.turn <= len(texts) else None

    def _answer(self, turn: Any, number: int) -> str | None:
        """What the model says in a turn; None if the human has it."""
        if not isinstance(turn, dict):
            raise self._error(number, "has a turn that is no JSON object with 'from' and 'value'; mend or remove it")
        if turn.get("from", turn.get("role")) not in ANSWERERS:
            return None
        text = turn.get("value", turn.get("content"))
        if text is not None and not isinstance(text, str):
            raise self._error(number, f"has an answer that is no text but {type(text).__name__}; mend or remove it")
        return (text or "").replace(_PLACEHOLDER, "").strip()

    def _error(self, number: int, what: str) -> VlmatchError:
        return VlmatchError(f"probe '{self.name}': entry {number} {what}")


def _content(name: str, file: Path) -> list[Any]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise VlmatchError(
            f"probe '{name}': probe.path={file} can't be read ({error.strerror}); give the json"
        ) from error
    except ValueError as error:
        raise VlmatchError(f"probe '{name}': probe.path={file} is no JSON ({error}); give LLaVA's json") from error
    if not isinstance(content, list):
        raise VlmatchError(f"probe '{name}': probe.path={file} is no JSON list of conversations; give LLaVA's json")
    return content
