"""The limit of tokens per caption: a longer caption loses its end, and the cut captions are counted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Truncation:
    """How many of `of` captions are cut to `limit` tokens, and how many tokens the longest caption has."""

    captions: int
    of: int
    longest: int
    limit: int

    @classmethod
    def to(cls, limit: int, n_tokens: Sequence[int]) -> "Truncation":
        """The effect of `limit` on captions with these numbers of tokens, each in its template."""
        return cls(sum(n > limit for n in n_tokens), len(n_tokens), max(n_tokens), limit)

    def line(self, name: str) -> str:
        """How many captions were cut, for the reader."""
        return (
            f"llm '{name}': {self.captions} of {self.of} captions are cut to {self.limit} tokens (the longest has "
            f"{self.longest:,}); llm.max_tokens=NUMBER reads more"
        )

    def plain(self) -> dict[str, int]:
        """The numbers that are stored with the embeddings."""
        return {"truncated_captions": self.captions, "longest_caption_tokens": self.longest}


def longest_start(text: str, fits: Callable[[str], bool]) -> str:
    """The longest start of `text` that fits; `fits` must hold for the empty text.

    It is found by doubling and then by bisection, so that `fits` reads little more of a very long text than what fits.
    """
    if fits(text):
        return text
    fitting, length = 0, 1
    while fits(text[:length]):
        fitting, length = length, min(2 * length, len(text))
    while length - fitting > 1:
        middle = (fitting + length) // 2
        if fits(text[:middle]):
            fitting = middle
        else:
            length = middle
    return text[:fitting]
