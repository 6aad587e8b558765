"""What is known of an encoder beside its scores: size class, how it was pretrained, and its published VLM results."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from vlmatch.embeddings.header import Header
from vlmatch.encoders.catalogue import catalogue
from vlmatch.evidence.published import published_ranks

LARGE = 500_000_000  # parameters; the paper's border between its small and large encoders


@dataclass(frozen=True)
class SizeClasses:
    """The border between small and large encoders, in parameters of the vision side, and whose border it is."""

    border: float
    whose: str

    @classmethod
    def of(cls, encoders: Sequence[Header]) -> "SizeClasses":
        """The paper's border where an encoder of the pool reaches it, else the median of the pool without controls."""
        sizes = [header.n_parameters for header in encoders if not header.control]
        if not sizes or max(sizes) >= LARGE:
            return cls(LARGE, "the paper's border")
        return cls(median(sizes), "the pool's median")

    def name(self, header: Header) -> str:
        """'small' or 'large'; '' for a control."""
        return "" if header.control else "large" if header.n_parameters >= self.border else "small"

    def __str__(self) -> str:
        return f"large from {self.border / 1e6:,.1f}M parameters ({self.whose})"


def pretraining(encoder: str) -> str:
    """How the catalogue says an encoder was pretrained; '' if unlisted."""
    entry = catalogue().get(encoder)
    return "" if entry is None or entry.pretraining == "none" else entry.pretraining


def trained_here(encoder: str) -> bool:
    """Whether this project trained the encoder, on pictures like the probe's: that alone may favour it."""
    entry = catalogue().get(encoder)
    return entry is not None and entry.trained_on_domain


def published(encoder: str) -> list[str]:
    """What the tables in truth/ say of VLMs trained with this encoder, one line a table and recipe."""
    return [str(rank) for rank in published_ranks(encoder)]
