"""The interface of the split's sources, and the candidates that they offer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Candidate:
    """An image that the split may use.

    caption: a bare lower-case phrase. guess: whether it comes from a file's name instead of a title.
    code_point: an emoji's, in hexadecimal, without skin tone and variation selectors. keywords: words of its metadata.
    """

    id: str
    image: Path
    caption: str
    category: str | None = None
    code_point: str | None = None
    keywords: str = ""
    guess: bool = False


class Source(Protocol):
    """A set of captioned images that comes in one or two packages."""

    @property
    def name(self) -> str:
        """The name that the split's items carry."""

    @property
    def kind(self) -> str:
        """'clipart' or 'emoji': it decides which shares the source is divided into."""

    @property
    def path(self) -> str:
        """The folder that holds the source once it is fetched."""

    def fill(self, folder: Path, staging: Path) -> None:
        """Write the source into the empty `folder`, the same bytes each time; downloads go below `staging`."""

    def candidates(self) -> list[Candidate]:
        """The images that may be used, sorted by id. Raises NotHereError if the source has not been fetched."""
