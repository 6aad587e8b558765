"""All settings of one command, read from Hydra's config once, at the start of a task."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Literal, Self, TypeVar, cast, get_type_hints, overload

from omegaconf import DictConfig, ListConfig, OmegaConf
from pydantic import ConfigDict, Field, PrivateAttr, ValidationInfo, field_validator

from vlmatch.configs import NOT_GLOBAL, choices, groups, nearest
from vlmatch.errors import VlmatchError, shown
from vlmatch.objects import plain
from vlmatch.settings.budget import BudgetSettings, CostSettings
from vlmatch.settings.buildable import (
    BenchmarkSettings,
    EncoderSettings,
    LlmSettings,
    ObjectSettings,
    ProbeSettings,
    SplitSettings,
)
from vlmatch.settings.node import Node, Place
from vlmatch.settings.recipe import RecipeSettings
from vlmatch.settings.selection import with_selected
from vlmatch.settings.tasks import TaskSettings
from vlmatch.settings.work import AnswerSettings, StudySettings, TrackingSettings, TrainerSettings

Keys = TypeVar("Keys", bound=TaskSettings)
N = TypeVar("N", bound=Node)


class Section(Generic[N]):
    """A group of the config that some tasks need, read when a task asks for it."""

    def __init__(self, schema: type[N]) -> None:
        self.schema = schema

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: "Settings[Any]", owner: type) -> N: ...

    def __get__(self, instance: "Settings[Any] | None", owner: type) -> "Self | N":
        if instance is None:
            return self
        if self.name not in instance._sections:
            instance._sections[self.name] = self._read(instance.config)
        return cast("N", instance._sections[self.name])

    def _read(self, config: DictConfig) -> N:
        """Raises VlmatchError if the group is not chosen, and on a key that is missing, unknown or mistyped."""
        if config.get(self.name) is None:
            offered = nearest("", choices(self.name))
            raise VlmatchError(f"{self.name}=null, but this task needs it; give {self.name}=NAME: {offered}")
        return self.schema.of(self.name, plain(config[self.name]))


class Settings(Node, Generic[Keys]):
    """What a task is given: its own keys under `task`, and all other settings, typed and checked."""

    model_config = ConfigDict(ignored_types=(Section,))

    task: Keys
    pool: Literal["auto", "store", "experiment"]
    selection: str
    score: Mapping[str, ObjectSettings] = Field({}, min_length=1, validate_default=True)  # score=[] leaves no key
    budget: BudgetSettings
    costs: Mapping[str, CostSettings]
    trainer: TrainerSettings
    tracking: TrackingSettings
    answer: AnswerSettings
    study: StudySettings
    store: Place
    data: Place
    outputs: Place
    results: Place | None
    offline: bool
    targets: Sequence[str]

    encoder = Section(EncoderSettings)
    llm = Section(LlmSettings)
    probe = Section(ProbeSettings)
    recipe = Section(RecipeSettings)
    split = Section(SplitSettings)
    benchmark = Section(BenchmarkSettings)

    _sections: dict[str, Node] = PrivateAttr(default_factory=dict)
    _config: DictConfig = PrivateAttr()

    @field_validator("score", mode="before")
    @classmethod
    def _with_selected(cls, score: Any, others: ValidationInfo) -> Any:
        """Add the score that orders the pool, unless no scores were given, or something other than a mapping."""
        return with_selected(score, others.data.get("selection")) if score and isinstance(score, Mapping) else score

    @classmethod
    def read(cls, config: DictConfig) -> Self:
        """The settings in Hydra's config.

        Raises VlmatchError on the first key that is missing, unknown or of a wrong type, and if the user's local
        yaml has no effect. The groups that only some tasks need are read when a task asks for them.
        """
        if config.get("local"):
            raise VlmatchError(NOT_GLOBAL)
        sections = [name for name in dir(cls) if isinstance(getattr(cls, name, None), Section)]
        keys = cls.keys()
        known = {*keys, *sections, *groups()}
        for key in map(str, config):
            if key not in known and not _refers(config, key):
                raise VlmatchError(f"{key}={shown(config[key])} is not a key of the config; {nearest(key, keys)}")
        settings = cls.of("", {key: _plain(config, key) for key in keys if key in config})
        settings._config = config
        return settings

    def require(self, *sections: str) -> None:
        """Read these groups now, so that a wrong key in them ends the task before it has done any work."""
        for section in sections:
            getattr(self, section)

    @property
    def config(self) -> DictConfig:
        """Hydra's config that these settings are from: to log it, and to compose further yamls with its values."""
        return self._config


def settings_for(function: Callable[[Any], Any], config: DictConfig) -> Any:
    """The argument for a task's function: the settings that its annotation names, else Hydra's config."""
    for hint in get_type_hints(function).values():
        if isinstance(hint, type) and issubclass(hint, Settings):
            return hint.read(config)
    return config


def _refers(config: DictConfig, key: str) -> bool:
    """Whether some value refers to this key, as paths refer to ${data}: yamls may add keys for that."""
    values = str(OmegaConf.to_container(config, resolve=False))
    return re.search(rf"\$\{{{re.escape(key)}[.\[}}]", values) is not None


def _plain(config: DictConfig, key: str) -> Any:
    """A value of the config, resolved."""
    value = config[key]
    if isinstance(value, ListConfig):
        return OmegaConf.to_container(value, resolve=True)
    return plain(value) if isinstance(value, DictConfig) else value
