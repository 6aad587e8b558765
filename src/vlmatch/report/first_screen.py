"""The answer for one LLM: the shortlist and the facts beside it, as the terminal, the Markdown and the page show it."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from vlmatch.costs.candidate import CandidateCost
from vlmatch.errors import enumerated
from vlmatch.evidence.shortlists import Calibration
from vlmatch.ranking import Fed, LlmRanking, Question, RankedEncoder
from vlmatch.ranking.against import Judgement
from vlmatch.report.words import percent, with_interval

FED = {
    "pooled": "one pooled feature; say answer.fed=patches if yours is fed all patches, as in LLaVA",
    "patches": "all patches",
}


@dataclass(frozen=True)
class Fact:
    """One fact beside the shortlist: `about` and `says` read as one clause, and `more` are further ones.

    details: clauses that the page alone has room for.
    """

    about: str
    says: str
    more: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "; ".join((f"{self.about} {self.says}", *self.more))


@dataclass(frozen=True)
class Choice:
    """What choosing by one rule means: the encoders that it puts first, and what such picks lost.

    listed: how many of these encoders are on the shortlist. lost: the mean regret of its picks, as a share of a random
    pick's. later: the same among encoders whose VLMs were trained after the rule was frozen. None if not measured.
    """

    by: str
    encoders: tuple[str, ...]
    listed: int
    lost: float | None
    later: float | None

    @property
    def on_list(self) -> str:
        """Whether its encoders are on the shortlist, in a word."""
        return "yes" if self.listed == len(self.encoders) else "some" if self.listed else "no"


@dataclass(frozen=True)
class FirstScreen:
    """What is said of one LLM before its table.

    listed: the shortlist, the pick first; without a recommendation it is empty and `refusal` says why. cost: what is
    known of the pick's cost; '' if nothing is. held: how often such lists held the best encoder, by `calibration`,
    which is None for a rule that was not replayed. choices: what this rule and others would pick. trained_later: how
    many encoders `Choice.later` is about; 0 if no choice has it. verdict: whether the spec sheet would have done as
    well as the rule. kept_out: which candidates do not meet the budget. limits: where the evidence does not speak about
    this pool.
    """

    llm: str
    listed: tuple[RankedEncoder, ...]
    refusal: str | None
    cost: str
    held: Fact | None
    calibration: Calibration | None
    choices: tuple[Choice, ...]
    trained_later: int
    verdict: Fact | None
    budget: Fact | None
    kept_out: tuple[str, ...]
    against: Fact | None
    limits: str | None
    rule: str
    warnings: tuple[str, ...]

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads of the table of choices; "lost later" only if that is known of a choice."""
        return ("chosen by", "first", "on the list", "lost", *(["lost later"] if self.trained_later else []))

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells of the table of choices, below `heads`."""
        return [
            (each.by, " or ".join(each.encoders), each.on_list, _share(each.lost))
            + ((_share(each.later),) if self.trained_later else ())
            for each in self.choices
        ]

    @property
    def measured(self) -> str:
        """What the losses in the table of choices are."""
        after = f"{self.trained_later} encoders whose VLMs were trained after the rule was frozen"
        later = f" Lost later: the same among {after}." if self.trained_later else ""
        return (
            "lost: what such picks lost in replayed pools, as a share of what random picks lose. This rule and the "
            "spec sheet were measured on families that had no part in choosing the rule, the others on all families."
            f"{later}"
        )

    @property
    def headline(self) -> str:
        """The shortlist, or that there is none and why."""
        if not self.listed:
            return f"no recommendation for {self.llm}: {self.refusal}"
        first, *others = (each.row.encoder for each in self.listed)
        return f"shortlist for {self.llm}: {first}" + (f" (the pick), {enumerated(others)}" if others else "")

    @property
    def facts(self) -> list[Fact]:
        """All facts that are known, in their order."""
        found = (self.held, self.verdict, self.budget, self.against)
        return [fact for fact in found if fact is not None]

    def lines(self) -> list[str]:
        """The answer in at most ten lines, and up to five for a budget; the shortlist comes first."""
        cost = f"cost of {self.listed[0].row.encoder}: {self.cost or 'not known'}" if self.listed else None
        found = (self.headline, *self.facts, *self.kept_out, cost, self.limits, self.rule)
        return [str(line) for line in found if line]


def first_screen(llm: LlmRanking, question: Question) -> FirstScreen:
    """What is said of this ranking, which answers `question`."""
    listed = tuple(map(llm.ranked, llm.shortlist.encoders)) if llm.shortlist else ()
    choices, later = tuple(_choices(llm)), llm.world.later
    return FirstScreen(
        llm=llm.llm,
        listed=listed,
        refusal=llm.refusal,
        cost=_cost(listed[0].cost, question.fed) if listed else "",
        held=_held(llm),
        calibration=llm.shortlist.calibration if llm.shortlist else None,
        choices=choices,
        trained_later=later.n_encoders if later and any(each.later is not None for each in choices) else 0,
        verdict=_verdict(llm),
        budget=_budget(llm),
        kept_out=tuple(llm.budget.kept_out),
        against=_against(llm, question.against) if question.against else None,
        limits=f"the evidence does not cover this pool: {'; '.join(llm.limits)}" if llm.limits else None,
        rule=f"rule: {llm.rule} (selection={question.selection}), for an LLM that is fed {FED[question.fed]}",
        warnings=llm.warnings,
    )


def _cost(cost: CandidateCost, fed: Fed) -> str:
    """What is known of an encoder's cost. Its tokens count only where the LLM is fed all patches."""
    parts = (
        f"{cost.parameters / 1e6:,.1f}M parameters" if cost.parameters is not None else "",
        f"{cost.gflops:,.1f} GFLOPs an image" if cost.gflops is not None else "",
        f"{cost.tokens:,} tokens" if cost.tokens is not None and fed == "patches" else "",
        f"{cost.images_per_second:,.0f} images a second ({cost.device})" if cost.images_per_second else "",
        f"licence {cost.licence}" if cost.licence else "",
    )
    return ", ".join(filter(None, parts))


def _held(llm: LlmRanking) -> Fact | None:
    """How often such lists held the best encoder in replayed pools; None without a list."""
    if llm.shortlist is None:
        return None
    found = llm.shortlist.calibration
    if found is None:
        why = "no list by this rule was replayed, so the shortlist is its first encoder alone"
        return Fact("how often such lists held the best encoder is", "not known", (why,))
    on = "of the families that set the margin"
    if found.held_out.value is not None:
        on = f"of families that the margin had not seen ({with_interval(found.coverage)} on those that set it)"
    details = (
        f"these were pools of {found.size} from {llm.world.n_encoders} encoders of trained VLMs, {on}",
        "an encoder within a standard error of the best counts as the best",
        f"on the families that set the margin, plain lists of that length held the best in {percent(found.top_k)}",
    )
    says = f"{with_interval(found.coverage_for_new)} of replayed pools"
    more = (f"such lists had {found.length:.1f} names on average", *_longer(llm, found))
    return Fact("such lists held the best encoder in", says, more, details)


def _longer(llm: LlmRanking, found: Calibration) -> list[str]:
    """Where a list narrows the choice less than replayed ones did: by how much, and why; else nothing."""
    listed, candidates = len(llm.shortlist.encoders if llm.shortlist else ()), _candidates(llm)
    longer, whole = listed > ceil(found.length), listed == candidates > 1
    if not longer and not whole:
        return []
    has = f"all {candidates} candidates, so it narrows nothing" if whole else f"{listed} of the {candidates} candidates"
    why = ": their order changes with the choice of pairs; more pairs may shorten it" if longer else ""
    return [f"yours has {has}{why}"]


def _candidates(llm: LlmRanking) -> int:
    return sum(each.value is not None for each in llm.encoders)


def _choices(llm: LlmRanking) -> Iterator[Choice]:
    """What this rule and others put first, and what their picks lost; this rule only if it was replayed.

    The losses of the rule and of the spec sheet are from families that had no part in choosing the rule. The rule's is
    that of whichever rule each half of the families would have chosen. Those of the others are from all families.
    """
    n, names = _candidates(llm), [] if llm.shortlist is None else llm.shortlist.encoders
    held_out = llm.world.chosen_by(n)
    if llm.shortlist and llm.shortlist.calibration:
        lost = held_out.fraction.value if held_out else None
        yield Choice("this rule", (names[0],), 1, lost, llm.world.later_regret(llm.world.rule.name, n))
    for each in llm.opinions:
        unseen = held_out.by_rule.get(each.rule) if held_out else None
        listed = sum(encoder in names for encoder in each.encoders)
        yield Choice(each.of, each.encoders, listed, unseen.value if unseen else each.regret, each.later)


def _share(share: float | None) -> str:
    return "?" if share is None else percent(share)


def _verdict(llm: LlmRanking) -> Fact | None:
    """Whether the spec sheet would have done as well as the rule, by the interval of their difference over families.

    None for a rule that was not replayed.
    """
    if llm.shortlist is None or llm.shortlist.calibration is None:
        return None
    more = llm.world.spec_sheet_loses_more
    if more.value is None:
        return None
    worse = more.low is not None and more.low > 0
    says = "would not have done as well" if worse else "would have done as well, as far as the evidence can tell"
    detail = f"over all families, its picks lost {with_interval(more)} more of what random picks lose"
    return Fact("without the scores, the spec sheet", says, details=(detail,))


def _budget(llm: LlmRanking) -> Fact | None:
    """How many candidates meet the budget, and its price; None without a budget."""
    found = llm.budget
    if not found.budget.is_set:
        return None
    return Fact(f"within {found.budget}:", found.meets, (found.price,) if found.price else ())


def _against(llm: LlmRanking, current: str) -> Fact:
    """Which candidates are better or worse than the encoder that the user has."""
    words: tuple[Judgement, ...] = ("unclear", "worse")
    others = tuple(f"{word}: {enumerated(names)}" for word in words if (names := llm.judged(word)))
    return Fact(f"better than {current}:", enumerated(llm.judged("better")) or "none for certain", others)
