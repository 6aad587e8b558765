"""The results of finished trainings: one small JSON file a training; equal results give equal bytes.

Beside each JSON file lies an .npz file with the likelihoods that its scores were computed from.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from pydantic import AllowInfNan, Field, TypeAdapter, ValidationError

from vlmatch.errors import VlmatchError, one_line
from vlmatch.files import FOLDER_NAME, is_folder_name, write_text

FORMAT = 1
DIGITS = 5  # significant digits of measured figures in files
RESULT, LIKELIHOODS = "result.json", "likelihoods.npz"  # names of the files in a training's folder
REPLACED = "replaced"  # the folder below a folder of results for those that later ones replaced (`vlmatch.replaced`)
BLIND = "blind"  # the name of the encoder whose features are all zero

Finite = Annotated[float, AllowInfNan(False)]


@dataclass(frozen=True)
class Estimate:
    """A score and its standard error over the choice of items."""

    score: Finite
    standard_error: Finite


@dataclass(frozen=True)
class SourceEstimate(Estimate):
    """A benchmark's score over the `n` items whose pictures come from one source."""

    n: int


@dataclass(frozen=True)
class Benchmark(Estimate):
    """A benchmark's score over `n` items.

    chance: the expected score of guessing. shuffled: the score with other items' pictures. Both are None if an
    imported result does not state them. by_source: the score for each source of pictures.
    """

    chance: Finite | None
    shuffled: Finite | None
    n: int
    by_source: Mapping[str, SourceEstimate]


@dataclass(frozen=True)
class Group(Estimate):
    """The mean of (score - chance) / (1 - chance) over the benchmarks `of` the group: 0 is chance, 1 is perfect."""

    of: tuple[str, ...]


@dataclass(frozen=True)
class RecipeId:
    """The recipe of a training: its name, its version, and a fingerprint of its settings."""

    name: str
    version: int
    fingerprint: str


@dataclass(frozen=True)
class Visual:
    """What the projector was given: feature rule, width, tokens per image, and the SHA-256 of the encoder's weights."""

    rule: str
    dimension: int | None
    tokens: int | None
    weights_sha256: str | None


@dataclass(frozen=True)
class SuiteId:
    """The suite of benchmarks, and the number of items in all of them."""

    name: str
    version: int
    items: int

    def is_of(self, name: str, version: int) -> bool:
        """Whether the suite has this name and version; the number of items does not count."""
        return (self.name, self.version) == (name, version)


@dataclass(frozen=True)
class Milestone:
    """The training loss and the mean score after `step` optimiser steps."""

    step: int
    loss: Finite
    mean: Finite


@dataclass(frozen=True)
class Seconds:
    """How long training and measurement took; None if an imported result does not state it."""

    train: Finite | None
    evaluate: Finite | None


@dataclass(frozen=True)
class Result:
    """One finished training and its scores on the benchmarks.

    data: the name of the training data. split: fingerprint of the split that training data and items are taken
    from. mean: the mean over groups, which scores are compared with. milestones: in the order of steps; the last is
    the end of the training. config: the recipe's settings, plain. source: 'trained here' or 'imported: FILE'.
    dtype: of the LLM's weights during training; measurements are made in float32. precision: that the trainer computed
    in. commit: of the code that measured it, with '+' if files had been changed. Fields are None if not stated.
    """

    encoder: str
    llm: str
    data: str
    seed: int
    control: bool
    recipe: RecipeId
    visual: Visual
    split: str
    suite: SuiteId
    benchmarks: Mapping[str, Benchmark]
    groups: Mapping[str, Group]
    mean: Estimate
    milestones: Annotated[tuple[Milestone, ...], Field(alias="course")]
    steps: int | None
    loss: Finite | None
    seconds: Seconds
    peak_bytes: int | None
    config: Mapping[str, Any]
    machine: str
    libraries: Mapping[str, str]
    source: str
    dtype: str | None = None
    precision: str | None = None
    commit: str | None = None
    format: int = FORMAT

    @property
    def run(self) -> Path:
        """The path of the file below a folder of results: RECIPE/LLM-DATA/ENCODER-SEED.json.

        Raises VlmatchError on a name that cannot be a file's name: one with a slash would lead out of the folder.
        """
        for field in ("encoder", "llm", "data"):
            _require_name(field, getattr(self, field))
        _require_name("recipe.name", self.recipe.name)
        if self.recipe.name == REPLACED:
            raise VlmatchError(f"result: recipe.name='{REPLACED}' is the folder of replaced results; give another name")
        return Path(self.recipe.name, f"{self.llm}-{self.data}", f"{self.encoder}-{self.seed}.json")


def read(folder: Path) -> list[Result]:
    """Every result below `folder` but replaced ones, in the order of paths; empty if the folder does not exist.

    Raises VlmatchError on a file that `read_file` refuses, and on one that is not at the path of its run: a copy under
    another name would count the run twice.
    """
    paths = sorted(path for path in folder.rglob("*.json") if path.relative_to(folder).parts[0] != REPLACED)
    found = {path: read_file(path) for path in paths}
    for path, result in found.items():
        if path != folder / result.run:
            raise VlmatchError(f"result '{path}' belongs to the run {result.run}; move it to '{folder / result.run}'")
    return list(found.values())


def read_folders(folders: Iterable[Path]) -> list[Result]:
    """Every result below `folders`; if two folders hold the same run, the later folder's result counts.

    Raises VlmatchError as `read` does.
    """
    return list({result.run: result for folder in folders for result in read(folder)}.values())


def read_file(path: Path) -> Result:
    """Read one result.

    Raises VlmatchError on a file that is damaged, of another format, or whose means do not follow from its benchmarks.
    """
    try:
        text = path.read_text(encoding="utf-8")
        plain = json.loads(text)
    except (OSError, ValueError) as error:
        raise VlmatchError(f"result '{path}' can't be read: {one_line(error)}; restore or remove it") from error
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        given = plain.get("format") if isinstance(plain, dict) else type(plain).__name__
        raise VlmatchError(f"result '{path}' has format {given}; this version of vlmatch reads {FORMAT}")
    try:
        result = _adapter().validate_json(text, strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise VlmatchError(
            f"result '{path}' is damaged at '{where}': {one_line(first['msg'])}; restore or remove it"
        ) from error
    _require_means(path, result)
    return result


def write(folder: Path, result: Result) -> Path:
    """Write a result to the path of its run below `folder`, in one step; returns the path."""
    path = folder / result.run
    write_file(path, result)
    return path


def write_file(path: Path, result: Result) -> None:
    """Write a result to `path` in one step; raises VlmatchError, and writes nothing, if a figure is not finite."""
    write_text(path, rendered(result))


def rendered(result: Result) -> str:
    """The text of a result's file: sorted keys, measured figures to 5 digits, the config unrounded."""
    plain = {key: value if key == "config" else _rounded(key, value) for key, value in asdict(result).items()}
    plain["course"] = plain.pop("milestones")  # the key in files since their first format
    plain = {key: value for key, value in plain.items() if value or key not in ("commit", "precision")}
    return json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def above_chance(score: float, chance: float | None) -> float:
    """(score - chance) / (1 - chance): 0 is chance, 1 is perfect; an unknown chance counts as 0."""
    return (score - (chance or 0.0)) / (1 - (chance or 0.0))


def _require_means(path: Path, result: Result) -> None:
    """Refuse a file in which a group's score or the mean does not follow from the scores beside it."""
    for name, group in result.groups.items():
        parts = [result.benchmarks[each] for each in group.of if each in result.benchmarks]
        if not parts or len(parts) < len(group.of) or any(part.chance == 1 for part in parts):
            raise VlmatchError(
                f"result '{path}': groups.{name}.of={list(group.of)}, wanted names of its benchmarks whose chance is "
                "below 1; restore or remove the file"
            )
        gains = [above_chance(part.score, part.chance) for part in parts]
        rounding = fmean(_rounding_above_chance(part.score, part.chance or 0.0) for part in parts)
        _require_equal(path, f"groups.{name}.score", group.score, fmean(gains), "its benchmarks", rounding)
    if not result.groups:
        raise VlmatchError(f"result '{path}' has no groups, so its mean can't be checked; restore or remove it")
    scores = [group.score for group in result.groups.values()]
    _require_equal(path, "mean.score", result.mean.score, fmean(scores), "its groups", fmean(map(_rounding, scores)))
    if result.milestones and result.milestones[-1].step == result.steps:
        _require_equal(path, "course", result.milestones[-1].mean, result.mean.score, "its mean.score")


def _require_equal(path: Path, key: str, given: float, follows: float, source: str, rounding: float = 0.0) -> None:
    """Raise VlmatchError if `given` and `follows` differ by more than both may be rounded."""
    if abs(given - follows) > 1.001 * (_rounding(given) + rounding) + 1e-12:
        raise VlmatchError(
            f"result '{path}': {key}={given:.{DIGITS}g}, but {follows:.{DIGITS}g} follows from {source}; "
            "restore or remove the file"
        )


def _rounding(figure: float) -> float:
    """By how much a figure in a file may be off because it is rounded to `DIGITS` significant digits."""
    return 0.5 * 10.0 ** (math.floor(math.log10(abs(figure))) + 1 - DIGITS) if figure else 0.0


def _rounding_above_chance(score: float, chance: float) -> float:
    """By how much `above_chance` may be off because score and chance are rounded."""
    return _rounding(score) / abs(1 - chance) + _rounding(chance) * abs(score - 1) / (1 - chance) ** 2


def _rounded(where: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(f"{where}.{key}", item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(f"{where}.{place}", item) for place, item in enumerate(value)]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise VlmatchError(f"result: {where}={value}, wanted a finite number; a run that diverged has no result")
        return float(f"{value:.{DIGITS}g}") + 0.0  # no negative zero
    return value


def _require_name(field: str, value: str) -> None:
    if not is_folder_name(value):
        raise VlmatchError(f"result: {field}='{value}' can't be part of a file name; wanted {FOLDER_NAME}")


@cache
def _adapter() -> TypeAdapter[Result]:
    return TypeAdapter(Result)
