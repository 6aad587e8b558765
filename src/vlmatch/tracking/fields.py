"""What MLflow's runs show of pairs and results: metrics, parameters and tags, by name.

MLflow's pages sort by name, and group metrics by what stands before the slash: cost, rule, score, spec, truth.
"""

import os
import socket
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vlmatch.embeddings.header import Header
from vlmatch.machine.processes import SWEEP
from vlmatch.results import Result
from vlmatch.scores.rows import Row
from vlmatch.scores.scored import Scored

if TYPE_CHECKING:  # a training needs none of these, and their import takes seconds
    from vlmatch.costs.candidate import CandidateCost
    from vlmatch.embeddings.embed import Cost
    from vlmatch.ranking import LlmRanking, RankedEncoder
    from vlmatch.report.evidence import RankingEvidence

PLACE, VALUE = "rule/place", "rule/value"
COSTS = {
    "parameters": "cost/million parameters",
    "flops": "cost/GFLOPs per image",
    "tokens": "cost/tokens per image",
}
"""The scores that are costs, with the names of their metrics."""
SPEED = "cost/images per second"
EMBEDDING_SETTINGS = "embedding_settings"
"""The tag of a pair's run that says how images and captions were embedded; `recipe` is that of a training."""
PAIR_TAGS = ("encoder", "llm", "probe", EMBEDDING_SETTINGS)
"""The tags that tell pairs apart."""

Pair = tuple[str, ...]
"""Encoder, LLM, probe, and the settings of both embeddings."""
Truths = Mapping[str, Mapping[str, float]]
"""The truth of each encoder, by the name of the metric that shows it."""


def figures(result: Result) -> dict[str, float]:
    """The metrics of a training's result; minutes where they are known."""
    benchmarks = {f"benchmark/{name}": found.score for name, found in result.benchmarks.items()}
    groups = {f"group/{name}": found.score for name, found in result.groups.items()}
    seconds = {"training": result.seconds.train, "measuring": result.seconds.evaluate}
    costs = {f"cost/{what} minutes": readable(took / 60) for what, took in seconds.items() if took is not None}
    mean = {"mean": result.mean.score, "mean/standard_error": result.mean.standard_error}
    return {**mean, **groups, **benchmarks, **costs}


def tags_of_holder(parent: str | None) -> dict[str, str]:
    """The tags of a run that this process holds, nested under `parent` if that is given."""
    held = {"host": socket.gethostname(), "pid": str(os.getpid())}
    return {**held, "mlflow.parentRunId": parent} if parent else held


def tags_of(pair: Pair) -> dict[str, str]:
    """The tags of a pair's run: all that identifies it, because a sorted page in MLflow does not show the nesting."""
    found = {"task": "rank", **dict(zip(PAIR_TAGS, pair, strict=True)), "sweep": os.environ.get(SWEEP)}
    return {key: value for key, value in found.items() if value}


def pair_of_tags(tags: Mapping[str, str]) -> Pair:
    """The pair of a run with these tags."""
    return tuple(tags.get(key, "") for key in PAIR_TAGS)


def pair_of(row: Row) -> Pair:
    """The pair of a row; `pair_of_tags` of its run gives the same."""
    image, text = row.image.spec, row.text.spec
    return image.model, text.model, image.probe, f"{image.slug} x {text.slug}"


def score_metric(name: str, scored: Scored) -> str:
    """The name of a score's metric: `spec/...` for a fact of the spec sheet, `score/...` for a score of embeddings."""
    return COSTS.get(name, f"spec/{name}" if scored.uses == ("spec",) else f"score/{name}")


def score_metrics(scores: Mapping[str, Scored], first: Collection[str] = ()) -> dict[str, float]:
    """The metrics of a row's scores, without costs: `ranked_metrics` has these in other units.

    first: the names of the scores that are logged first, because MLflow's comparison page begins with the first one.
    """
    ordered = sorted(scores.items(), key=lambda item: item[0] not in first)
    return {score_metric(name, scored): readable(scored.value) for name, scored in ordered if name not in COSTS}


def readable(value: float) -> float:
    """Round to four digits, because MLflow's table prints all digits; the artifact scores.json has the whole number."""
    return float(f"{value:.4g}")


def embedding_metrics(costs: Sequence["Cost"]) -> dict[str, float]:
    """What this job's embeddings cost; nothing for those from the store. costs: of images and of captions."""
    found = {}
    for side, cost in zip(("image", "caption"), costs, strict=True):
        if cost.items:
            found[f"cost/{side} embedding minutes"] = readable(cost.seconds / 60)
            if cost.gpu_bytes:
                found[f"cost/{side} embedding GPU GiB"] = readable(cost.gpu_bytes / 2**30)
    return found


def ranked_metrics(ranked: "RankedEncoder", truths: Truths) -> dict[str, float]:
    """The place and value of an encoder, its truths, and what it costs, as far as they are known."""
    encoder = ranked.row.encoder
    found = {PLACE: ranked.place, VALUE: ranked.value, **{name: known.get(encoder) for name, known in truths.items()}}
    return {name: readable(value) for name, value in {**found, **_costs(ranked.cost)}.items() if value is not None}


def truths_of(llm: "LlmRanking", evidence: Sequence["RankingEvidence"]) -> dict[str, dict[str, float]]:
    """The mean truth of each encoder that was trained with this LLM, by recipe and data."""
    found: dict[str, dict[str, float]] = {}
    for each in (each for each in evidence if each.llm is llm):
        setting = each.comparison.setting
        means = {
            truth.encoder: truth.mean for truth in each.comparison.truths if truth.encoder not in each.other_weights
        }
        found.setdefault(f"truth/{setting.recipe.name} {setting.data}", {}).update(means)
    return found


def row_params(row: Row) -> dict[str, str]:
    """The parameters of a pair's run."""
    return {**_params("encoder", row.image), **_params("llm", row.text), "n_pairs": str(row.image.spec.n_pairs)}


def details(row: Row) -> dict[str, list[Any]]:
    """A table of every detail of every score, by column."""
    rows = [
        (name, scored.version, key, str(value))
        for name, scored in row.scores.items()
        for key, value in {**_figures(scored), **scored.details}.items()
    ]
    return dict(zip(("score", "version", "detail", "value"), map(list, zip(*rows, strict=True)), strict=True))


def dataset_of(row: Row) -> Any:
    """The probe as MLflow's input of a run."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    spec = row.image.spec
    dataset = MetaDataset(CodeDatasetSource(tags={}), name=spec.probe, digest=spec.probe_fingerprint[:36])
    return DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", "probe")])


def _costs(cost: "CandidateCost") -> dict[str, float | None]:
    millions = None if cost.parameters is None else cost.parameters / 1e6
    figures = (millions, cost.gflops, cost.tokens)
    return {**dict(zip(COSTS.values(), figures, strict=True)), SPEED: cost.images_per_second}


def _params(side: str, header: Header) -> dict[str, str]:
    """The parameters of one model; MLflow's comparison page first plots the first three in alphabetical order."""
    licence = "-" if header.control else header.licence["name"]
    about = {"recipe": header.spec.slug, "rule": header.rule, "dimension": header.dimension}
    named = {f"{side}.{key}": str(value) for key, value in {**about, "n_parameters": header.n_parameters}.items()}
    return {side: header.spec.model, **named, f"licence.{side}": licence}


def _figures(scored: Scored) -> dict[str, float]:
    """A score's value, its noise twin and its deviation, as far as it has them."""
    found = {"value": scored.value, "noise": scored.noise, "deviation": scored.deviation}
    return {name: figure for name, figure in found.items() if figure is not None}
