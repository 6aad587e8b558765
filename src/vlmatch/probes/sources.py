"""What every source of the split gives: candidates with a caption, and captions brought into one form."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_APOSTROPHE = "\u2019"
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True)
class Candidate:
    """An image that the split may use.

    `caption` is a bare lower-case phrase. A caption that comes from a file's name is only a `guess`. `code_point`
    is an emoji's, in hexadecimal, without skin tone and variation selectors.
    """

    id: str
    image: Path
    caption: str
    category: str | None = None
    code_point: str | None = None
    keywords: str = ""
    guess: bool = False


class Source(Protocol):
    """A set of images with captions that comes inside one or two packages."""

    @property
    def name(self) -> str:
        """The name that the split's items carry."""

    @property
    def kind(self) -> str:
        """Clip-art or emoji: which shares the source is divided into."""

    @property
    def path(self) -> str:
        """The folder that holds the source once it is fetched."""

    def fill(self, folder: Path, staging: Path) -> None:
        """Write the source into the empty `folder`, the same bytes each time; downloads go below `staging`."""

    def candidates(self) -> list[Candidate]:
        """The images that may be used, sorted by id; NotHereError where the source has not been fetched."""


def phrase(text: str) -> str:
    """A bare lower-case phrase: words of letters, joined by single spaces; digits and punctuation are gone."""
    return " ".join(_WORD.findall(text.casefold().replace("_", " ").replace(_APOSTROPHE, "'")))


def concept(caption: str) -> str:
    """The form in which two captions name the same thing: case, digits, punctuation, articles, plural s folded."""
    words = phrase(caption).replace("-", " ").split()
    return " ".join(_singular(word) for word in words if word not in _ARTICLES)


def words_of(captions: Iterable[str]) -> frozenset[str]:
    """The words of many captions, as `concept` has them."""
    return frozenset(word for caption in captions for word in concept(caption).split())


def _singular(word: str) -> str:
    word = word.removesuffix("'s")
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
