"""The trainings of a search by our own recipe: paused and measured at milestones, and continued if they stay ahead."""

import gc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from vlmatch.configs import named_configs, yaml_path
from vlmatch.errors import VlmatchError
from vlmatch.evidence.definitions import BenchmarkScores, definition_of
from vlmatch.ranking import Fed
from vlmatch.results import RESULT, read_file
from vlmatch.settings.buildable import EncoderSettings
from vlmatch.settings.search import SearchSettings
from vlmatch.tasks.evaluate import has_result, measure, measure_milestone
from vlmatch.tasks.train import prepared
from vlmatch.tracking.tracker import Tracker
from vlmatch.vlm.milestones import FRACTIONS, step_at
from vlmatch.vlm.runs import Run, finished


@dataclass(frozen=True)
class ByRecipe:
    """Trains encoders with `llm` and `recipe`, in the folders of task=train, and measures them with `benchmark`."""

    settings: SearchSettings

    @classmethod
    def of(cls, settings: SearchSettings) -> "ByRecipe":
        """Raises VlmatchError if trainings of the recipe can't race, or if `search.encoders` has an unknown name."""
        settings.require("recipe", "split", "benchmark", "llm")
        keys, allowed = settings.search, [*FRACTIONS, 1]
        if not set(keys.rungs) <= set(allowed):
            raise VlmatchError(
                f"search.rungs={list(keys.rungs)}; a recipe is only measured at {allowed}; give some of these"
            )
        if not settings.recipe.prompts:
            raise VlmatchError(
                f"recipe={settings.recipe.name} has no recipe.prompts, which the benchmarks need; give search.command"
            )
        cls.require_known(keys.encoders or ())
        return cls(settings)

    @staticmethod
    def require_known(names: Iterable[str]) -> None:
        """Raises VlmatchError if there is no yaml for an encoder of these names, because a training needs one."""
        for name in names:
            yaml_path("encoder", name)

    @property
    def title(self) -> str:
        """The name of the search: recipe, LLM, data and seed."""
        recipe = self.settings.recipe
        return f"{recipe.name}-{self.settings.llm.name}-{recipe.data}-{recipe.seed}"

    @property
    def fed(self) -> Fed:
        """What the recipe feeds the LLM, which decides the rule."""
        return "pooled" if self.settings.recipe.visual.what == "feature" else "patches"

    @property
    def about(self) -> Mapping[str, Any]:
        """The settings that affect the values of the search, as plain data."""
        settings, precision = self.settings, str(self.settings.trainer.precision)
        own = {} if precision == "32-true" else {"precision": precision}  # without it, so that earlier searches go on
        return {
            **own,
            "llm": settings.llm.plain(),
            "recipe": settings.recipe.lasting().plain(),
            "benchmark": [settings.benchmark.name, settings.benchmark.version],
            "truth": settings.answer.truth,
            "feature": settings.encoder.feature,
            "runs": str(settings.task.runs),
        }

    def train(self, tracker: Tracker, encoder: str, fraction: float, earlier: float, run_id: str) -> tuple[int, float]:
        """Train an encoder up to a fraction of the steps, from where it stands; returns the step and the truth there.

        At a milestone, the truth is measured on a fraction of the groups. Raises the errors of task=train.
        """
        try:
            return self._trained(tracker, encoder, fraction, run_id)
        finally:
            gc.collect()  # trainer and model refer to each other, and the next LLM needs their memory

    def _trained(self, tracker: Tracker, encoder: str, fraction: float, run_id: str) -> tuple[int, float]:
        settings = self.settings
        run = Run(self._encoder(encoder), settings.llm, settings.recipe, str(settings.trainer.precision))
        with run.held(settings.task.runs) as folder:
            log = finished(folder)
            if fraction < 1:
                if log is None:
                    training, datasets = prepared(settings, run, folder, tracker.lightning_logger(run_id))
                    step = training.fit_until(datasets, fraction)
                else:
                    step = step_at(fraction, log.steps)
                return step, self._value(measure_milestone(settings, run, folder, step))
            if log is None:
                training, datasets = prepared(settings, run, folder, tracker.lightning_logger(run_id))
                log = training.fit(datasets)
            if not has_result(settings.benchmark, folder):
                measure(settings, run, folder, log, tracker, run_id)
            return log.steps, self._value(read_file(folder / RESULT))

    def _value(self, scores: BenchmarkScores) -> float:
        return definition_of(scores, self.settings.answer.truth).value(scores)

    def _encoder(self, name: str) -> EncoderSettings:
        (found,) = named_configs("encoder", [name], self.settings.encoder.feature, _root_=self.settings.config)
        return EncoderSettings.of("encoder", OmegaConf.to_container(found, resolve=True))
