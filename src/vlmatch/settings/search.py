"""Settings of task=search: which encoders race, under which budget, and who trains them."""

import shlex
import string
from collections.abc import Sequence
from typing import Literal

from vlmatch.configs import nearest
from vlmatch.errors import VlmatchError
from vlmatch.settings.command import Section, Settings
from vlmatch.settings.node import Count, Node, Number, Place
from vlmatch.settings.tasks import RunsTask

PLACEHOLDERS = ("encoder", "llm", "steps", "earlier", "folder")
"""What braces in `search.command` and `search.value_file` may name (docs/search.md)."""


class SearchKeys(Node):
    """The keys of `search`.

    encoders: the candidates, best first; null: those that the store holds, in the order of the rule. arms: how many of
    them race; null: all that are named, or the rule's shortlist. runs, hours, gpu_hours: the budget; every limit that
    is given applies. gpus: how many GPUs a training uses. rungs: the fractions of a whole training after which encoders
    are compared. keep: the fraction of the encoders that goes on; null: as many as the budget allows, at least half.
    command: trains one encoder; null: our recipe does. steps: of a whole training by the command. value_file: the file
    that the command writes its number to; null: it prints it. continues: whether the command goes on from
    where its earlier training of the encoder stopped. better: which values are better, higher or lower ones. retry:
    whether trainings that failed are tried again. folder: each search gets its own folder in it.
    """

    encoders: Sequence[str] | None
    arms: Count | None
    runs: Number | None
    hours: Number | None
    gpu_hours: Number | None
    gpus: Count
    rungs: Sequence[Number]
    keep: Number | None
    command: str | None
    steps: Count | None
    value_file: str | None
    continues: bool
    better: Literal["higher", "lower"]
    retry: bool
    folder: Place

    def model_post_init(self, context: object) -> None:
        """Raises VlmatchError if values make no sense: an empty budget, rungs that don't rise, an unknown name."""
        self._require_budget()
        if self.encoders is not None and (not self.encoders or len(set(self.encoders)) < len(self.encoders)):
            raise VlmatchError(f"search.encoders={list(self.encoders)}; wanted one or more names, each of them once")
        rungs = list(self.rungs)
        if not rungs or rungs != sorted(set(rungs)) or rungs[0] <= 0 or rungs[-1] != 1:
            raise VlmatchError(
                f"search.rungs={rungs}; wanted rising fractions of a whole training that end with 1, as in [0.25,0.5,1]"
            )
        if self.keep is not None and not 0 < self.keep <= 1:
            raise VlmatchError(
                f"search.keep={self.keep}; wanted a number above 0 and up to 1, or null for what the budget allows"
            )
        if self.command is None:
            for key in ("steps", "value_file"):
                if getattr(self, key) is not None:
                    raise VlmatchError(
                        f"search.{key}={getattr(self, key)} says how a command trains; give search.command"
                    )
            return
        if self.steps is None:
            raise VlmatchError(
                "search.steps is missing; give the steps of a whole training by search.command, such as 1000"
            )
        if not self.command.strip():
            raise VlmatchError("search.command=''; wanted a command, such as 'bash train.sh {encoder} {steps}'")
        for key in ("command", "value_file"):
            _require_known(f"search.{key}", getattr(self, key) or "")
        if not {"encoder", "folder"} & set(placeholders(self.command)):
            raise VlmatchError(
                f"search.command='{self.command}' would train the same for every encoder; write {{encoder}} where its "
                "name belongs, as in 'bash train.sh {encoder} {steps}'"
            )

    def _require_budget(self) -> None:
        """Raise VlmatchError if there is no budget, or one that is too small whatever a training takes."""
        given = {key: getattr(self, key) for key in ("runs", "hours", "gpu_hours") if getattr(self, key) is not None}
        if not given:
            raise VlmatchError(
                "search.runs is missing; give a budget: search.runs=8, search.hours=6 or search.gpu_hours=40"
            )
        for key, value in given.items():
            if not value > 0:
                raise VlmatchError(f"search.{key}={value}; wanted a number above 0")
        if self.runs is not None and self.runs < 1:
            raise VlmatchError(f"search.runs={self.runs} is less than one whole training; give 1 or more")


class SearchSettings(Settings[RunsTask]):
    """All settings of `task=search`."""

    search = Section(SearchKeys)


def placeholders(text: str) -> list[str]:
    """The names in braces of a text. Raises ValueError if a brace is left open."""
    return [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]


def _require_known(key: str, text: str) -> None:
    """Raise VlmatchError if the text, a command line or a path, can't be filled in."""
    try:
        if key == "search.command":
            shlex.split(text)
        unknown = [name for name in placeholders(text) if name not in PLACEHOLDERS]
    except ValueError as error:
        raise VlmatchError(f"{key}='{text}': {error}; close it, and write a literal brace twice") from error
    for name in unknown:
        raise VlmatchError(f"{key} has {{{name}}}, which is not known; {nearest(name, PLACEHOLDERS)}")
