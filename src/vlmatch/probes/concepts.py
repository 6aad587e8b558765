"""Reduce captions to concepts, so that two captions of the same thing compare equal."""

import re
from collections.abc import Iterable

_APOSTROPHE = "\u2019"
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_ARTICLES = frozenset({"a", "an", "the"})


def phrase(text: str) -> str:
    """The text in lower case, as words of letters joined by single spaces, without digits and punctuation."""
    return " ".join(_WORD.findall(text.casefold().replace("_", " ").replace(_APOSTROPHE, "'")))


def concept(caption: str) -> str:
    """The thing that a caption names: its words without case, digits, punctuation, articles and plural s."""
    words = phrase(caption).replace("-", " ").split()
    return " ".join(_singular(word) for word in words if word not in _ARTICLES)


def words_of(captions: Iterable[str]) -> frozenset[str]:
    """All words of the captions, in the form that `concept` gives them."""
    return frozenset(word for caption in captions for word in concept(caption).split())


def _singular(word: str) -> str:
    word = word.removesuffix("'s")
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
