"""Text and pictures as token ids: a picture is a placeholder id, and only answers have labels."""

import re
from dataclasses import dataclass
from typing import Any

from vlmatch.probes.llava_format import PLACE

IMAGE = -200
"""The placeholder of one picture among token ids; the same number as in LLaVA."""
IGNORED = -100
"""The label of a token that the loss leaves out."""


@dataclass(frozen=True, slots=True)
class Tokenised:
    """One training sample.

    ids: token ids, with `IMAGE` where a picture goes. labels: at each place, the token id or `IGNORED`. Labels are not
    shifted: the model must predict the label at place i from the tokens before place i.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def images(self) -> int:
        """How many pictures the sample has."""
        return self.ids.count(IMAGE)

    def length(self, tokens_per_image: int) -> int:
        """The number of tokens if each picture takes `tokens_per_image`."""
        return len(self) + self.images * (tokens_per_image - 1)


def encode(tokenizer: Any, text: str, *, special: bool) -> list[int]:
    """Token ids of `text`; each '<image>' becomes `IMAGE`, and the texts before and after it are tokenised separately.

    special: put the tokenizer's beginning-of-sequence token, if it has one, in front.
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
    """A prompt followed by its answer; only the answer has labels."""
    return Tokenised((*prompt, *answer), (*(IGNORED for _ in prompt), *answer))


def expanded(sample: Tokenised, visual_tokens: int) -> Tokenised:
    """The sample with the placeholder of each picture repeated `visual_tokens` times."""
    times = [visual_tokens if i == IMAGE else 1 for i in sample.ids]
    return Tokenised(
        tuple(i for i, n in zip(sample.ids, times, strict=True) for _ in range(n)),
        tuple(label for label, n in zip(sample.labels, times, strict=True) for _ in range(n)),
    )
