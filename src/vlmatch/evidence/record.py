"""The record: what choosing by each score gave in replayed pools, frozen in `record.json` and read from there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from vlmatch.errors import VlmatchError, one_line
from vlmatch.evidence.choosing import Choosing
from vlmatch.evidence.pools import Kind
from vlmatch.evidence.replay import Figure, Outcome
from vlmatch.evidence.rules import Rule
from vlmatch.evidence.shortlists import Calibration
from vlmatch.settings.work import Fed

FILE = Path(__file__).with_name("record.json")
Row = TypeVar("Row", Outcome, Calibration)
SPEC_SHEET = "spec"  # the rule that every other one should beat
SIZE = 8  # of pools, where only one size is shown


@dataclass(frozen=True)
class Once:
    """The most that training every candidate once may lose, as a fraction of a random pick's regret; the least is 0."""

    kind: Kind
    size: int
    fraction: Figure


@dataclass(frozen=True)
class Embedded:
    """How the scores of a world embedded images and captions.

    protocol: the name in conf/protocol that embeds in the same way. title: this way in words. features: the image
    features that were used (`Header.rule`); empty if each encoder's own. layer, pooling: of the LLM, for captions.
    """

    protocol: str
    title: str
    features: tuple[str, ...]
    layer: int
    pooling: str


@dataclass(frozen=True)
class Later:
    """What choosing gave among encoders that were trained after the rule was frozen.

    outcomes: in random pools, for the chosen rule and those that it is compared with.
    """

    n_encoders: int
    n_families: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class WorldRecord:
    """What was replayed in one world.

    setting: what its LLM was fed. title: a name for readers. protocol: features, pairs, LLM and truth, in one sentence.
    embedded: what its scores were computed from. encoders: their names in this world. catalogue_families: the families
    of `encoders/catalogue.csv` that it has. llm_parameters: the size of its LLM. unit: of regrets. standard_error: of
    the difference of two truths, in that unit; 0 if it is not known. left_out: encoders of the same source that this
    world does not have. correlations: by rule, Spearman's correlation over all encoders; None if the rule gives all the
    same value. once: what training every candidate once may lose; empty for one seed. spec_sheet_loses_more: how much
    more the spec sheet's picks lose than the rule's in random pools of 8, as a fraction of a random pick's regret.
    rule: the rule that was chosen for the setting. spec_sheet: the rule of the spec sheet alone. later: what came out
    among encoders whose VLMs were trained after the rule was frozen; None if there are none.
    """

    name: str
    setting: Fed
    title: str
    protocol: str
    embedded: Embedded
    encoders: tuple[str, ...]
    n_families: int
    catalogue_families: tuple[str, ...]
    llm: str
    llm_parameters: int
    seeds: int
    unit: str
    standard_error: float
    left_out: tuple[str, ...]
    correlations: Mapping[str, Figure]
    outcomes: tuple[Outcome, ...]
    once: tuple[Once, ...]
    choosing: tuple[Choosing, ...]
    calibrations: tuple[Calibration, ...]
    spec_sheet_loses_more: Figure
    rule: Rule
    spec_sheet: Rule
    later: Later | None = None

    @property
    def n_encoders(self) -> int:
        """How many encoders were replayed."""
        return len(self.encoders)

    def outcome(self, rule: str, kind: Kind = "random", size: int = SIZE) -> Outcome | None:
        """What choosing by a rule gave in pools of the nearest replayed size; None if it was not replayed.

        If a kind was not replayed, because the world is too small for it, the outcome is that of random pools.
        """
        return _nearest([each for each in self.outcomes if each.rule == rule], kind, size)

    def regret(self, rule: str, kind: Kind = "random", size: int = SIZE) -> float | None:
        """A rule's mean regret as a fraction of that of a random pick; None if it was not replayed."""
        found = self.outcome(rule, kind, size)
        return None if found is None else found.fraction.value

    def later_regret(self, rule: str, size: int = SIZE) -> float | None:
        """The same among the encoders that were trained later, in random pools; None if it was not replayed there."""
        outcomes = self.later.outcomes if self.later else ()
        found = _nearest([each for each in outcomes if each.rule == rule], "random", size)
        return None if found is None else found.fraction.value

    def calibration(self, kind: Kind, size: int, rule: str | None = None) -> Calibration | None:
        """The calibrated shortlist of a rule (default: the chosen one) for pools of the nearest kind and size."""
        name = self.rule.name if rule is None else rule
        return _nearest([each for each in self.calibrations if each.rule == name], kind, size)

    def chosen_by(self, size: int = SIZE) -> Choosing | None:
        """What choosing the rule on half of the families gave on the other half, at the nearest size."""
        return min(self.choosing, key=lambda each: abs(each.size - size), default=None)


@dataclass(frozen=True)
class Record:
    """All that was replayed.

    rules: every rule and score that was replayed. candidates: the names of the rules that a setting's rule was chosen
    from. worlds: in the first world of a setting its rule was chosen; the others are the same world with another truth
    or without some rows.
    """

    version: int
    rules: tuple[Rule, ...]
    candidates: tuple[str, ...]
    worlds: tuple[WorldRecord, ...]

    def world(self, fed: Fed) -> WorldRecord:
        """The world that stands for LLMs that are fed this: a pooled feature, or all patches."""
        return next(each for each in self.worlds if each.setting == fed)

    def named(self, world: str) -> WorldRecord:
        """The world of this name; VlmatchError if there is none."""
        for each in self.worlds:
            if each.name == world:
                return each
        raise VlmatchError(f"record: no world '{world}'; wanted one of {', '.join(each.name for each in self.worlds)}")

    def rule(self, name: str) -> Rule:
        """The rule of this name; VlmatchError if it was not replayed."""
        for each in self.rules:
            if each.name == name:
                return each
        raise VlmatchError(f"record: no rule '{name}'; wanted one of {', '.join(each.name for each in self.rules)}")


@cache
def record(path: Path = FILE) -> Record:
    """The record in a file; VlmatchError if it is damaged."""
    try:
        return _adapter().validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise VlmatchError(f"record '{path}' can't be read: {one_line(error)}; restore it") from error


@cache
def _adapter() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def _nearest(rows: Iterable[Row], kind: Kind, size: int) -> Row | None:
    """The row of the nearest size (the larger of two equally near); of random pools if no row is of this kind."""
    found = list(rows)
    same = [row for row in found if row.kind == kind] or [row for row in found if row.kind == "random"]
    return min(same, key=lambda row: (abs(row.size - size), -row.size), default=None)
