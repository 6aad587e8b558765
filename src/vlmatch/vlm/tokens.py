"""Text and pictures as token ids: a picture is a placeholder in them, and answers alone have labels."""

import re
from dataclasses import dataclass
from typing import Any

IMAGE = -200
"""The placeholder of one picture in token ids, as LLaVA has it."""
IGNORED = -100
"""The label of a token that no loss is taken of."""
PLACE = "<image>"


@dataclass(frozen=True, slots=True)
class Tokenised:
    """One training sample: ids with `IMAGE` where a picture goes, and labels of equal length, not shifted."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def images(self) -> int:
        """How many pictures it holds."""
        return self.ids.count(IMAGE)


def encode(tokenizer: Any, text: str, *, special: bool) -> list[int]:
    """Token ids of `text`; each '<image>' in it becomes `IMAGE`, the text on either side is tokenised by itself.

    special: whether the tokenizer's beginning-of-sequence token, if it has one, stands in front.
    """
    bos = tokenizer.bos_token_id
    ids = [bos] if special and bos is not None else []
    for part in re.split(f"({PLACE})", text):
        if part == PLACE:
            ids.append(IMAGE)
        elif part:
            ids += tokenizer(part, add_special_tokens=False)["input_ids"]
    return ids


def answered(prompt: list[int], answer: list[int]) -> Tokenised:
    """A prompt with its answer, which alone has labels."""
    return Tokenised((*prompt, *answer), (*(IGNORED for _ in prompt), *answer))


def expanded(sample: Tokenised, visual_tokens: int) -> Tokenised:
    """The sample with each picture's placeholder repeated, once for each of its visual tokens."""
    times = [visual_tokens if i == IMAGE else 1 for i in sample.ids]
    return Tokenised(
        tuple(i for i, n in zip(sample.ids, times, strict=True) for _ in range(n)),
        tuple(label for label, n in zip(sample.labels, times, strict=True) for _ in range(n)),
    )
