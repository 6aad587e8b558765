"""One training among many: its name, its folder, and the settings under which it may continue."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmatch.configs import choices, chosen
from vlmatch.encoders.spec_sheet import FACTS
from vlmatch.errors import VlmatchError
from vlmatch.files import write_text
from vlmatch.machine.disk import reading
from vlmatch.machine.processes import launched, process_rank
from vlmatch.machine.waiting import locked
from vlmatch.moved import to_first_names
from vlmatch.results import RESULT
from vlmatch.settings.buildable import EncoderSettings, LlmSettings
from vlmatch.settings.recipe import RecipeSettings
from vlmatch.vlm.fit import DONE, FINAL
from vlmatch.vlm.saved import DESCRIPTION, Description
from vlmatch.vlm.training_log import TrainingLog

IDENTITY = "run.json"
VLM_FOLDER = "vlm"  # the files of the training itself
TRACKED = "mlflow_run"  # the file with the id of its run in MLflow
UNUSED = {
    "recipe": (),
    "encoder": FACTS,
    "llm": ("licence", "device_map", "template", "layer", "pooling", "max_tokens"),
}
"""The settings of each part that do not affect a training: facts about a model, and how the LLM embeds captions."""
PRECISION = "trainer.precision"  # early run.json files don't state it


@dataclass(frozen=True)
class Run:
    """A training of one encoder and one LLM by one recipe, which holds data and seed.

    precision: the number format that the trainer computes in; None for a task that does not train.
    """

    encoder: EncoderSettings
    llm: LlmSettings
    recipe: RecipeSettings
    precision: str | None = None

    @property
    def group(self) -> str:
        """Recipe, LLM and data. The runs of one group compare encoders."""
        return f"{self.recipe.name}/{self.llm.name}-{self.recipe.data}"

    @property
    def name(self) -> str:
        """The run's folder, below the folder of all runs: group, encoder and seed."""
        return f"{self.group}/{self.encoder.name}-{self.recipe.seed}"

    @property
    def parent(self) -> str:
        """The name of the parent run in MLflow, which has a child for each seed."""
        return f"{self.group}/{self.encoder.name}"

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the run in MLflow."""
        return {**self.parent_tags, "task": "train", "seed": str(self.recipe.seed)}

    @property
    def parent_tags(self) -> dict[str, str]:
        """The tags of the parent run: those that all seeds have in common."""
        return {
            "task": "train seeds",
            "encoder": self.encoder.name,
            "llm": self.llm.name,
            "data": self.recipe.data,
            "recipe": f"{self.recipe.name} v{self.recipe.version}",
        }

    def results_of_all_seeds(self, runs: Path) -> list[Path]:
        """The result files of this run and of the runs that differ only in the seed."""
        found = (runs / self.group).glob(f"{self.encoder.name}-*/{RESULT}")
        seed = len(f"{self.encoder.name}-")  # another encoder's name may start with this one's and a hyphen
        return sorted(path for path in found if path.parent.name[seed:].isdigit())

    @property
    def about(self) -> dict[str, Any]:
        """What identifies the training, as plain values without paths on this machine, for run.json."""
        recipe = self.recipe.lasting()
        parts = {"encoder": self.encoder.plain(), "llm": self.llm.plain(), "recipe": recipe.plain()}
        return parts if self.precision is None else {**parts, "trainer": {"precision": self.precision}}

    def description(self, shape: tuple[int, int]) -> Description:
        """The description to save with the weights. shape: the number of features of an image, and their width."""
        return Description(
            format=1, encoder=self.encoder, llm=self.llm, recipe=self.recipe.lasting(), shape=list(shape)
        )

    @property
    def recipe_fingerprint(self) -> str:
        """SHA-256 of the recipe's `fixed` settings."""
        return _sha256(self.recipe.fixed())

    @contextmanager
    def held(self, runs: Path) -> Iterator[Path]:
        """Claim the folder of this run, and keep other processes from training or measuring it during the block.

        A process that holds it already is waited for. Of the processes of one job, only rank 0 holds it.
        Raises VlmatchError as `claim` does, and if it is held already but other processes of this job run: they don't
        wait for rank 0.
        """
        if process_rank() > 0:
            yield self.claim(runs)
            return
        folder = runs / self.name
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f".{folder.name}.lock"), f"training {self.name}", wait=not launched()):
            yield self.claim(runs)

    def claim(self, runs: Path) -> Path:
        """Make `runs`/NAME the folder of this run and return it.

        Raises VlmatchError if the folder has a run with other settings, or if `encoder.layer` differs from the
        encoder's yaml but `encoder.name` does not: results are stored by name.
        """
        layer, name = self.encoder.layer, self.encoder.name
        if layer is not None and name in choices("encoder") and layer != chosen("encoder", name).get("layer"):
            raise VlmatchError(
                f"encoder.layer={layer}: trainings are stored by the encoder's name, and '{name}' stands for its usual "
                f"layer; give this layer another name: encoder.name={name}_layer{layer}"
            )
        folder = runs / self.name
        found, asked = _identity(folder), _trained_by(self.about)
        difference = None if found is None else _difference(found, asked)
        begun = found is not None and (folder / VLM_FOLDER).exists()
        if begun and difference is not None:
            raise VlmatchError(
                f"'{folder}' has a run with other settings ({difference}), and a run can only continue with its "
                "own; remove the folder, or give another: task.runs=..."
            )
        if found is None or difference is not None:
            (folder / TRACKED).unlink(missing_ok=True)  # left by other settings that trained nothing
        if not begun:
            write_text(folder / IDENTITY, json.dumps(self.about, indent=1))
        return folder


def precision_of(folder: Path) -> str | None:
    """The number format that the training in `folder` computed in; None if it is not known."""
    found = (_identity(folder) or {}).get(PRECISION)
    return None if found is None else str(found)


def finished(folder: Path) -> TrainingLog | None:
    """The log of the training in `folder`; None if it has not finished, or if its final VLM was removed."""
    vlm = folder / VLM_FOLDER
    return TrainingLog.read(vlm / DONE) if (vlm / FINAL / DESCRIPTION).is_file() else None


def tracked(folder: Path) -> str | None:
    """The id of the training's run in MLflow; None if it has none yet."""
    path = folder / TRACKED
    return path.read_text().strip() if path.is_file() else None


def _sha256(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(to_first_names(values), sort_keys=True).encode()).hexdigest()


def _identity(folder: Path) -> dict[str, Any] | None:
    """The settings that affect the training in `folder`, by their full keys; None if there is no run.json."""
    path = folder / IDENTITY
    if not path.is_file():
        return None
    with reading(path, "remove it: the run then goes on under the settings of this command"):
        return _trained_by(json.loads(path.read_text()))


def _trained_by(about: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that affect a training, by their full keys, with the original names of classes and folders."""
    used = {part: _without(to_first_names(about[part]), unused) for part, unused in UNUSED.items()}
    precision = about.get("trainer", {}).get("precision")
    return dict(_leaves("", {**used, "trainer": {"precision": precision}}))


def _without(settings: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """Settings without these keys, also in the models that a model is made of."""
    left = {key: value for key, value in settings.items() if key not in keys}
    if "parts" in left:
        left["parts"] = [_without(part, keys) for part in left["parts"]]
    return left


def _leaves(key: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Every value of nested settings with its full key, such as recipe.stages.0.steps."""
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from _leaves(f"{key}.{name}" if key else name, value)
    elif isinstance(node, list | tuple) and node:
        for number, value in enumerate(node):
            yield from _leaves(f"{key}.{number}", value)
    else:
        yield key, node


def _difference(found: Mapping[str, Any], asked: Mapping[str, Any]) -> str | None:
    """The first setting that differs, in words; None if all are equal. An unknown precision equals every other."""
    for key in sorted(found.keys() | asked.keys()):
        old, new = found.get(key), asked.get(key)
        if old != new and not (key == PRECISION and None in (old, new)):
            return f"{key}={json.dumps(old)[:60]} instead of {json.dumps(new)[:60]}"
    return None
