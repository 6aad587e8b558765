"""Image-caption pairs from LLaVA's training format: one of a conversation's answers is the caption."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.objects import buildable
from vlmatch.probes.llava_format import Conversation, conversation_of, images_of, read_items
from vlmatch.probes.pairs import ProbeEntry, ProbeSet
from vlmatch.probes.places import image_of
from vlmatch.probes.problems import EntryError
from vlmatch.probes.selection import ProbeOptions, build_probe_set

LONGEST = "longest"


@buildable
def llava(
    path: str | Path,
    images: str | Path | None = None,
    name: str = "llava",
    *,
    turn: int | str = 1,
    images_outside: bool = False,
    **options: Any,
) -> ProbeSet:
    """Read the pairs of a json in LLaVA's format (Liu et al., 2023), in its order.

    The file is a json list, or has one object per line: {id, image, conversations: [{from, value}, ...]}, as in LLaVA's
    LCS-558K, CC3M-595K and the mixture of 665K, or ShareGPT's {images, messages: [{role, content}, ...]}. The caption
    is answer number `turn` (from 1), or the 'longest' answer in words: the first answers of the 665K are often one
    word. Image paths start from `images`, a folder or a .zip, by default the json's folder. A path that
    leads out of it is bad unless `images_outside` is true.

    Conversations with no image, several images, or fewer answers than `turn` are not pairs: they are skipped and
    counted. Repeated ids, as the 665K has, become ID#2, ID#3, ...; `options` are those of `selection.ProbeOptions`.

    Raises VlmatchError naming the first malformed entry, or as `selection.build_probe_set` does.
    """
    if turn != LONGEST and not (type(turn) is int and turn >= 1):
        raise VlmatchError(f"probe '{name}': probe.turn={turn!r}; wanted 1 for the first answer, 2, ..., or {LONGEST}")
    file = Path(path).expanduser()
    folder = file.parent if images is None else Path(images).expanduser()
    conversations = _Conversations(file, folder, turn, images_outside)
    return build_probe_set(
        name, conversations, ProbeOptions(**options), source=file.name, skipped=lambda: conversations.skipped
    )


class _Conversations:
    """The entries of the file that are pairs, and the number of the others so far, by reason."""

    def __init__(self, file: Path, folder: Path, turn: int | str, outside: bool) -> None:
        self.folder = folder
        self.outside = outside
        self.turn = turn
        self.items = read_items(file, "probe.path")
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[ProbeEntry]:
        times: Counter[str] = Counter()
        for number, item in self.items:
            where = f"entry {number}"
            try:
                if not self._has_one_image(item):
                    continue
                conversation = conversation_of(number, item)
                caption = self._caption(conversation)
                if caption is None:
                    continue
                image = image_of(self.folder, conversation.images[0], "probe.images", outside=self.outside)
            except EntryError as problem:
                yield ProbeEntry.unusable(where, problem)
                continue
            times[conversation.id] += 1
            repeated = f"#{times[conversation.id]}" if times[conversation.id] > 1 else ""
            yield ProbeEntry(f"{conversation.id}{repeated}", image, caption, where=where)

    def _has_one_image(self, item: Any) -> bool:
        """Whether an item has exactly one image; counts it if not."""
        images = images_of(item)
        if len(images) != 1:
            self.skipped["with several images" if images else "without an image"] += 1
        return len(images) == 1

    def _caption(self, conversation: Conversation) -> str | None:
        """The answer that `turn` chooses; None if there are fewer answers, which is counted."""
        answers = conversation.answers
        if not answers:
            raise EntryError("its conversation has no answer by 'gpt' or 'assistant'", "without an answer")
        if isinstance(self.turn, str):
            return max(answers, key=lambda text: len(text.split()))
        if self.turn > len(answers):
            self.skipped[f"without an answer {self.turn}"] += 1
            return None
        return answers[self.turn - 1]
