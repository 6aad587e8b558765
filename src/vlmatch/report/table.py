"""The ranking in the terminal: one table for each LLM, the warnings, and the pick."""

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vlmatch.embeddings.embed import Cost
from vlmatch.jobs import PairStatus
from vlmatch.ranking import Agreement, LlmRanking, ProvenOrders, RankedEncoder, Ranking
from vlmatch.report.about import SizeClasses, left_out, pretraining, published, trained_here
from vlmatch.scores.rows import Row
from vlmatch.scores.scored import Scored

MINIMUM_WIDTH = 200  # characters, where the output is no terminal
UNLIMITED = 10_000  # characters


def show(rankings: Sequence[Ranking], failures: Sequence[PairStatus] = (), console: Console | None = None) -> None:
    """Print every ranking, then the pairs that could not be scored."""
    console = console or terminal()
    for ranking in rankings:
        recipes = f"features '{ranking.image_recipe}', captions '{ranking.text_recipe}'"
        console.print(f"\n[bold]{ranking.probe}[/]: {ranking.n_pairs} pairs, {recipes}")
        for llm in ranking.llms:
            described = _table(llm, described=True)
            wanted = console.measure(described, options=console.options.update(max_width=UNLIMITED)).maximum
            fits = wanted <= console.width
            console.print(described if fits else _table(llm, described=False))
            for line in verdict(llm):
                console.print(line)
            if llm.proven_orders is not None:
                console.print(proven_line(llm.proven_orders))
        notes = [f"[yellow]note:[/] {warning}" for warning in ranking.warnings]
        rows = [ranked.row for llm in ranking.llms for ranked in llm.encoders]
        notes += [f"[yellow]note:[/] {line}" for line in left_out(rows)]
        for line in [*map(agreement_line, ranking.agreements), *notes, *published_lines(ranking)]:
            console.print(line)
    for failure in failures:
        console.print(f"[red]{failure.status}[/]: {failure.encoder} x {failure.llm}: ", Text(failure.message), sep="")


def terminal() -> Console:
    """A console; if the output is a file or a pipe, it is wide enough for the table."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, MINIMUM_WIDTH))


def verdict(llm: LlmRanking) -> list[str]:
    """The warnings and the pick in words, with rich's markup."""
    lines = [
        f"[bold red]{warning}[/]" if "DO NOT TRUST" in warning else f"[yellow]note:[/] {warning}"
        for warning in llm.warnings
    ]
    if llm.pick is not None:
        by = f"by {llm.pick.title}" + (
            "" if llm.pick.score == "gw" else ", the first score of `selection` that ranks every control last"
        )
        lines.append(f"[bold green]pick for {llm.llm}: {llm.pick.encoder}[/] ({by})")
    return lines


def proven_line(orders: ProvenOrders) -> str:
    """What the lower bounds say about the order by GW, in words."""
    return (
        f"lower bounds prove {orders.n_proven} of the {orders.n_orders} orders between two pretrained encoders by GW: "
        "a better solver would not change those"
    )


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
    """A score with four digits, a parameter count in millions, ∞ for infinity, ? for what is not known."""
    if value is None:
        return "?"
    if math.isinf(value):
        return "∞"
    if abs(value) >= 1e4:
        return f"{value / 1e6:.1f}M"
    if float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:.4f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def relative(scored: Scored | None) -> str:
    """GW in units of the median caption angle, the only form that can be compared across LLMs."""
    return number(float(scored.details["gw_relative"])) if scored is not None else "-"


def _table(llm: LlmRanking, *, described: bool) -> Table:
    """The ranked encoders; `described` adds what a narrow terminal has no room for: the spec sheet and pretraining."""
    first = llm.encoders[0]
    names = [name for name in first.ranks if described or first.row.scores[name].uses != ("spec",)]
    classes = SizeClasses.of([ranked.row.image for ranked in llm.encoders])
    table = Table(
        title=f"for {llm.llm}",
        title_justify="left",
        title_style="bold",
        caption="Each score is followed by its rank. c: control, t: trained by this project on similar pictures. "
        f"GW rel.: sqrt(E / median caption angle), comparable across LLMs. Size: {classes}.",
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("", justify="right")
    table.add_column("encoder", no_wrap=True)
    for scored in (first.row.scores[name] for name in names):
        table.add_column(f"{scored.title} {'↑' if scored.higher_is_better else '↓'}", justify="right", no_wrap=True)
    table.add_column("GW rel.", justify="right", no_wrap=True)
    for head in ("feature", "size", "pretraining") if described else ():
        table.add_column(head, no_wrap=True)
    for place, ranked in enumerate(llm.encoders, 1):
        table.add_row(*_cells(place, ranked, llm, classes, names)[: len(table.columns)])
    return table


def _cells(
    place: int, ranked: RankedEncoder, llm: LlmRanking, classes: SizeClasses, names: Sequence[str]
) -> list[Text]:
    row, control = ranked.row, ranked.row.image.control
    picked = llm.pick is not None and llm.pick.encoder == row.encoder
    style = "dim" if control else "bold green" if picked else ""
    scores = [f"{number(row.scores[name].value)} {ranked.ranks[name]:>2}" for name in names]
    cells = [
        str(place),
        row.encoder + (" c" if control else " t" if trained_here(row.encoder) else ""),
        *scores,
        relative(row.scores.get("gw")),
        row.image.rule,
        classes.name(row.image),
        pretraining(row.image.spec.model),
    ]
    return [Text(cell, style=style) for cell in cells]


def placed(row: Row, rankings: Sequence[Ranking], costs: Sequence[Cost]) -> str:
    """One job of a sweep in one line: its score, its rank among the encoders scored so far, and its cost."""
    llm = next(llm for ranking in rankings for llm in ranking.llms if llm.llm == row.llm)
    ranked = next(ranked for ranked in llm.encoders if ranked.row.encoder == row.encoder)
    name = "gw" if "gw" in ranked.ranks else next(iter(ranked.ranks))
    sides = zip(("images", "captions"), costs, strict=True)
    took = [f"{cost.items} {side} embedded in {cost.seconds:.0f} s{memory(cost)}" for side, cost in sides if cost.items]
    score = row.scores[name]
    place = f"{score.title} {number(score.value)}, {ranked.ranks[name]} of {len(llm.encoders)} so far"
    return f"{row.encoder} x {row.llm}: " + "; ".join([place, *took])


def memory(cost: Cost) -> str:
    """The GPU memory used, in words; '' without a GPU."""
    return f", {cost.gpu_bytes / 2**30:.1f} GiB of GPU memory" if cost.gpu_bytes else ""
