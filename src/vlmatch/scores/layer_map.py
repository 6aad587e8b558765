"""Every score at each layer and pooling of one encoder and one LLM, with and without centring; stored by cell."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vlmatch.embeddings.store import Embeddings
from vlmatch.errors import VlmatchError
from vlmatch.foreign import score_faults
from vlmatch.geometry import Geometry, Labels, PairedGeometry, known_labels
from vlmatch.scores.gw import GW
from vlmatch.scores.rows import inputs_of
from vlmatch.settings.buildable import ObjectSettings

CENTRING = {"none": (False, False), "images": (True, False), "captions": (False, True), "both": (True, True)}
"""For each word, whether the mean is subtracted from the image embeddings, and whether from the caption embeddings."""

KEPT_PAIRS = 1000  # up to this many pairs, the distances of all choices for captions stay in memory


class Values(NamedTuple):
    """What a score gives for a cell; without a value, `reason` says why.

    relative: of the paper's GW, its value in units of the root of the captions' median angle; None for other scores.
    """

    value: float | None
    relative: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Choice:
    """One way to embed the images or the captions.

    layer: counted from 1; None: the layer of the encoder's default feature. chosen: whether the settings of the encoder
    or LLM choose this way.
    """

    layer: int | None
    pooling: str
    embeddings: Embeddings
    chosen: bool = False

    @property
    def label(self) -> str:
        """Layer and pooling in words."""
        return self.pooling if self.layer is None else f"{self.layer} {self.pooling}"


@dataclass(frozen=True)
class Cell:
    """One score of a choice for the images and a choice for the captions.

    value: None if the score is not defined; `reason` then says why.
    """

    score: str
    image: Choice
    text: Choice
    centring: str
    value: float | None
    reason: str = ""

    @property
    def chosen(self) -> bool:
        """Whether this is the value that an ordinary ranking shows."""
        return self.image.chosen and self.text.chosen and self.centring == "none"

    @property
    def place(self) -> str:
        """Both choices and the centring, in words."""
        return f"encoder {self.image.label}, captions {self.text.label}, centring {self.centring}"


@dataclass(frozen=True)
class LayerMap:
    """All cells of one encoder and one LLM, and the titles of the scores by name."""

    encoder: str
    llm: str
    probe: str
    n_pairs: int
    titles: Mapping[str, str]
    cells: tuple[Cell, ...]

    def of(self, score: str) -> list[Cell]:
        """The cells of one score that have a value, the lowest first."""
        found = [cell for cell in self.cells if cell.score == score and cell.value is not None]
        return sorted(found, key=lambda cell: cell.value or 0.0)


class KeptCells:
    """Values of cells in a file of JSON lines: a killed run continues from it, and a repeated one computes nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Values] = {}
        stored = path.read_bytes() if path.is_file() else b""
        self._torn = not stored.endswith(b"\n") and stored != b""
        for line in stored.splitlines():
            try:
                kept = json.loads(line)
                if kept.pop("sha256") == _checksum(kept):
                    cell = kept.pop("cell")
                    self._known[cell] = Values(**kept)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # torn by a kill, damaged, edited or of an older version: the cell is computed again

    def get(self, key: str) -> Values | None:
        """The values of a cell; None if the cell is not stored."""
        return self._known.get(key)

    def put(self, key: str, values: Values) -> None:
        """Store the values of a cell."""
        self._known[key] = values
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = {"cell": key, **values._asdict()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" * self._torn + json.dumps({**line, "sha256": _checksum(line)}) + "\n")
        self._torn = False


def _checksum(line: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(line, sort_keys=True).encode()).hexdigest()


def shown(name: str, score: Any) -> dict[str, str]:
    """What a map shows of a score, name -> title: its value, and of the paper's GW also `Values.relative`.

    The unit of GW depends on the captions' distances, so only the relative value can be compared across layers of an
    LLM.
    """
    relative = {f"{name}_relative": f"{score.title} rel."} if _is_papers(score) else {}
    return {name: score.title, **relative}


def _is_papers(score: Any) -> bool:
    """Whether a score is the paper's GW, whatever its name; a class below it may have other captions' distances."""
    return type(score) is GW


def scored_cells(
    images: Sequence[Choice],
    captions: Sequence[Choice],
    centring: Iterable[str],
    scores: Mapping[str, ObjectSettings],
    kept: KeptCells,
    labels: Labels | None = None,
) -> Iterator[list[Cell]]:
    """Yield the cells of every score for each combination of choices and centring; stored cells are not computed again.

    images, captions: the choices of both sides, on the same pairs. centring: words of `CENTRING`. labels: of the pairs,
    in their order; None: not known.
    """
    built = {name: settings.build() for name, settings in scores.items()}
    words = list(centring)
    few = bool(captions) and len(captions[0].embeddings.array) <= KEPT_PAIRS
    texts = [_Side(text.embeddings, "text", kept=few) for text in captions]
    for image in images:
        side = _Side(image.embeddings, "image", kept=True)
        for text, other in zip(captions, texts, strict=True):
            for word in words:
                cells = []
                for name, score in built.items():
                    key = _key(side, other, word, score, scores[name], labels)
                    found = kept.get(key)
                    if found is None:
                        found = _computed(score, side, other, word, labels)
                        kept.put(key, found)
                    values = zip(shown(name, score), (found.value, found.relative), strict=False)
                    cells += [Cell(each, image, text, word, value, found.reason) for each, value in values]
                yield cells


class _Side:
    """Embeddings and their geometry, which is computed when it is needed. kept: whether it then stays in memory."""

    def __init__(self, embeddings: Embeddings, kind: str, *, kept: bool) -> None:
        self.embeddings, self.kind, self.kept = embeddings, kind, kept
        self._geometry: Geometry | None = None

    def geometry(self, *, centred: bool) -> Geometry:
        """The geometry of the embeddings. Raises VlmatchError if they have none, such as for an embedding of zeros."""
        geometry = self._geometry or Geometry.angular(self.embeddings.array, kind=self.kind)
        if self.kept:
            self._geometry = geometry
        return geometry.centred if centred else geometry


def _computed(score: Any, image: _Side, text: _Side, word: str, labels: Labels | None) -> Values:
    spec, known = image.embeddings.header.spec_sheet, known_labels(labels)
    try:
        with score_faults(score.title):
            reason = score.unknown(spec, labelled=known is not None)
        if reason is not None:
            return Values(None, reason=reason)
        x, y = (side.geometry(centred=centred) for side, centred in zip((image, text), CENTRING[word], strict=True))
        with score_faults(score.title):
            value = float(score.value(PairedGeometry(x, y, spec, known)))
    except VlmatchError as error:
        return Values(None, reason=str(error))
    return Values(value, value / math.sqrt(y.median) if _is_papers(score) else None)


def _key(image: _Side, text: _Side, word: str, score: Any, settings: ObjectSettings, labels: Labels | None) -> str:
    """A hash of all that a cell's value depends on; the spec sheet and the labels count only if the score uses them."""
    sides = [
        [side.embeddings.header.array_sha256, centred]
        for side, centred in zip((image, text), CENTRING[word], strict=True)
    ]
    inputs = inputs_of(image.embeddings.header.spec_sheet, labels)
    used = [value for word_of, value in inputs.items() if word_of in score.uses]
    text_of = json.dumps([sides, settings.plain(), score.version, *used], sort_keys=True)
    return hashlib.sha256(text_of.encode()).hexdigest()
