"""Saved views of MLflow's table of runs, which show what is compared: the rule's scores, truth and cost.

MLflow keeps a view that somebody saved as a tag of the experiment, lists it under "Views", and opens it by its key.
"""

import base64
import json
import re
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from vlmatch.results import Result
from vlmatch.tracking.fields import (
    COSTS,
    EMBEDDING_SETTINGS,
    PLACE,
    SPEED,
    VALUE,
    Truths,
    figures,
    pair_of,
    score_metric,
)

if TYPE_CHECKING:
    from vlmatch.ranking import LlmRanking, Ranking

PREFIX = "mlflow.sharedViewState."
SHOWN_RUNS = 100  # in a chart; MLflow allows no more
MARGIN, LETTER, NARROWEST = 36, 7, 92  # pixels of a column: beside its name, for each letter of the name, at least
LICENCE = "licence.encoder"
MACHINE_LEARNING = "workflowType=machine_learning"  # without it, MLflow opens its pages for chat logs
RANKING, TRAININGS, SEARCH = "ranking-", "trainings-", "search-"  # what the keys begin with
SEARCHED = "value"  # the metric of a search's trainings, by step


@dataclass(frozen=True)
class View:
    """A table of some runs, best first, and charts of them.

    key: the view's name in its address. title: its name in MLflow's list. runs: MLflow's filter of runs. metrics: the
    columns; the first orders the runs, from high to low unless `lowest_first`. params: further columns. curves: metrics
    drawn over steps. charts: each has one metric, drawn as bars, or two, drawn as points.
    """

    key: str
    title: str
    runs: str
    metrics: tuple[str, ...]
    params: tuple[str, ...]
    charts: tuple[tuple[str, ...], ...]
    curves: tuple[str, ...] = ()
    lowest_first: bool = False

    @property
    def tag(self) -> str:
        """The name of the experiment's tag that holds the view."""
        return PREFIX + self.key

    def stored(self) -> str:
        """The value of that tag, as MLflow's page writes it: compressed, because the length of a tag is limited."""
        state = base64.b64encode(zlib.compress(json.dumps(self._state()).encode())).decode()
        now = int(1000 * time.time())
        return json.dumps({"name": self.title, "createdAt": now, "updatedAt": now, "state": f"deflate;{state}"})

    def _state(self) -> dict[str, Any]:
        names = {f"metrics.`{name}`": name for name in self.metrics} | {
            f"params.`{name}`": name for name in self.params
        }
        return {
            "searchFilter": self.runs,
            "orderByKey": next(iter(names)),
            "orderByAsc": self.lowest_first,
            "selectedColumns": list(names),
            "columnOrder": ["attributes.`Run Name`", *names],
            "columnWidths": {column: max(NARROWEST, MARGIN + LETTER * len(name)) for column, name in names.items()},
            "runsHiddenMode": "SHOW_ALL",
            "compareRunSections": [{"uuid": self.key, "name": self.title, "display": True, "isReordered": True}],
            "compareRunCharts": [*map(self._curve, self.curves), *map(self._chart, self.charts)],
            "isAccordionReordered": True,  # keeps this section before those that MLflow adds for all other metrics
        }

    def _chart(self, axes: tuple[str, ...]) -> dict[str, Any]:
        named = self._named(" over ".join(reversed(axes)))
        if len(axes) == 1:
            return {**named, "type": "BAR", "metricKey": axes[0]}
        x, y = ({"key": axis, "type": "METRIC"} for axis in axes)
        return {**named, "type": "SCATTER", "xaxis": x, "yaxis": y}

    def _curve(self, metric: str) -> dict[str, Any]:
        named = self._named(f"{metric} over steps")
        y_axis = {"metricKey": metric, "selectedMetricKeys": [metric], "scaleType": "linear"}
        x_axis = {"xAxisKey": "step", "xAxisScaleType": "linear"}
        return {**named, "type": "LINE", **y_axis, **x_axis, "lineSmoothness": 0, "displayPoints": True}

    def _named(self, name: str) -> dict[str, Any]:
        return {
            "uuid": f"{self.key} {name}",
            "displayName": name,
            "metricSectionId": self.key,
            "runsCountToCompare": SHOWN_RUNS,
        }


def ranking_views(rankings: Iterable["Ranking"], sweep: str, truths_of: Callable[["LlmRanking"], Truths]) -> list[View]:
    """A view for each LLM of a sweep: value, the rule's scores, GW, truth and costs of its pairs.

    If several protocols give several rankings for an LLM, each view also names how images and captions were embedded.
    """
    found = [(each, llm) for each in rankings for llm in each.llms]
    of_llm = Counter(llm.llm for _, llm in found)
    return [_ranking_view(each, llm, sweep, truths_of(llm), alone=of_llm[llm.llm] == 1) for each, llm in found]


def _ranking_view(ranking: "Ranking", llm: "LlmRanking", sweep: str, truths: Truths, *, alone: bool) -> View:
    from vlmatch.ranking import PAPER

    known = {name: scored for each in llm.encoders for name, scored in each.row.scores.items()}
    scores = [score_metric(name, known[name]) for name in dict.fromkeys((*llm.ingredients, PAPER)) if name in known]
    costs = (*COSTS.values(), SPEED)
    chosen = {"sweep": sweep, "llm": llm.llm, "probe": ranking.probe}
    embedded = {pair_of(each.row)[-1] for each in llm.encoders}
    if len(embedded) == 1:
        chosen[EMBEDDING_SETTINGS] = embedded.pop()
    points = [(score, truth) for truth in truths for score in scores]
    return View(
        key=_key(f"{RANKING}{llm.llm}{'' if alone else f'-{ranking.image_recipe}-{ranking.text_recipe}'}"),
        title=f"Ranking for {llm.llm}{'' if alone else f', {ranking.image_recipe} x {ranking.text_recipe}'}",
        runs=_tagged(chosen),
        metrics=tuple(dict.fromkeys((VALUE, PLACE, *scores, *truths, *costs))),
        params=(LICENCE,),
        charts=tuple(
            dict.fromkeys([(VALUE,), *((each,) for each in (*scores, *truths)), *points, *((c,) for c in costs)])
        ),
    )


def trainings_view(result: Result) -> View:
    """A view of the trainings that may be compared with this one, as means over seeds: benchmarks by group, minutes."""
    recipe = f"{result.recipe.name} v{result.recipe.version}"
    chosen = {"task": "train seeds", "recipe": recipe, "llm": result.llm, "data": result.data}
    groups = [f"group/{name}" for name in result.groups]
    metrics = ("mean", "mean/deviation", *groups, *(name for name in figures(result) if name.startswith("cost/")))
    return View(
        key=_key(f"{TRAININGS}{result.recipe.name}-{result.llm}-{result.data}"),
        title=f"Trainings for {result.llm} by recipe {recipe} on {result.data}",
        runs=_tagged(chosen),
        metrics=metrics,
        params=(),
        charts=tuple((name,) for name in metrics if name != "mean/deviation"),
    )


def search_view(name: str, parent: str, *, higher: bool) -> View:
    """A view of one search's race: the value of each encoder over steps. higher: whether higher values win."""
    return View(
        key=_key(SEARCH + name),
        title=f"Search {name}",
        runs=f"tags.`mlflow.parentRunId` = '{parent}'",
        metrics=(SEARCHED,),
        params=(),
        charts=((SEARCHED,),),
        curves=(SEARCHED,),
        lowest_first=not higher,
    )


def saved(tags: Mapping[str, str]) -> dict[str, str]:
    """The titles of our views among an experiment's tags, by key."""
    return {
        key.removeprefix(PREFIX): json.loads(value)["name"]
        for key, value in sorted(tags.items())
        if key.startswith(tuple(PREFIX + kind for kind in (RANKING, TRAININGS, SEARCH)))
    }


def address_part(key: str) -> str:
    """The end of a saved view's address, after the address of its experiment's runs."""
    shown = "&compareRunsMode=CHART" if key.startswith(SEARCH) else ""  # a race is shown as curves
    return f"?viewStateShareKey={quote(key)}&{MACHINE_LEARNING}{shown}"


def _key(name: str) -> str:
    """The name, with every character replaced that an address or a tag can't hold."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)


def _tagged(tags: Mapping[str, str]) -> str:
    """MLflow's filter for the runs with these tags."""
    return " and ".join(f"tags.{key} = '{value}'" for key, value in tags.items())
