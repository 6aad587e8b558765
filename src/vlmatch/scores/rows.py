"""The scores of one encoder and one LLM on one probe set, computed once and kept beside their embeddings."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from vlmatch.embeddings.header import Header
from vlmatch.embeddings.store import Embeddings, Store
from vlmatch.files import remembering, renamed
from vlmatch.geometry import PairedGeometry
from vlmatch.settings.buildable import ObjectSettings


@dataclass(frozen=True)
class Scored:
    """One score's value with what it takes to read it, and the settings that a value kept from before must match."""

    value: float
    details: Mapping[str, Any]
    title: str
    higher_is_better: bool
    uses_pairing: bool
    version: int
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One encoder against one LLM: where both embeddings came from, and every score."""

    image: Header
    text: Header
    scores: Mapping[str, Scored]

    @property
    def encoder(self) -> str:
        """The encoder's name."""
        return self.image.spec.model

    @property
    def llm(self) -> str:
        """The LLM's name."""
        return self.text.spec.model

    @property
    def group(self) -> tuple[str, str, str]:
        """Probe, image recipe and text recipe: rows are compared within one such group only."""
        return self.image.spec.probe, self.image.spec.slug, self.text.spec.slug


def score_pair(
    images: Embeddings,
    captions: Embeddings,
    configs: Mapping[str, ObjectSettings],
    store: Store | None,
) -> Row:
    """Every score of `configs` (name -> yaml) on a pair of embeddings; those in the store are not computed again.

    store: None for embeddings that are not stored, whose scores are not either. A score that uses the encoder's size is
    left out where that is not known. What was computed before a score that raises is kept.
    """
    header = images.header
    scores = {name: config.build() for name, config in configs.items()}
    scores = {name: score for name, score in scores.items() if _applies(score, header)}
    if store is None:
        pair = PairedGeometry.angular(images.array, captions.array, n_parameters=header.n_parameters)
        return Row(header, captions.header, {name: _scored(scores[name], pair, configs[name]) for name in scores})
    path = _path(store, images.header, captions.header)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        kept = _read(path)
        known = dict(kept.scores) if kept and _same_embeddings(kept, images.header, captions.header) else {}
        missing = [name for name, score in scores.items() if not _fresh(known.get(name), score, configs[name])]
        headers = images.header, captions.header
        try:
            if missing:
                pair = PairedGeometry.angular(images.array, captions.array, n_parameters=header.n_parameters)
                for name in missing:
                    known[name] = _scored(scores[name], pair, configs[name])
        finally:
            if missing or kept is None or (kept.image, kept.text) != headers:  # equal arrays of another recipe
                _write(path, Row(*headers, known))
    return Row(*headers, {name: known[name] for name in scores})


def stored_rows(store: Store, probe: str, configs: Mapping[str, ObjectSettings]) -> list[Row]:
    """Every row of a probe set that holds the scores of `configs`, in the order of encoder and LLM.

    Its embeddings are still those in the store, and its scores of the version and settings asked for: results of
    different versions never mix.
    """
    embedded = {header.fingerprint for _, header in store.headers(probe)}
    scores = {name: config.build() for name, config in configs.items()}
    rows = filter(None, map(_read, sorted((store.root / "scores" / probe).glob("*.json"))))
    found = []
    for row in rows:
        asked = {name: score for name, score in scores.items() if _applies(score, row.image)}
        fresh = all(_fresh(row.scores.get(name), score, configs[name]) for name, score in asked.items())
        if fresh and {row.image.fingerprint, row.text.fingerprint} <= embedded:
            found.append(Row(row.image, row.text, {name: row.scores[name] for name in asked}))
    return found


def _applies(score: Any, image: Header) -> bool:
    """Whether a score can be computed for this encoder; its size may not be known."""
    return image.n_parameters is not None or not score.uses_size


def _scored(score: Any, pair: PairedGeometry, settings: ObjectSettings) -> Scored:
    result = score(pair)
    return Scored(
        result.value,
        dict(result.details),
        score.title,
        score.higher_is_better,
        score.uses_pairing,
        score.version,
        settings.plain(),
    )


def _fresh(scored: Scored | None, score: Any, settings: ObjectSettings) -> bool:
    return scored is not None and scored.version == score.version and dict(scored.settings) == settings.plain()


def _same_embeddings(row: Row, image: Header, text: Header) -> bool:
    """Whether a row is of these arrays, and of an encoder of this size, which is a score too."""
    kept, now = (
        (one.array_sha256, other.array_sha256, one.n_parameters)
        for one, other in ((row.image, row.text), (image, text))
    )
    return kept == now


def _path(store: Store, image: Header, text: Header) -> Path:
    name = "--".join(f"{header.spec.model}.{header.spec.slug}" for header in (image, text))
    return store.root / "scores" / image.spec.probe / f"{name}.json"


@remembering
def _read(path: Path) -> Row | None:
    """One stored row, or None when it is absent or not what this version writes: it is then computed again."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        scores = {name: Scored(**scored) for name, scored in plain["scores"].items()}
        image, text = (Header.of_plain(plain[side]) for side in ("image", "text"))
        return Row(image, text, scores)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _plain(row: Row) -> dict[str, Any]:
    scores = {name: asdict(scored) for name, scored in row.scores.items()}
    return {"image": row.image.plain(), "text": row.text.plain(), "scores": scores}


def _write(path: Path, row: Row) -> None:
    with renamed(path) as temporary:
        temporary.write_text(json.dumps(_plain(row), indent=1, sort_keys=True), encoding="utf-8")
