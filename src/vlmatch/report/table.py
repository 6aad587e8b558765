"""The answer in the terminal: a first screen and a short table for each LLM; every score on request."""

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vlmatch.costs.candidate import CandidateCost
from vlmatch.disagreement import ByLabel
from vlmatch.embeddings.embed import Cost
from vlmatch.errors import enumerated
from vlmatch.health.findings import FindingGroup
from vlmatch.jobs import PairStatus
from vlmatch.ranking import PAPER, Agreement, Fed, LlmRanking, ProvenOrders, RankedEncoder, Ranking
from vlmatch.report.about import SizeClasses, left_out, pretraining, published, trained_here
from vlmatch.report.first_screen import FirstScreen, first_screen
from vlmatch.scores.rows import Row
from vlmatch.scores.scored import Scored

MINIMUM_WIDTH = 200  # characters, where the output is no terminal
UNLIMITED = 10_000  # characters
WHOLE, LEADING = 60, 30  # encoders: the largest pool that the short table shows whole, and how many it shows of others


def show(
    rankings: Sequence[Ranking],
    failures: Sequence[PairStatus] = (),
    console: Console | None = None,
    *,
    full: bool = False,
) -> None:
    """Print every ranking, then the pairs that could not be scored. full: the table of every score too."""
    console = console or terminal()
    for ranking in rankings:
        recipes = f"features '{ranking.image_recipe}', captions '{ranking.text_recipe}'"
        say(Text.assemble("\n", (ranking.probe, "bold"), f": {ranking.n_pairs} pairs, {recipes}"), console=console)
        for llm in ranking.llms:
            _show_llm(llm, ranking, console, full=full)
        rows = [ranked.row for llm in ranking.llms for ranked in llm.encoders]
        lines = [*map(agreement_line, ranking.agreements), *published_lines(ranking), *left_out(rows)] if full else []
        say(*lines, *map(_note, ranking.warnings), console=console)
    for failure in failures:
        told = f": {failure.encoder} x {failure.llm}: {failure.message}"
        say(Text.assemble((failure.status, "red"), told), console=console)


def terminal() -> Console:
    """A console; if the output is a file or a pipe, it is wide enough for the table."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, MINIMUM_WIDTH))


def say(*lines: str | Text | None, console: Console | None = None) -> None:
    """Print lines as they are: square brackets are no mark-up, and long lines are not broken. None: no line."""
    console = console or terminal()
    for line in lines:
        if line is not None:
            console.print(line if isinstance(line, Text) else Text(line), soft_wrap=True)


def _note(warning: str) -> Text:
    return Text.assemble(("note: ", "yellow"), warning)


def answer_lines(screen: FirstScreen) -> list[Text]:
    """The first screen and the warnings of one LLM, without its table."""
    head, *others = screen.lines()
    style = "bold green" if screen.listed else "bold yellow"
    return [Text(head, style=style), *map(Text, others), *map(_note, screen.warnings)]


def _choices_table(screen: FirstScreen) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption=screen.measured, caption_justify="left")
    for head in screen.heads:
        table.add_column(head, justify="right" if head.startswith("lost") else "left")
    for row in screen.rows:
        table.add_row(*map(Text, row))
    return table


def proven_line(orders: ProvenOrders) -> str:
    """What the lower bounds say about the order by GW, in words."""
    return (
        f"lower bounds prove {orders.n_proven} of the {orders.n_orders} orders between two pretrained encoders by GW: "
        "a better solver would not change those"
    )


def health_lines(groups: Sequence[FindingGroup]) -> list[Text]:
    """One line for each kind of warning about embeddings and pairs; the report has the remedies and the notes."""
    found = [
        Text.assemble(("health: ", "yellow"), f"{each.title}: {_subject(each)}") for each in groups if each.warning
    ]
    return [*found, Text("the report says what to do about these")] if found else []


def _subject(group: FindingGroup) -> str:
    return f"{group.side} by {enumerated(group.models)}" if group.models else group.side


def label_table(values: ByLabel, llm: str) -> Table:
    """By label, the three candidates with the highest share of neighbours in common, and what is missing."""
    table = Table(
        title=f"by label, for {llm}: share of neighbours in common (MutualNN) ± its standard error",
        title_justify="left",
        title_style="bold",
        caption=Text(values.missing, style="table.caption") if values.missing else None,
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for head in ("label", "pairs", "first", "second", "third"):
        table.add_column(head, justify="right" if head == "pairs" else "left")
    for each in values.labels:
        best = sorted(each.values, key=lambda encoder: -each.values[encoder])[:3]
        cells = [f"{name} {number(each.values[name])} ± {number(each.errors[name])}" for name in best]
        table.add_row(*map(Text, [each.label, str(each.n_pairs), *cells]))
    return table


def agreement_line(agreement: Agreement) -> str:
    """How similarly two LLMs order the encoders, in words."""
    one, other = agreement.llms
    return (
        f"agreement of {one} and {other} on {agreement.n_encoders} encoders by GW: "
        f"Spearman {agreement.spearman:.2f}, Kendall {agreement.kendall:.2f}"
    )


def published_lines(ranking: Ranking) -> list[str]:
    """The published ranks of these encoders, one line for each encoder that has any."""
    encoders = [ranked.row.encoder for ranked in ranking.llms[0].encoders]
    return [f"published, {encoder}: {'; '.join(found)}" for encoder in encoders if (found := published(encoder))]


def number(value: float | None) -> str:
    """A score with four digits, a large count in millions, ∞ for infinity, ? for what is not known."""
    if value is None:
        return "?"
    if math.isinf(value):
        return "∞"
    if abs(value) >= 5e4:  # less would be 0.0M
        return f"{value / 1e6:.1f}M"
    if abs(value) >= 1e4 or float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:.4f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def relative(scored: Scored | None) -> str:
    """GW in units of the median caption angle, the only form that can be compared across LLMs.

    '-' without GW, and for another score of that name.
    """
    found = None if scored is None else scored.details.get("gw_relative")
    return "-" if found is None else number(float(found))


def placed(row: Row, rankings: Sequence[Ranking], costs: Sequence[Cost]) -> str:
    """One job of a sweep in one line: its place among the encoders scored so far, and what embedding cost."""
    llm = next(llm for ranking in rankings for llm in ranking.llms if llm.llm == row.llm)
    ranked = llm.ranked(row.encoder)
    sides = zip(("images", "captions"), costs, strict=True)
    took = [f"{cost.items} {side} embedded in {cost.seconds:.0f} s{memory(cost)}" for side, cost in sides if cost.items]
    n = sum(each.value is not None for each in llm.encoders)
    place = "control" if ranked.value is None else f"value {ranked.value:.2f}, place {ranked.place} of {n} so far"
    return f"{row.encoder} x {row.llm}: " + "; ".join([place, *took])


def memory(cost: Cost) -> str:
    """The GPU memory used, in words; '' without a GPU."""
    return f", {cost.gpu_bytes / 2**30:.1f} GiB of GPU memory" if cost.gpu_bytes else ""


def _show_llm(llm: LlmRanking, ranking: Ranking, console: Console, *, full: bool) -> None:
    console.print()
    screen = first_screen(llm, ranking.question)
    for line in answer_lines(screen):
        console.print(line)
    if screen.choices:
        console.print(_choices_table(screen))
    fed = ranking.question.fed
    shown = llm.encoders if full else leading(llm, ranking.question.against)
    _print_widest(console, _short_table(llm, shown, fed, costs=True), _short_table(llm, shown, fed, costs=False))
    if hidden := len(llm.encoders) - len(shown):
        console.print(f"{hidden} more encoders: answer.full=true shows all, as do the CSV table and the report")
    if not full:
        return
    _print_widest(console, _full_table(llm, described=True), _full_table(llm, described=False))
    if llm.proven_orders is not None:
        console.print(proven_line(llm.proven_orders))


def _print_widest(console: Console, wide: Table, narrow: Table) -> None:
    """Print the wide table where it fits, else the narrow one."""
    wanted = console.measure(wide, options=console.options.update(max_width=UNLIMITED)).maximum
    console.print(wide if wanted <= console.width else narrow)


def leading(llm: LlmRanking, against: str | None) -> Sequence[RankedEncoder]:
    """The encoders to show: all, or if these are too many the first, the shortlist, the user's own and the controls."""
    if len(llm.encoders) <= WHOLE:
        return llm.encoders
    named = {against, *(llm.shortlist.encoders[:LEADING] if llm.shortlist else ())}
    return [
        each
        for place, each in enumerate(llm.encoders)
        if place < LEADING or each.row.encoder in named or each.row.image.control
    ]


def _short_table(llm: LlmRanking, shown: Sequence[RankedEncoder], fed: Fed, *, costs: bool) -> Table:
    """Place, value and the rule's scores of each encoder that is shown; `costs` adds what each takes."""
    known = llm.scored
    names = [name for name in llm.ingredients if name in known]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("place", justify="right", no_wrap=True)
    table.add_column("encoder", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    for scored in (known[name] for name in names):
        table.add_column(_head(scored), justify="right", no_wrap=True)
    heads = ("parameters", "GFLOPs", *(("tokens",) if fed == "patches" else ()), "images/s", "licence")
    for head in heads if costs else ():
        table.add_column(head, justify="left" if head == "licence" else "right", no_wrap=True)
    for ranked in shown:
        cells = ["-" if ranked.place is None else str(ranked.place), marked(ranked)]
        cells += ["-" if ranked.value is None else f"{ranked.value:.2f}"]
        cells += [_with_deviation(ranked.row.scores.get(name)) for name in names]
        cells += [_cost(ranked.cost, head) for head in heads] if costs else []
        table.add_row(*(Text(cell, style=_style(ranked, llm)) for cell in cells))
    return table


def _head(scored: Scored) -> Text:
    """The head of a score's column, with the direction of better."""
    return Text(f"{scored.title} {'↑' if scored.higher_is_better else '↓'}")


def _cost(cost: CandidateCost, head: str) -> str:
    """One cell of the short table; ? for what is not known."""
    figures = {"parameters": cost.parameters, "GFLOPs": cost.gflops, "tokens": cost.tokens}
    if head == "licence":
        return cost.licence or "?"
    if head == "images/s":
        return "?" if cost.images_per_second is None else f"{cost.images_per_second:.0f}"
    return number(figures[head])


def marked(ranked: RankedEncoder) -> str:
    """The encoder's name, with c for a control and t for one that this project trained."""
    name = ranked.row.encoder
    return name + (" c" if ranked.row.image.control else " t" if trained_here(ranked.row.image) else "")


def _style(ranked: RankedEncoder, llm: LlmRanking) -> str:
    if ranked.row.image.control or ranked.row.encoder not in llm.budget.inside:
        return "dim"
    return "bold green" if llm.shortlist and ranked.row.encoder in llm.shortlist.encoders else ""


def _with_deviation(scored: Scored | None) -> str:
    if scored is None:
        return "?"
    return number(scored.value) + (f" ± {number(scored.deviation)}" if scored.deviation is not None else "")


def _full_table(llm: LlmRanking, *, described: bool) -> Table:
    """Every score of each encoder with its rank; `described` adds the spec sheet, feature, size and pretraining."""
    first = llm.encoders[0]
    names = [name for name in first.ranks if described or first.row.scores[name].uses != ("spec",)]
    classes = SizeClasses.of([ranked.row.image for ranked in llm.encoders])
    table = Table(
        title=f"every score for {llm.llm}",
        title_justify="left",
        title_style="bold",
        caption="Each score is followed by its rank. c: control, t: trained by this project on similar pictures. "
        f"GW rel.: sqrt(E / median caption angle), comparable across LLMs. Size: {classes}.",
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("encoder", no_wrap=True)
    for scored in (first.row.scores[name] for name in names):
        table.add_column(_head(scored), justify="right", no_wrap=True)
    table.add_column("GW rel.", justify="right", no_wrap=True)
    for head in ("feature", "size", "pretraining") if described else ():
        table.add_column(head, no_wrap=True)
    for ranked in llm.encoders:
        row = ranked.row
        scores = [f"{number(row.scores[name].value)} {ranked.ranks[name]:>2}" for name in names]
        about = [row.image.rule, classes.name(row.image), pretraining(row.image)] if described else []
        cells = [marked(ranked), *scores, relative(row.scores.get(PAPER)), *about]
        table.add_row(*(Text(cell, style=_style(ranked, llm)) for cell in cells))
    return table
