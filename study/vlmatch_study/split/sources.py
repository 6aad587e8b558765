"""What every source of the split gives: candidates with a caption, and captions brought into one form."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


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
