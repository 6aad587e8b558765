"""Settings of a training: the stages of a recipe, its projector, its adapters, and what must fit together."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field

from vlmatch.errors import VlmatchError
from vlmatch.settings.buildable import DataSettings
from vlmatch.settings.node import Count, Name, Node, Number

Part = Literal["projector", "encoder", "llm", "lora"]
What = Literal["feature", "patches"]
Kind = Literal["linear", "mlp2x_gelu", "mlp2x_gelu_normalised"]

_PLACES = ("_json", "_images")  # ends of keys that say where data lie on this machine


class VisualSettings(Node):
    """What the projector is fed. cached: features are computed once and stored, and the encoder stays frozen."""

    what: What
    cached: bool


class ProjectorSettings(Node):
    """The projector; `vlm.projector.Projector` says what each value does. tokens: visual tokens out of each feature."""

    kind: Kind
    tokens: Count
    standardised: bool = False


class LoraSettings(Node):
    """Low-rank adapters (Hu et al., 2022) in the linear layers of the LLM that are named in `targets`."""

    r: Count
    alpha: Number
    dropout: Number
    targets: Sequence[str]


class StageSettings(Node):
    """One stage of a training.

    trains: the highest learning rate of each part that learns. steps, epochs: how long; one of them is null.
    batch_size: samples of a step, over all processes. accumulate: into how many parts a process divides its samples
    of a step; every answer token counts the same whatever the number, and only dropout draws other numbers. warm_up:
    the part of the steps over which learning rates rise. clip: the largest norm of the gradient. workers: processes
    that read pictures.
    """

    name: Name
    data: DataSettings
    trains: Mapping[Part, Number]
    steps: Count | None
    epochs: Number | None
    batch_size: Count
    accumulate: Count
    warm_up: Number
    weight_decay: Number
    clip: Number | None
    gradient_checkpointing: bool
    workers: int = Field(ge=0)


class RecipeSettings(Node):
    """How a VLM is trained. Results of different versions never mix.

    data: the name of what it trains on. llm_dtype: of the LLM's weights. outcome: what a run took. prompts: the text of
    each question, for recipes whose VLMs our benchmarks can measure. Keys that end in _json or _images are paths on
    this machine, which stages refer to.
    """

    model_config = ConfigDict(extra="allow")

    name: Name
    version: int
    data: Name
    seed: int = Field(ge=0, lt=2**32)
    visual: VisualSettings
    projector: ProjectorSettings
    lora: LoraSettings | None
    stages: Sequence[StageSettings] = Field(min_length=1)
    prompts: Mapping[str, str] = {}
    llm_dtype: str | None = None
    outcome: str = ""

    @classmethod
    def may_have(cls, key: str) -> bool:
        """A key that names a place of data is allowed: its ending says so."""
        return key.endswith(_PLACES)

    def model_post_init(self, context: Any) -> None:
        """Raises VlmatchError if settings contradict each other."""
        visual, adapted = self.visual, [n for n, stage in enumerate(self.stages) if "lora" in stage.trains]
        if visual.cached and visual.what != "feature":
            raise VlmatchError(
                f"recipe.visual.what={visual.what} with recipe.visual.cached=true: only features are cached; give "
                "recipe.visual.cached=false"
            )
        if self.projector.standardised and not visual.cached:
            raise VlmatchError(
                "recipe.projector.standardised=true needs cached features; give recipe.visual.cached=true"
            )
        if adapted and self.lora is None:
            raise VlmatchError(
                f"recipe.stages.{adapted[0]}.trains has lora, but recipe.lora=null; give recipe.lora r, alpha, dropout "
                "and targets"
            )
        for number, stage in enumerate(self.stages):
            if (stage.steps is None) == (stage.epochs is None):
                raise VlmatchError(
                    f"recipe.stages.{number}: steps={stage.steps} and epochs={stage.epochs}; give one of them, and "
                    "null for the other"
                )

    def trains(self, part: Part) -> bool:
        """Whether any stage trains this part."""
        return any(part in stage.trains for stage in self.stages)

    def fixed(self) -> dict[str, Any]:
        """The settings that define the recipe, as plain values: a result keeps and hashes them.

        They leave out data and seed, which a result has as fields of its own, the outcome, paths on this machine, and
        the LLM's dtype, because which dtype is fast depends on the machine.
        """
        return self._without({"data", "seed", "outcome", "llm_dtype"})

    def lasting(self) -> Self:
        """The recipe without the outcome, paths on this machine and the LLM's dtype: what is kept beside weights."""
        return self.of("recipe", self._without({"outcome", "llm_dtype"}))

    def _without(self, keys: Iterable[str]) -> dict[str, Any]:
        places = dict.fromkeys(self.model_extra or {}, True)
        data = {"data": {"split", "share", "path", "images"}}
        left_out: dict[str, Any] = {**dict.fromkeys(keys, True), **places, "stages": {"__all__": data}}
        return self.model_dump(by_alias=True, exclude_unset=True, exclude=left_out)
