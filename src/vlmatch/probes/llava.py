"""LLaVA's training format: a json list of conversations about images; the first answer is the caption."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.probes.images import MAX_PIXELS
from vlmatch.probes.pairs import Entry, ProbeSet, build, with_digests


def llava(
    path: str | Path,
    images: str | Path | None = None,
    name: str = "llava",
    *,
    drop_duplicates: bool = True,
    limit: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> ProbeSet:
    """Read a json list of {id, image, conversations: [{from, value}, ...]}, in its order.

    The caption is the first turn from 'gpt'; the human's prompts are ignored. `images` is the folder that the
    image paths start from, by default the json's own. Entries without an image are skipped, and counted.

    Raises VlmatchError naming the entry that lacks something, or as `pairs.build` does.
    """
    file = Path(path).expanduser()
    folder = file.parent if images is None else Path(images).expanduser()
    conversations = _Conversations(name, file, folder)
    return build(
        name,
        with_digests(name, conversations),
        drop_duplicates=drop_duplicates,
        limit=limit,
        skipped=lambda: conversations.skipped,
        source=file.name,
        max_pixels=max_pixels,
    )


class _Conversations:
    """The entries of the file that have an image, and how many were passed over so far."""

    def __init__(self, name: str, file: Path, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.content = _content(name, file)
        self.skipped = 0

    def __iter__(self) -> Iterator[Entry]:
        for number, item in enumerate(self.content):
            image = self._field(item, "image", number)
            if image is None:
                self.skipped += 1
                continue
            if not isinstance(image, str):
                raise VlmatchError(f"probe '{self.name}': entry {number}: image={image!r}; wanted one path as a string")
            yield Entry(str(item.get("id", number)), self.folder / image, self._caption(item, number))

    def _caption(self, item: Any, number: int) -> str:
        turns = self._field(item, "conversations", number)
        for turn in turns if isinstance(turns, list) else []:
            if self._field(turn, "from", number) == "gpt":
                return str(self._field(turn, "value", number) or "").strip()
        raise VlmatchError(
            f"probe '{self.name}': entry {number} has no turn from 'gpt' in its conversations; add one or remove it"
        )

    def _field(self, item: Any, key: str, number: int) -> Any:
        if not isinstance(item, dict):
            raise VlmatchError(f"probe '{self.name}': entry {number} is no JSON object with '{key}'; mend or remove it")
        return item.get(key)


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
