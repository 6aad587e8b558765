"""What is read from a file of truths: cells, and notes on what was left out."""

from dataclasses import dataclass

UNNAMED = "an LLM that is not named"


@dataclass(frozen=True)
class Cell:
    """One score; more is better. recipe: what else must be equal for two cells to be compared. where: file or line."""

    encoder: str
    llm: str
    benchmark: str
    seed: str
    recipe: str
    score: float
    where: str

    @property
    def run(self) -> tuple[str, ...]:
        """One training on one benchmark, which should have one score only."""
        return self.encoder, self.llm, self.benchmark, self.seed, self.recipe


@dataclass(frozen=True)
class Reading:
    """The cells of one source, and one line for each kind of entry that was left out."""

    source: str
    cells: tuple[Cell, ...]
    notes: tuple[str, ...]
