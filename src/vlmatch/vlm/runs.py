"""One training among many: its name, its folder, and what it must agree with to be gone on with."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.files import renamed
from vlmatch.moved import to_first_names
from vlmatch.results import RESULT
from vlmatch.settings.buildable import EncoderSettings, LlmSettings
from vlmatch.settings.recipe import RecipeSettings
from vlmatch.vlm.fit import DONE
from vlmatch.vlm.saved import Description
from vlmatch.vlm.training_log import TrainingLog

IDENTITY = "run.json"
VLM_FOLDER = "vlm"  # what the training itself keeps
TRACKED = "mlflow_run"  # the id of its run in MLflow
UNUSED = {
    "recipe": (),
    "encoder": ("licence", "control"),
    "llm": ("licence", "device_map", "template", "layer", "pooling", "max_tokens"),
}
"""By part, the settings that change no training: facts about a model, and how an LLM embeds captions."""


@dataclass(frozen=True)
class Run:
    """What is trained by which recipe; the recipe holds data and seed."""

    encoder: EncoderSettings
    llm: LlmSettings
    recipe: RecipeSettings

    @property
    def group(self) -> str:
        """What runs share whose encoders can be compared: recipe, LLM and data."""
        return f"{self.recipe.name}/{self.llm.name}-{self.recipe.data}"

    @property
    def name(self) -> str:
        """The run's folder below that of all runs: the group's, encoder and seed."""
        return f"{self.group}/{self.encoder.name}-{self.recipe.seed}"

    @property
    def parent(self) -> str:
        """The name of the run over those of all seeds."""
        return f"{self.group}/{self.encoder.name}"

    @property
    def tags(self) -> dict[str, str]:
        """What MLflow's runs of it are found by."""
        return {**self.parent_tags, "task": "train", "seed": str(self.recipe.seed)}

    @property
    def parent_tags(self) -> dict[str, str]:
        """What all seeds have in common."""
        return {
            "task": "train seeds",
            "encoder": self.encoder.name,
            "llm": self.llm.name,
            "data": self.recipe.data,
            "recipe": f"{self.recipe.name} v{self.recipe.version}",
        }

    def results_of_all_seeds(self, runs: Path) -> list[Path]:
        """The results of this run and of those that differ from it by the seed alone."""
        found = (runs / self.group).glob(f"{self.encoder.name}-*/{RESULT}")
        seed = len(f"{self.encoder.name}-")  # another encoder's name may go on there
        return sorted(path for path in found if path.parent.name[seed:].isdigit())

    @property
    def about(self) -> dict[str, Any]:
        """The settings of all three as plain values, without paths on this machine: what is kept with the run."""
        recipe = self.recipe.lasting()
        return {"encoder": self.encoder.plain(), "llm": self.llm.plain(), "recipe": recipe.plain()}

    def description(self, shape: tuple[int, int]) -> Description:
        """What is kept beside the VLM's weights. shape: how many features an image has, and how wide they are."""
        return Description(
            format=1, encoder=self.encoder, llm=self.llm, recipe=self.recipe.lasting(), shape=list(shape)
        )

    @property
    def recipe_fingerprint(self) -> str:
        """SHA-256 over the fixed recipe."""
        return _sha256(self.recipe.fixed())

    def claim(self, runs: Path) -> Path:
        """Make `runs`/NAME the folder of this run and return it.

        Raises VlmatchError where a run with other settings has begun there.
        """
        folder = runs / self.name
        path = folder / IDENTITY
        found = json.loads(path.read_text()) if path.is_file() else None
        if found is not None:
            difference = _difference(_trained_by(found), _trained_by(self.about))
            if difference is None:
                return folder
            if (folder / VLM_FOLDER).exists():
                raise VlmatchError(
                    f"'{folder}' holds a run with other settings ({difference}): a checkpoint goes on only under the "
                    "settings that made it. Remove the folder, or give another: task.runs=..."
                )
        (folder / TRACKED).unlink(missing_ok=True)  # of settings that were refused before anything was trained
        with renamed(path) as temporary:
            temporary.write_text(json.dumps(self.about, indent=1))
        return folder


def finished(folder: Path) -> TrainingLog | None:
    """What the training in `folder` came to; None where it has not finished."""
    return TrainingLog.read(folder / VLM_FOLDER / DONE)


def tracked(folder: Path) -> str | None:
    """The id of MLflow's run of the training in `folder`, if one has begun."""
    path = folder / TRACKED
    return path.read_text().strip() if path.is_file() else None


def _sha256(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(to_first_names(values), sort_keys=True).encode()).hexdigest()


def _trained_by(about: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings that decide a training, under the names that they were first stored by."""
    return {
        part: {key: value for key, value in to_first_names(about[part]).items() if key not in unused}
        for part, unused in UNUSED.items()
    }


def _difference(found: Mapping[str, Mapping[str, Any]], asked: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The first setting that differs, in words; None where all are equal."""
    for part in found:
        old, new = found[part], asked[part]
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                return f"{part}.{key}: {json.dumps(old.get(key))[:60]} there, {json.dumps(new.get(key))[:60]} asked for"
    return None
