"""A section of the findings: how many trainings are finished, its answer, and its tables with introductions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vlmatch_study.blocks.block import Block, progress


@dataclass(frozen=True)
class Part:
    """A table or a few sentences, below a sentence that says what is shown.

    text: empty as long as there is nothing to show.
    """

    text: str
    above: str = ""


@dataclass(frozen=True)
class Section:
    """What a section says: its answer, then its parts, the main table first."""

    answer: str
    parts: Sequence[Part] = field(default=())

    @property
    def text(self) -> str:
        """The answer and the parts as paragraphs; parts without anything to show are left out."""
        found = (each for part in self.parts if part.text for each in (part.above, part.text))
        return "\n\n".join(each for each in (self.answer, *found) if each)


Made = Callable[[Sequence[Block]], Section]
"""Makes a section from its blocks."""


def of_blocks(blocks: Sequence[Block], made: Made) -> Section:
    """The section of some blocks; one line as long as none of their trainings is finished."""
    if not any(block.results for block in blocks):
        return Section(progress(blocks))
    section = made(blocks)
    return Section(f"{progress(blocks)} {section.answer}", section.parts)
