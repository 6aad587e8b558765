"""The catalogue of encoders: family, pretraining, size, cost, accuracy and licence of each yaml, with their sources."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from vlmatch.errors import VlmatchError
from vlmatch.packages.licences import Licence, Terms

FILE = Path(__file__).with_name("catalogue.csv")
COMMERCIAL_USE = ("yes", "no", "unclear")
SAME_SIZE = 0.02  # an entry describes a model of its name if their numbers of parameters differ by at most this share
_OF_LAYER = re.compile(r".+_layer(\d+)")


@dataclass(frozen=True)
class CatalogueEntry:
    """One encoder as the catalogue describes it; None means not known, or without a source.

    name: the name of its yaml. family: the models of one paper. pretraining: 'contrastive', 'self-supervised',
    'supervised', 'segmentation', ... or 'none'. language_supervised: whether it was trained with text. data: what it
    was trained on. image_parameters: those of the vision side, up to the feature. total_parameters: with text tower or
    classifier. gflops: multiplications and additions, in 1e9, for one image through the vision side. resolution: the
    side of its square input, in pixels. visual_tokens: how many a VLM's projector is fed. zero_shot_imagenet: percent.
    commercial_use: whether the weights' licence allows it, 'yes', 'no' or 'unclear'. trained_on_domain: whether this
    project trained it on its own split.
    """

    name: str
    family: str
    pretraining: str
    language_supervised: bool
    data: str
    image_parameters: int
    total_parameters: int | None
    gflops: float | None
    resolution: int
    visual_tokens: int
    zero_shot_imagenet: float | None
    licence: str
    commercial_use: str
    trained_on_domain: bool
    source_parameters: str
    source_gflops: str | None
    source_zero_shot: str | None
    source_licence: str | None

    @property
    def layer(self) -> int | None:
        """The layer that its yaml chooses, read from the end of its name ('_layer9'); None if it chooses none."""
        found = _OF_LAYER.fullmatch(self.name)
        return None if found is None else int(found[1])

    @property
    def terms(self) -> Terms:
        """The licence of the weights, and whether it allows commercial use."""
        return Terms(Licence(self.licence, self.source_licence or "", "catalogue"), self.commercial_use)


@cache
def catalogue() -> Mapping[str, CatalogueEntry]:
    """Every encoder's entry by the name of its yaml."""
    return read(FILE)


def entry_of(name: str, n_parameters: int | None) -> CatalogueEntry | None:
    """The entry of the encoder with this name; None if there is none, or if the model has another size.

    A model of another size is another model that happens to have the same name. n_parameters: of the vision side; None
    if it is not known: the name alone then decides.
    """
    entry = catalogue().get(name)
    if entry is None or n_parameters is None:
        return entry
    return entry if abs(n_parameters - entry.image_parameters) <= SAME_SIZE * entry.image_parameters else None


def read(path: Path) -> Mapping[str, CatalogueEntry]:
    """The entries of a catalogue's CSV by name; VlmatchError names the row and the column with an error."""
    entries: dict[str, CatalogueEntry] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            entry = _entry(path, row)
            if entry.name in entries:
                raise VlmatchError(f"catalogue '{path}': '{entry.name}' has two rows; remove one")
            entries[entry.name] = entry
    return MappingProxyType(entries)


def _entry(path: Path, row: Mapping[str, str]) -> CatalogueEntry:
    """One row with its columns' types; an empty cell is None, if the column allows that."""
    values: dict[str, str | int | float | bool | None] = {}
    for column, kind in CatalogueEntry.__annotations__.items():
        cell = row.get(column)
        try:
            values[column] = _value(cell, kind)
        except (ValueError, KeyError) as error:
            raise VlmatchError(
                f"catalogue '{path}': row '{row.get('name')}' has {column}='{cell}'; wanted {_words(kind)}"
            ) from error
    if values["commercial_use"] not in COMMERCIAL_USE:
        raise VlmatchError(
            f"catalogue '{path}': row '{row['name']}' has commercial_use='{row['commercial_use']}'; "
            f"wanted one of {', '.join(COMMERCIAL_USE)}"
        )
    return CatalogueEntry(**values)  # type: ignore[arg-type] # each value has been read by its column's own type


def _value(cell: str | None, kind: object) -> str | int | float | bool | None:
    """A cell as its column's type; ValueError or KeyError if it can't be read as that."""
    if not cell:
        if kind in (str, int, bool):
            raise ValueError(cell)
        return None
    if kind is bool:
        return {"true": True, "false": False}[cell]
    if kind in (int, int | None):
        return int(cell)
    return float(cell) if kind == float | None else cell


def _words(kind: object) -> str:
    """A column's type in words."""
    if kind is bool:
        return "true or false"
    if kind is str:
        return "some text"
    return "a whole number" if kind is int else "a number or nothing"
