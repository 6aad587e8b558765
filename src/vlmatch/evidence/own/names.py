"""What the names in a truth stand for: our encoders, or the encoder, LLM and seed of a VLM that a harness measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

from vlmatch.configs import mapped
from vlmatch.errors import VlmatchError
from vlmatch.evidence.own.tables import read_table
from vlmatch.evidence.published import FOLDER

if TYPE_CHECKING:
    import pandas as pd

KEY = "study.names"
THEIRS = "their_name"


@dataclass(frozen=True)
class Named:
    """What one name stands for; None where nothing is said."""

    encoder: str | None
    llm: str | None = None
    seed: str | None = None


@dataclass(frozen=True)
class Names:
    """What the user's names stand for; other names are looked up in the published tables that come with vlmatch."""

    given: Mapping[str, Named]

    @classmethod
    def of(cls, table: "Path | pd.DataFrame | None") -> Self:
        """Read a table of `their_name, encoder[, llm, seed]`; None: no names.

        A row without an encoder says that vlmatch has no such encoder; it is ignored.
        Raises VlmatchError if a name stands for two different things.
        """
        if table is None:
            return cls({})
        rows = read_table(KEY, table, (THEIRS, "encoder", "llm", "seed"))
        rows.require(THEIRS, "encoder")
        found: dict[str, Named] = {}
        for row in rows.rows:
            llm, seed = (row.cells.get(column) or None for column in ("llm", "seed"))
            named = Named(row.cells["encoder"] or None, llm, seed)
            name = row.cells[THEIRS]
            if found.setdefault(name, named) != named:
                raise VlmatchError(f"{KEY}={rows.name}: {row.where} gives '{name}' a second meaning; keep one")
        return cls({name: named for name, named in found.items() if named.encoder})

    def of_encoder(self, name: str) -> str:
        """The encoder that a name in a table stands for; the name itself if nothing says what it stands for."""
        named = self.given.get(name)
        return (named.encoder if named else None) or _published().get(name, name)

    def of_model(self, candidates: Sequence[str]) -> Named:
        """What the first known name of a VLM stands for; if none is known, the last is taken as the encoder's name."""
        return next((self.given[name] for name in candidates if name in self.given), Named(candidates[-1]))


@cache
def _published() -> dict[str, str]:
    """Our encoder by its name in a published table."""
    return {row[THEIRS]: row["encoder"] for row in mapped(FOLDER) if row["encoder"]}
