"""What is known about an encoder besides its scores: size class, pretraining, and published results."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from vlmatch.embeddings.header import Header
from vlmatch.evidence.published import published_ranks
from vlmatch.scores.rows import Row

LARGE = 500_000_000  # parameters; the paper's border between small and large encoders


@dataclass(frozen=True)
class SizeClasses:
    """The border between small and large encoders in parameters, and where it comes from."""

    border: float
    whose: str

    @classmethod
    def of(cls, encoders: Sequence[Header]) -> "SizeClasses":
        """The paper's border if an encoder of the pool reaches it, else the median of the pool without controls."""
        sizes = [header.n_parameters for header in encoders if header.n_parameters is not None and not header.control]
        if not sizes or max(sizes) >= LARGE:
            return cls(LARGE, "the paper's border")
        return cls(median(sizes), "the pool's median")

    def name(self, header: Header) -> str:
        """'small' or 'large'; '' for a control, and where the size is not known."""
        if header.control or header.n_parameters is None:
            return ""
        return "large" if header.n_parameters >= self.border else "small"

    def __str__(self) -> str:
        return f"large from {self.border / 1e6:,.1f}M parameters ({self.whose})"


def pretraining(header: Header) -> str:
    """How an encoder was pretrained, according to the catalogue; '' if it is not listed."""
    entry = header.entry
    return "" if entry is None or entry.pretraining == "none" else entry.pretraining


def trained_here(header: Header) -> bool:
    """Whether this project trained the encoder on pictures like the probe's, which may favour it."""
    return header.entry is not None and header.entry.trained_on_domain


def published(encoder: str) -> list[str]:
    """The published ranks of an encoder in words, one line for each table and recipe."""
    return [str(rank) for rank in published_ranks(encoder)]


def left_out(rows: Sequence[Row]) -> list[str]:
    """One line for each missing score and reason; it names the encoders unless all of them lack the score."""
    encoders = list(dict.fromkeys(row.encoder for row in rows))
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for name, left in row.left_out.items():
            found.setdefault((name, left.reason), []).append(row.encoder)
    lines = []
    for (name, reason), whose_row in found.items():
        lacking = list(dict.fromkeys(whose_row))
        whose = "" if len(lacking) == len(encoders) else f" ({', '.join(lacking)})"
        lines.append(f"the score {name} is left out: {reason}{whose}")
    return lines
