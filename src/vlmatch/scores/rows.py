"""The scores of one encoder and one LLM on one probe set, computed once and kept beside their embeddings."""

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vlmatch.embeddings.header import Header
from vlmatch.embeddings.measured import spec_sheet_of
from vlmatch.embeddings.store import Embeddings, Store
from vlmatch.encoders.spec_sheet import SpecSheet
from vlmatch.errors import VlmatchError
from vlmatch.files import ABSENT, MAX_NAME_BYTES, remembering, write_text
from vlmatch.foreign import score_faults
from vlmatch.geometry import Labels, PairedGeometry, known_labels
from vlmatch.machine.memory import MANY_PAIRS, require_scoring_memory
from vlmatch.machine.waiting import NowAndThen, locked, waiting
from vlmatch.scores.chosen import ChosenScore
from vlmatch.scores.resampling import Resampled
from vlmatch.scores.scored import LeftOut, Scored
from vlmatch.scores.sides import CAPTIONS, IMAGES
from vlmatch.settings.buildable import ObjectSettings

FORMAT = 3
"""The format of stored rows; it is raised when noise twins or subsamples change, so that rows are computed again."""
UNCHECKED = 2
"""The older format, which has no checksum and is otherwise the same."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One encoder against one LLM: where both embeddings came from, every score, and why others are left out."""

    image: Header
    text: Header
    scores: Mapping[str, Scored]
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)

    @property
    def encoder(self) -> str:
        """The encoder's name, with its layer if one is chosen."""
        return self.image.spec.label

    @property
    def llm(self) -> str:
        """The LLM's name."""
        return self.text.spec.model

    @property
    def group(self) -> tuple[str, str, str]:
        """Probe, image recipe and text recipe: only rows of one group are compared."""
        return self.image.spec.probe, self.image.spec.recipe, self.text.spec.slug


def score_pair(
    images: Embeddings,
    captions: Embeddings,
    configs: Mapping[str, ObjectSettings],
    store: Store | None,
    labels: Labels | None = None,
) -> Row:
    """Compute every score of `configs` (name -> yaml) on a pair of embeddings; stored scores are not computed again.

    store: None if the embeddings are not stored; their scores are then not stored either. labels: of the pairs, in
    their order; None: not known. A score that is not defined for the pair, or needs an input that is not known, is left
    out with the reason. Raises VlmatchError if no score is defined.
    """
    headers = images.header, captions.header
    chosen = ChosenScore.built(configs)
    spec = spec_sheet_of(store, images.header)
    inputs = inputs_of(spec, labels)
    if store is None:
        return _of_chosen(_filled(Row(*headers, {}), chosen, images, captions, spec=spec, labels=labels), chosen)
    path = _path(store, *headers)
    row, missing = _kept(path, headers, chosen, inputs)
    if missing is not None:  # else no lock is needed, and a read-only store allows none
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock"), "scoring the same pair"):
            row, missing = _kept(path, headers, chosen, inputs)
            if missing:
                row = _filled(row, missing, images, captions, spec=spec, labels=labels)
            if missing is not None:
                _write(path, row)
    return _of_chosen(row, chosen)


def require_memory(n_pairs: int, configs: Mapping[str, ObjectSettings]) -> str | None:
    """Say how much memory scoring many pairs takes; None for few pairs. Raises VlmatchError if there is too little."""
    if n_pairs < MANY_PAIRS:
        return None
    return require_scoring_memory(n_pairs, [config.build().squares for config in configs.values()])


def stored_rows(
    store: Store, probe: str, configs: Mapping[str, ObjectSettings], labels: Labels | None = None
) -> list[Row]:
    """Every row of a probe set that holds the scores of `configs`, in the order of encoder and LLM.

    A row counts only if its embeddings are still in the store and its scores are of the requested version and settings:
    results of different versions never mix. labels: those that the scores must have used; None: any.
    """
    embedded = {header.fingerprint for _, header in store.headers(probe)}
    chosen = ChosenScore.built(configs)
    found = []
    for row in filter(None, map(_read, sorted((store.root / "scores" / probe).glob("*.json")))):
        inputs = inputs_of(spec_sheet_of(store, row.image), labels)
        if labels is None:
            del inputs["labels"]
        if not _missing(row, chosen, inputs) and {row.image.fingerprint, row.text.fingerprint} <= embedded:
            found.append(_of_chosen(row, chosen))
    return found


def _filled(
    row: Row,
    missing: Mapping[str, ChosenScore],
    images: Embeddings,
    captions: Embeddings,
    *,
    spec: SpecSheet,
    labels: Labels | None,
) -> Row:
    """The row with the missing scores added, or with the reason for each that is left out."""
    line = require_memory(len(images.array), {name: each.settings for name, each in missing.items()})
    if line is not None:
        print(f"{row.encoder} x {row.llm}: {line}", flush=True)
    try:
        sides = IMAGES.of(images.array), CAPTIONS.of(captions.array)
        pair = PairedGeometry(*sides, spec, known_labels(labels))
    except VlmatchError as error:
        raise VlmatchError(f"{row.encoder} x {row.llm}: {error}") from error
    resampled = Resampled(pair)
    inputs = inputs_of(pair.spec, labels)
    scored, left_out = dict(row.scores), dict(row.left_out)
    for done, (name, chosen) in enumerate(missing.items()):
        score = chosen.score
        for kept in (scored, left_out):
            kept.pop(name, None)
        try:
            with score_faults(score.title), _slowly(score, pair, f"{done} of {len(missing)} scores are done"):
                reason = score.unknown(pair.spec, labelled=pair.labels is not None)
                if reason is None:
                    scored[name] = chosen.scored(resampled, inputs)
        except VlmatchError as error:
            reason = str(error)
        if reason is not None:
            left_out[name] = chosen.left_out(reason, inputs)
    return Row(row.image, row.text, scored, left_out)


@contextmanager
def _slowly(score: Any, pair: PairedGeometry, progress: str) -> Iterator[None]:
    """For many pairs, print after a few seconds which score is computed and how many are done, then how far GW is."""
    if len(pair) < MANY_PAIRS:
        yield
        return
    from vlmatch.gromov.watching import watched  # its package has compiled code, which takes half a second

    lines = NowAndThen()

    def told(steps: int, energy: float) -> None:
        lines.say(f"the score '{score.title}': step {steps} of its descent, energy {energy:.6f}")

    with waiting(f"the score '{score.title}'", progress), watched(told):
        yield


def _of_chosen(row: Row, scores: Collection[str]) -> Row:
    """The row with only these scores, in their order. Raises VlmatchError if it has none of them."""
    left_out = {name: row.left_out[name] for name in scores if name in row.left_out}
    if left_out and len(left_out) == len(scores):
        raise VlmatchError(next(iter(left_out.values())).reason)
    return Row(row.image, row.text, {name: row.scores[name] for name in scores if name in row.scores}, left_out)


def _missing(row: Row, chosen: Mapping[str, ChosenScore], inputs: Mapping[str, str]) -> dict[str, ChosenScore]:
    """The scores for which a row holds neither a value nor a reason of the same version, settings and inputs."""
    kept: dict[str, Scored | LeftOut] = {**row.left_out, **row.scores}
    return {name: each for name, each in chosen.items() if not each.is_settled_by(kept.get(name), inputs)}


def inputs_of(spec: SpecSheet, labels: Labels | None) -> dict[str, str]:
    """Hashes of what a score may use besides the embeddings; the keys are words of `Score.uses`."""
    plain = {"spec": asdict(spec), "labels": known_labels(labels)}
    return {key: hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16] for key, value in plain.items()}


def _kept(
    path: Path, headers: tuple[Header, Header], chosen: Mapping[str, ChosenScore], inputs: Mapping[str, str]
) -> tuple[Row, dict[str, ChosenScore] | None]:
    """The stored row of two embeddings, and the scores that it lacks; None instead if all of them are stored."""
    kept = _read(path)
    arrays = [header.array_sha256 for header in headers]
    same = kept is not None and [kept.image.array_sha256, kept.text.array_sha256] == arrays
    row = Row(*headers, dict(kept.scores), dict(kept.left_out)) if kept and same else Row(*headers, {})
    missing = _missing(row, chosen, inputs)
    # The headers are compared because the kept row may be of equal arrays that other recipes made.
    whole = not missing and kept is not None and (kept.image, kept.text) == headers
    return row, None if whole else missing


def _path(store: Store, image: Header, text: Header) -> Path:
    name = "--".join(f"{header.spec.model}.{header.spec.slug}" for header in (image, text))
    if len(name.encode()) > MAX_NAME_BYTES:
        name = f"{name[:40]}-{hashlib.sha256(name.encode()).hexdigest()}"
    return store.root / "scores" / image.spec.probe / f"{name}.json"


@remembering
def _read(path: Path) -> Row | None:
    """One stored row; None if it is absent or not as this version writes it, and then it is computed again.

    Raises OSError if the file can't be read.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if plain["format"] not in (FORMAT, UNCHECKED) or _is_edited(plain):
            return None
        scores = {name: Scored.of_plain(scored) for name, scored in plain["scores"].items()}
        left_out = {name: LeftOut(**left) for name, left in plain["left_out"].items()}
        image, text = (Header.of_plain(plain[side]) for side in ("image", "text"))
        return Row(image, text, scores, left_out)
    except (*ABSENT, ValueError, KeyError, TypeError, AttributeError):
        return None


def damaged_rows(store: Store, probe: str) -> list[Path]:
    """The files of stored rows of a probe set that do not hold what was written."""
    return [path for path in sorted((store.root / "scores" / probe).glob("*.json")) if _is_damaged(path)]


def _is_damaged(path: Path) -> bool:
    """Whether the file exists, but not as any version would have written it."""
    if _read(path) is not None:
        return False
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        return plain["format"] in (FORMAT, UNCHECKED) or not isinstance(plain["format"], int)
    except ABSENT:
        return False
    except (ValueError, KeyError, TypeError):
        return True


def _is_edited(plain: Mapping[str, Any]) -> bool:
    """Whether a row does not fit its checksum, or has none."""
    return bool(plain["format"] != UNCHECKED and plain["sha256"] != _checksum(plain))


def _checksum(plain: Mapping[str, Any]) -> str:
    """SHA-256 of a row's values, however they are spaced and ordered."""
    values = {key: value for key, value in plain.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _plain(row: Row) -> dict[str, Any]:
    scores = {name: asdict(scored) for name, scored in row.scores.items()}
    left_out = {name: asdict(left) for name, left in row.left_out.items()}
    sides = {"image": row.image.plain(), "text": row.text.plain()}
    plain = {"format": FORMAT, **sides, "scores": scores, "left_out": left_out}
    return {**plain, "sha256": _checksum(plain)}


def _write(path: Path, row: Row) -> None:
    if _is_damaged(path):
        log.warning("%s is not as it was written, so these scores were computed again", path)
    write_text(path, json.dumps(_plain(row), indent=1, sort_keys=True))
