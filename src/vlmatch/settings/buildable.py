"""Settings of objects that a yaml names by `_target_`: keys that a whole kind shares have types, others are open."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field

from vlmatch.foreign import model_faults
from vlmatch.objects import build, version_of
from vlmatch.settings.node import Count, Name, Node, of_types


class ObjectSettings(Node):
    """A class or function, by its `_target_`, and its arguments, which the class or function itself checks."""

    model_config = ConfigDict(extra="allow")

    key: ClassVar[str | None] = None
    """Where these settings are in the whole config, for messages."""

    target: str = Field(alias="_target_")

    def build(self) -> Any:
        """The object. Raises VlmatchError if its target may not be built or does not take these arguments."""
        return build(self.plain(), self.key)


class ModelSettings(ObjectSettings):
    """An encoder or an LLM. Its open arguments are only in `plain()`; they are not attributes.

    parts: the models whose features it combines; none for most.
    """

    kind: ClassVar[str]

    choices: ClassVar[tuple[str, ...]]
    """Keys that a sweep may vary; embeddings with different choices are never compared."""

    name: Name
    parts: Sequence[Self] = ()

    def has_choices(self, stored: Mapping[str, Any]) -> bool:
        """Whether `stored`, the settings of stored embeddings, has the same choices as these settings."""
        return all(
            stored.get(key, chosen) == chosen for key, chosen in self.model_dump(include=set(self.choices)).items()
        )

    def build(self) -> Any:
        """The model. Raises VlmatchError if it can't be loaded, whatever its library raises."""
        remedy = (
            "check the file or folder that its yaml names and its other keys, or remove and fetch it again; --debug "
            "shows the cause"
        )
        with model_faults(self.kind, self.name, "loading it", remedy):
            return super().build()

    @property
    def version(self) -> int:
        """The sum of the `version`s of its class and of its parts' classes; each is raised when its numbers change."""
        return version_of(self.plain())


class EncoderSettings(ModelSettings):
    """An encoder. feature: the rule by which tokens become one feature; `gridK` gives K x K of them.

    layer: the block or stage that tokens and feature are taken from; null: the default of each.
    """

    key: ClassVar[str | None] = "encoder"
    kind: ClassVar[str] = "encoder"
    choices: ClassVar[tuple[str, ...]] = ("feature",)

    feature: Name = "paper"
    layer: int | None = None


class LlmSettings(ModelSettings):
    """An LLM. layer, pooling, template, max_tokens: how it embeds a caption. dtype: of its weights."""

    key: ClassVar[str | None] = "llm"
    kind: ClassVar[str] = "llm"
    choices: ClassVar[tuple[str, ...]] = ("layer", "pooling", "template", "max_tokens")

    layer: int = -2
    pooling: Name = "last"
    template: str = "{caption}"
    max_tokens: int = 512
    dtype: str | None = None


class ProbeSettings(ObjectSettings):
    """A probe. The reader that `_target_` names checks its options, which are those of `probes.selection.ProbeOptions`.

    archive: the package that holds its data. split: the whole split that it is a share of, or the name of one split of
    a dataset.
    """

    key: ClassVar[str | None] = "probe"

    name: Name | None = None
    path: str | None = None
    archive: ObjectSettings | None = None
    split: Annotated[Mapping[str, Any] | str | None, of_types("a name, or a split", str, dict, type(None))] = None


class SplitSettings(ObjectSettings):
    """A division of data into shares. probe, sources: the data that `task=fetch` fetches for it.

    split: the smaller split that it extends, if any. fetched_by: the command that fetches the sources, for messages.
    """

    key: ClassVar[str | None] = "split"

    probe: ProbeSettings | None = None
    split: Self | None = None
    fetched_by: str = "task=fetch task.what=split"
    sources: Mapping[str, ObjectSettings] = {}


class DrawSettings(Node):
    """How many pictures are drawn from a source, and how many of one category at most."""

    items: Count
    of_category: Count


class BenchmarkSettings(ObjectSettings):
    """A suite of benchmarks; results of different versions never mix. sources: the pictures of each source."""

    key: ClassVar[str | None] = "benchmark"

    name: Name
    version: int
    sources: Mapping[str, DrawSettings] = {}


class DataSettings(ObjectSettings):
    """The training data of a stage. template, pad: how conversations are written and pictures padded, if they are."""

    key: ClassVar[str | None] = "recipe.stages.N.data"

    template: str | None = None
    pad: Sequence[int] | None = None


MODELS: Mapping[str, type[EncoderSettings] | type[LlmSettings]] = {
    each.kind: each for each in (EncoderSettings, LlmSettings)
}
