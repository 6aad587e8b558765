"""The page's first screen for one LLM: the shortlist, how often such lists held, and what other rules would say."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vlmatch.errors import enumerated
from vlmatch.evidence.replay import Figure
from vlmatch.ranking import LlmRanking, Opinion, Question
from vlmatch.ranking.against import Judgement
from vlmatch.report.words import (
    cost_words,
    held_on,
    limits_line,
    longer,
    percent,
    rule_line,
    sentence,
    spec_sheet_line,
    with_interval,
)

MANY = 8  # other encoders of a list, from which on they stand in two columns
NAMED = 6  # encoders in a fact
LEAST, AIMED, WIDTH = 0.5, 0.9, 300  # the usual left end of the drawing, the coverage that is aimed at, pixels


@dataclass(frozen=True)
class Fact:
    """One fact beside the shortlist: what it is about, what is said in short, and the rest of the sentence."""

    about: str
    says: str
    more: str = ""


@dataclass(frozen=True)
class Other:
    """A further encoder of the shortlist, with the size of it."""

    encoder: str
    size: str


@dataclass(frozen=True)
class Held:
    """How often lists by the rule held the best encoder of replayed pools, or one within a standard error of it.

    coverage, low, high: the share, and the interval that 95% of divisions of the families are in (None where it is not
    known). on: which families that is, in words. size: of the pools, drawn from n_encoders. length: the mean length of
    the lists. plain: the coverage of a plain list of that length. longer: why this list is longer; '' if it is not.
    """

    coverage: float
    low: float | None
    high: float | None
    on: str
    size: int
    n_encoders: int
    length: float
    plain: float
    longer: str

    @property
    def says(self) -> str:
        """The coverage in short, with its interval."""
        return f"{with_interval(Figure(self.coverage, self.low, self.high))} of replayed pools"

    @property
    def more(self) -> str:
        """What the coverage is of, and what a plain list would have given."""
        return (
            f"Pools of {self.size} from {self.n_encoders} encoders of trained VLMs, {self.on}: the list held the best, "
            f"or one within a standard error of it. Such lists had {self.length:.1f} names on average; on the families "
            f"that set the margin, plain lists of as many, the upright line, held it in {percent(self.plain)}."
            f"{self.longer}"
        )

    @property
    def strip(self) -> Markup:
        """The coverage with its interval, the plain list's, and the 90% aimed at, on an axis from 50% or 0 to 100%."""
        low, high = (self.coverage if share is None else share for share in (self.low, self.high))
        least = LEAST if min(low, self.plain) >= LEAST else 0.0

        def across(share: float) -> float:
            return WIDTH * (min(1.0, share) - least) / (1 - least)

        ticks = "".join(
            f'<text x="{across(share):.0f}" y="29" text-anchor="{anchor}">{percent(share)}</text>'
            for share, anchor in ((least, "start"), (AIMED, "middle"), (1.0, "end"))
        )
        return Markup(
            f'<svg class="held" viewBox="0 0 {WIDTH} 32" aria-hidden="true">'
            f'<line class="track" x1="0" y1="9" x2="{WIDTH}" y2="9"/>'
            f'<line class="aim" x1="{across(AIMED):.1f}" y1="2" x2="{across(AIMED):.1f}" y2="16"/>'
            f'<line class="reach" x1="{across(low):.1f}" y1="9" x2="{across(high):.1f}" y2="9"/>'
            f'<line class="plain" x1="{across(self.plain):.1f}" y1="3" x2="{across(self.plain):.1f}" y2="15"/>'
            f'<circle class="dot" cx="{across(self.coverage):.1f}" cy="9" r="5"/>{ticks}</svg>'
        )


@dataclass(frozen=True)
class FirstScreen:
    """What one LLM's first screen shows.

    pick: None without a recommendation; then `refusal` says why. costs: what is known of the pick's cost. held: None
    for a rule that was not replayed. limits: None where the evidence covers the pool.
    """

    llm: str
    pick: str | None
    refusal: str | None
    costs: tuple[str, ...]
    others: tuple[Other, ...]
    held: Held | None
    facts: tuple[Fact, ...]
    limits: str | None
    rule: str
    warnings: tuple[str, ...]

    @property
    def many(self) -> bool:
        """Whether the list is too long for one column."""
        return len(self.others) >= MANY


def first_screen(llm: LlmRanking, question: Question) -> FirstScreen:
    """What the page's first screen shows of this ranking."""
    listed = llm.shortlist.encoders if llm.shortlist else ()
    return FirstScreen(
        llm=llm.llm,
        pick=llm.pick,
        refusal=llm.refusal,
        costs=tuple(cost_words(llm.ranked(llm.pick).cost, question.fed)) if llm.pick else (),
        others=tuple(Other(name, _size(llm, name)) for name in listed[1:]),
        held=_held(llm),
        facts=(*_opinions(llm), *_spec_sheet(llm), *_budget(llm), *_against(llm, question)),
        limits=limits_line(llm.limits),
        rule=rule_line(llm, question),
        warnings=llm.warnings,
    )


def _held(llm: LlmRanking) -> Held | None:
    if llm.shortlist is None or (found := llm.shortlist.calibration) is None:
        return None
    share = found.coverage_for_new
    if share.value is None:
        return None
    return Held(
        share.value,
        share.low,
        share.high,
        held_on(found),
        found.size,
        llm.world.n_encoders,
        found.length,
        found.top_k,
        f"{why}." if (why := longer(llm, " Yours")) else "",
    )


def _size(llm: LlmRanking, encoder: str) -> str:
    parameters = llm.ranked(encoder).cost.parameters
    return "" if parameters is None else f"{parameters / 1e6:,.1f}M"


def _opinions(llm: LlmRanking) -> list[Fact]:
    listed = llm.shortlist.encoders if llm.shortlist else ()
    return [
        Fact(
            f"{each.of[:1].upper()}{each.of[1:]} would say",
            " or ".join(each.encoders),
            " ".join([*_on_list(each.encoders, listed), _lost(each)]),
        )
        for each in llm.opinions
    ]


def _spec_sheet(llm: LlmRanking) -> list[Fact]:
    says, _, more = (spec_sheet_line(llm) or "").partition(": ")
    return [Fact("Were the scores worth computing?", sentence(says), sentence(more))] if says else []


def _on_list(encoders: Sequence[str], listed: Sequence[str]) -> list[str]:
    """Whether these encoders are on the shortlist; nothing where there is none."""
    held = [encoder for encoder in encoders if encoder in listed]
    if not listed:
        return []
    return ["On the list." if len(held) == len(encoders) else f"{', '.join(held) or 'Not'} on the list."]


def _lost(opinion: Opinion) -> str:
    if opinion.regret is None:
        return "What its picks lose was not measured for this setting."
    return f"In replayed pools of all families its picks lost {percent(opinion.regret)} of what random picks lose."


def _budget(llm: LlmRanking) -> list[Fact]:
    """How many meet the budget, and its price; where nobody meets it, all that is said of it."""
    head, *others = llm.budget.lines() or [""]
    shown = others[:1] if llm.budget.best else others
    return [Fact("Within the budget", head, " ".join(map(sentence, shown)))] if head else []


def _against(llm: LlmRanking, question: Question) -> list[Fact]:
    if question.against is None:
        return []
    words: tuple[Judgement, ...] = ("unclear", "worse")
    rest = [f"{word.capitalize()}: {enumerated(names, NAMED)}." for word in words if (names := llm.judged(word))]
    better = enumerated(llm.judged("better"), NAMED) or "none for certain"
    return [Fact(f"Better than {question.against}", better, " ".join(rest))]
