"""The ledger of a search: one JSON file with the candidates, every finished part, and the runs in MLflow."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from vlmatch.errors import VlmatchError, one_line, shown
from vlmatch.files import write_text
from vlmatch.search.halving import Part

FILE = "ledger.json"


@dataclass(frozen=True)
class Ledger:
    """The state of a search.

    about: the settings that identify the search. candidates: all encoders that could race, the most promising first.
    arms: those that race. parts: the finished parts, oldest first. tracked: the id of each encoder's run in MLflow; ''
    stands for the run of the whole search.
    """

    about: Mapping[str, Any]
    candidates: tuple[str, ...]
    arms: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    tracked: Mapping[str, str] = field(default_factory=dict)
    format: Literal[1] = 1

    def with_part(self, part: Part) -> "Ledger":
        """The ledger with one more part."""
        return replace(self, parts=(*self.parts, part))

    def without_failures(self) -> "Ledger":
        """The ledger without the parts that failed, so that they are tried again."""
        return replace(self, parts=tuple(part for part in self.parts if part.value is not None))

    def with_run(self, encoder: str, run_id: str) -> "Ledger":
        """The ledger with the id of an encoder's run in MLflow."""
        return replace(self, tracked={**self.tracked, encoder: run_id})

    def of(self, encoder: str) -> list[Part]:
        """The parts of one encoder, oldest first."""
        return [part for part in self.parts if part.encoder == encoder]

    @property
    def failures(self) -> list[Part]:
        """The parts that failed."""
        return [part for part in self.parts if part.value is None]

    def write(self, folder: Path) -> None:
        """Write the ledger into the search's folder, atomically."""
        write_text(folder / FILE, json.dumps(asdict(self), indent=1))


def read(folder: Path) -> Ledger | None:
    """The ledger in a search's folder; None if the search has not begun.

    Raises VlmatchError if the ledger is damaged or has a later format.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return TypeAdapter(Ledger).validate_json(path.read_bytes())
    except ValidationError as error:
        problems = error.errors()
        if formats := [problem["input"] for problem in problems if problem["loc"] == ("format",)]:
            raise VlmatchError(
                f"'{path}' has format={shown(formats[0])}, but this version of vlmatch reads format 1; use the version "
                "that wrote it, or remove the file to begin the search anew"
            ) from error
        why = one_line(problems[0]["msg"])
        raise VlmatchError(f"'{path}' is damaged: {why}; restore it, or remove it to begin the search anew") from error


def folder_of(root: Path, about: Mapping[str, Any], title: str) -> Path:
    """The folder of the search that `about` identifies: its title and the start of the SHA-256 of `about`."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return root / f"{title}-{digest[:8]}"
