"""The result of each finished training as a small JSON in `results/`, written so that equal results are equal bytes.

Beside a training's result.json, and its JSON in `results/`, lies an .npz: the likelihoods that its scores follow from.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AllowInfNan, Field, TypeAdapter, ValidationError

from vlmatch.errors import VlmatchError, one_line
from vlmatch.files import renamed

FORMAT = 1
DIGITS = 5  # significant ones, of what was measured
RESULT, LIKELIHOODS = "result.json", "likelihoods.npz"  # in a training's folder
BLIND = "blind"  # the encoder that sees nothing
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")

Finite = Annotated[float, AllowInfNan(False)]


@dataclass(frozen=True)
class Estimate:
    """A score and the standard error that the choice of items gives it."""

    score: Finite
    standard_error: Finite


@dataclass(frozen=True)
class SourceEstimate(Estimate):
    """A benchmark's score over the `n` items of one source of pictures."""

    n: int


@dataclass(frozen=True)
class Benchmark(Estimate):
    """A benchmark over `n` items; chance: what guessing gives; shuffled: the score with other items' pictures.

    None: not known, of an imported result.
    """

    chance: Finite | None
    shuffled: Finite | None
    n: int
    by_source: Mapping[str, SourceEstimate]


@dataclass(frozen=True)
class Group(Estimate):
    """The mean over the benchmarks `of` a group of (score - chance) / (1 - chance): 0 is chance, 1 is perfect."""

    of: tuple[str, ...]


@dataclass(frozen=True)
class RecipeId:
    """The recipe of a training; its fingerprint tells settings apart that share a version."""

    name: str
    version: int
    fingerprint: str


@dataclass(frozen=True)
class Visual:
    """What the projector was fed: the rule in words, its width, the tokens an image, and the encoder's weights."""

    rule: str
    dimension: int | None
    tokens: int | None
    weights_sha256: str | None


@dataclass(frozen=True)
class SuiteId:
    """The benchmarks that were asked, and how many items they hold in all."""

    name: str
    version: int
    items: int

    def is_of(self, name: str, version: int) -> bool:
        """Whether it is the suite of that name and version, over however many items."""
        return (self.name, self.version) == (name, version)


@dataclass(frozen=True)
class Milestone:
    """The loss and the mean score at one step on the way."""

    step: int
    loss: Finite
    mean: Finite


@dataclass(frozen=True)
class Seconds:
    """What the run took."""

    train: Finite | None
    evaluate: Finite | None


@dataclass(frozen=True)
class Result:
    """One finished training with its measurement.

    data: the training data's name. split: fingerprint of the split that they and the items are shares of. mean: over
    the groups, the truth that scores are held against. milestones: in the order of steps. config: the recipe, plain.
    source: 'trained here' or 'imported: FILE'. dtype: of the LLM's weights in training; it is measured
    in float32. None: not known of an imported result.
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
    format: int = FORMAT

    @property
    def run(self) -> Path:
        """The run's place below `results/`: RECIPE/LLM-DATA/ENCODER-SEED.json; VlmatchError on a name that is no name.

        A name with a slash would lead out of the folder.
        """
        for field in ("encoder", "llm", "data"):
            _require_name(field, getattr(self, field))
        _require_name("recipe.name", self.recipe.name)
        return Path(self.recipe.name, f"{self.llm}-{self.data}", f"{self.encoder}-{self.seed}.json")


def read(folder: Path) -> list[Result]:
    """Every result below `folder`, in the order of paths; none where there is no such folder.

    Raises VlmatchError on a file that is damaged, of another format, or not where its run belongs: so that no run
    counts twice.
    """
    found = {path: read_file(path) for path in sorted(folder.rglob("*.json"))}
    for path, result in found.items():
        if path != folder / result.run:
            raise VlmatchError(f"result '{path}' is of the run {result.run}; move it to '{folder / result.run}'")
    return list(found.values())


def read_file(path: Path) -> Result:
    """One result; VlmatchError says what of the file is not as wanted."""
    try:
        text = path.read_text(encoding="utf-8")
        plain = json.loads(text)
    except (OSError, ValueError) as error:
        raise VlmatchError(f"result '{path}' can't be read: {one_line(error)}; restore or remove it") from error
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        given = plain.get("format") if isinstance(plain, dict) else type(plain).__name__
        raise VlmatchError(f"result '{path}' has format {given}; this version of vlmatch reads {FORMAT}")
    try:
        return _adapter().validate_json(text, strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise VlmatchError(
            f"result '{path}' is damaged at '{where}': {one_line(first['msg'])}; restore or remove it"
        ) from error


def write(folder: Path, result: Result) -> Path:
    """Write a result to its run's place below `folder`, in one step; returns the path."""
    path = folder / result.run
    write_file(path, result)
    return path


def write_file(path: Path, result: Result) -> None:
    """Write a result to `path` in one step; VlmatchError, and no file, where a figure is not finite."""
    text = rendered(result)
    with renamed(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def rendered(result: Result) -> str:
    """The text of a result's file: keys sorted, measured figures to 5 significant digits, the config as it is."""
    plain = {key: value if key == "config" else _rounded(key, value) for key, value in asdict(result).items()}
    plain["course"] = plain.pop("milestones")  # the key in files since their first format
    return json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


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
    if not _NAME.fullmatch(value):
        raise VlmatchError(f"result: {field}='{value}' can't name a file; wanted letters, digits and . _ + - in it")


@cache
def _adapter() -> TypeAdapter[Result]:
    return TypeAdapter(Result)
