"""The answer in words: the sentences that the terminal, the page and the Markdown share."""

from collections.abc import Sequence
from math import ceil

from vlmatch.costs.candidate import CandidateCost
from vlmatch.errors import enumerated
from vlmatch.evidence.replay import Figure
from vlmatch.evidence.shortlists import Calibration
from vlmatch.ranking import Fed, LlmRanking, Opinion
from vlmatch.ranking.against import Judgement
from vlmatch.ranking.question import Question

FED = {
    "pooled": "one pooled feature; say answer.fed=patches if yours is fed all patches, as in LLaVA",
    "patches": "all patches",
}


def headline(llm: LlmRanking) -> str:
    """The shortlist, or that there is none and why."""
    if llm.shortlist is None:
        return f"no recommendation for {llm.llm}: {llm.refusal}"
    first, *others = llm.shortlist.encoders
    if not others:
        return f"shortlist for {llm.llm}: {first}"
    return f"shortlist for {llm.llm}: {first} (the pick), {enumerated(others)}"


def held_line(llm: LlmRanking) -> str | None:
    """How often such lists held the best encoder in replayed pools; None for a rule that was not replayed."""
    if llm.shortlist is None or llm.shortlist.calibration is None:
        return None
    found = llm.shortlist.calibration
    return (
        f"in {with_interval(found.coverage_for_new)} of replayed pools of {found.size} from {llm.world.n_encoders} "
        f"encoders, {held_on(found)}, such a list held the best encoder or one within a standard error of it; such "
        f"lists had {found.length:.1f} names on average; on the families that set the margin, plain lists of that "
        f"length held it in {percent(found.top_k)}" + longer(llm, ". Yours")
    )


def held_on(found: Calibration) -> str:
    """Which families a shortlist's coverage was measured on."""
    if found.held_out.value is None:
        return "of the families that set the margin"
    return f"of families that the margin had not seen ({with_interval(found.coverage)} on those that set it)"


def longer(llm: LlmRanking, opening: str) -> str:
    """Where a list narrows the choice less than replayed ones did: by how much, and why, after `opening`; else ''."""
    if llm.shortlist is None or llm.shortlist.calibration is None:
        return ""
    listed, candidates = len(llm.shortlist.encoders), sum(each.value is not None for each in llm.encoders)
    whole = listed == candidates > 1
    if listed <= ceil(llm.shortlist.calibration.length):
        return f"{opening} has all {candidates} candidates, so it narrows nothing" if whole else ""
    has = f"all {candidates} candidates, so it narrows nothing" if whole else f"{listed} of the {candidates} candidates"
    return f"{opening} has {has}: their order changes with the choice of pairs; more pairs may shorten it"


def rule_line(llm: LlmRanking, question: Question) -> str:
    """What orders the encoders, and what the LLM is fed."""
    return f"rule: {llm.rule} (selection={question.selection}), for an LLM that is fed {FED[question.fed]}"


def opinion_line(opinion: Opinion) -> str:
    """What another rule would have said of this pool, and what its picks lost in replayed pools."""
    says = f"{opinion.of} would say {' or '.join(opinion.encoders)}"
    if opinion.regret is None:
        return f"{says}; what its picks lose was not measured for this setting"
    return (
        f"{says}; in replayed pools of all families its picks lost {percent(opinion.regret)} of what random picks lose"
    )


def spec_sheet_line(llm: LlmRanking) -> str | None:
    """Whether the spec sheet would have done as well as the rule, by the interval of their difference over families.

    The figures beside it are from families that choosing the rule had not seen. The rule's is that of whatever each
    half of the families would have chosen. None for a rule that was not replayed.
    """
    choosing = llm.world.chosen_by(sum(each.value is not None for each in llm.encoders))
    if choosing is None or llm.shortlist is None or llm.shortlist.calibration is None:
        return None
    rule, sheet = choosing.fraction.value, choosing.by_rule[llm.world.spec_sheet.name].value
    more = llm.world.spec_sheet_loses_more
    if rule is None or sheet is None:
        return None
    figures = (
        f"the rule lost {percent(rule)} of what random picks lose, and the spec sheet {percent(sheet)}, "
        "on families that had no part in choosing the rule"
    )
    if more.low is not None and more.low > 0:
        return f"the spec sheet would not have done as well: {figures}"
    return f"the spec sheet would have done as well, as far as the evidence can tell: {figures}"


def cost_line(cost: CandidateCost, fed: Fed) -> str:
    """What the pick costs, as far as it is known."""
    return f"cost of {cost.encoder}: " + (", ".join(cost_words(cost, fed)) or "not known")


def cost_words(cost: CandidateCost, fed: Fed) -> list[str]:
    """Each known figure of what an encoder costs. Its tokens count only where the LLM is fed all patches."""
    parts = [
        f"{cost.parameters / 1e6:,.1f}M parameters" if cost.parameters is not None else "",
        f"{cost.gflops:,.1f} GFLOPs an image" if cost.gflops is not None else "",
        f"{cost.tokens:,} tokens" if cost.tokens is not None and fed == "patches" else "",
        f"{cost.images_per_second:,.0f} images a second ({cost.device})" if cost.images_per_second else "",
        f"licence {cost.licence}" if cost.licence else "",
    ]
    return [part for part in parts if part]


def limits_line(limits: Sequence[str]) -> str | None:
    """Where the evidence does not speak about this pool, in one sentence; None if it does."""
    if not limits:
        return None
    return f"the evidence does not cover this pool: {'; '.join(limits)}"


def against_line(llm: LlmRanking, current: str) -> str:
    """Which candidates are better or worse than the encoder that the user has."""
    words: tuple[Judgement, ...] = ("better", "unclear", "worse")
    return f"against {current}: " + "; ".join(
        f"{word}: {enumerated(names)}" for word in words if (names := llm.judged(word))
    )


def sentence(words: str) -> str:
    """Words that begin in lower case as a sentence."""
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "?", "!")) else ".")


def percent(share: float) -> str:
    """A share as a whole percentage."""
    return f"{100 * share:.0f}%"


def with_interval(figure: Figure) -> str:
    """A share as a percentage, with its interval in brackets; '?' where it is not known."""
    if figure.value is None:
        return "?"
    between = "" if figure.low is None or figure.high is None else f" [{percent(figure.low)}, {percent(figure.high)}]"
    return percent(figure.value) + between


def first_screen(llm: LlmRanking, question: Question) -> list[str]:
    """The answer for one LLM in at most ten lines, the shortlist first."""
    picked = None if llm.pick is None else cost_line(llm.ranked(llm.pick).cost, question.fed)
    against = against_line(llm, question.against) if question.against else None
    lines = [
        headline(llm),
        held_line(llm),
        *map(opinion_line, llm.opinions),
        spec_sheet_line(llm),
        picked,
        *llm.budget.lines(),
        against,
        limits_line(llm.limits),
        rule_line(llm, question),
    ]
    return [line for line in lines if line]
