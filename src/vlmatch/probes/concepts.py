"""The form in which two captions name the same thing, and the words of captions."""

import re
from collections.abc import Iterable

_APOSTROPHE = "\u2019"
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_ARTICLES = frozenset({"a", "an", "the"})


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
