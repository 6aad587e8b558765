"""report.md: the answer as Markdown, short enough for a pull request."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from vlmatch.files import write_text
from vlmatch.jobs import PairStatus
from vlmatch.ranking import PAPER, LlmRanking, RankedEncoder, Ranking
from vlmatch.report.first_screen import first_screen
from vlmatch.report.ranking_table import shown_name
from vlmatch.report.table import leading, number
from vlmatch.report.words import sentence

_SPECIAL = re.compile(r"[\\`*\[\]<>#|~&]|(?<![^\W_])_|_(?![^\W_])")  # an underscore inside a word is no mark-up

_WORDS = ("encoder", "licence", "chosen by", "first", "on the list")  # heads of columns that hold words


def write_markdown(
    path: Path, rankings: Sequence[Ranking], failures: Sequence[PairStatus] = (), commands: Sequence[str] = ()
) -> Path:
    """Write the answer to `path` in one step; returns `path`. The arguments are those of `rendered_page`."""
    write_text(path, rendered_markdown(rankings, failures, commands))
    return path


def rendered_markdown(
    rankings: Sequence[Ranking], failures: Sequence[PairStatus] = (), commands: Sequence[str] = ()
) -> str:
    """The answer as Markdown: for each LLM the first screen and a short table."""
    blocks = ["# Which vision encoder?"]
    for ranking in rankings:
        recipes = f"image feature {_code(ranking.image_recipe)}, captions {_code(ranking.text_recipe)}"
        blocks.append(f"{ranking.n_pairs:,} captioned images of {_code(ranking.probe)}; {recipes}.")
        for llm in ranking.llms:
            screen = first_screen(llm, ranking.question)
            head, *others = screen.lines()
            blocks += [f"## {plain(llm.llm)}", f"**{_sentence(head)}**"]
            blocks.append("\n".join(f"- {_sentence(line)}" for line in (*others, *llm.warnings)))
            if screen.choices:
                blocks += [_rows([screen.heads, *(map(plain, row) for row in screen.rows)])]
                blocks.append(_sentence(screen.measured))
            shown = leading(llm, ranking.question.against)
            blocks.append(_table(llm, shown))
            if hidden := len(llm.encoders) - len(shown):
                blocks.append(f"{hidden} more encoders stand in the page and in the CSV table.")
        blocks += [_sentence(warning) for warning in ranking.warnings]
    if failures:
        blocks.append(
            "\n".join(
                f"- {plain(each.status)}: {plain(f'{each.encoder} x {each.llm}: {each.message}')}" for each in failures
            )
        )
    if commands:
        blocks.append("```\n" + "\n".join(commands) + "\n```")
    return "\n\n".join(block for block in blocks if block) + "\n"


def plain(text: str) -> str:
    """Text in one line that Markdown shows as it is: no mark-up, no HTML, no end of a table's cell."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def _sentence(words: str) -> str:
    return plain(sentence(words))


def _code(text: str) -> str:
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def _table(llm: LlmRanking, shown: Sequence[RankedEncoder]) -> str:
    """Place, value, the rule's scores, GW, and what each encoder costs."""
    known = llm.scored
    names = [name for name in dict.fromkeys((*llm.ingredients, PAPER)) if name in known]
    arrows = [f"{known[name].title} {'↑' if known[name].higher_is_better else '↓'}" for name in names]
    heads = ["place", "encoder", "value", *map(plain, arrows), "parameters", "tokens", "licence"]
    return _rows([heads, *(_cells(llm, each, names) for each in shown)])


def _rows(rows: Sequence[Iterable[str]]) -> str:
    """A table, whose first row has the heads; columns of words are on the left, numbers on the right."""
    heads, *others = map(list, rows)
    rules = [":--" if head in _WORDS else "--:" for head in heads]
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, rules, *others))


def _cells(llm: LlmRanking, ranked: RankedEncoder, names: Sequence[str]) -> list[str]:
    name = plain(shown_name(ranked))
    listed = llm.shortlist is not None and ranked.row.encoder in llm.shortlist.encoders
    scores = [number(ranked.row.scores[each].value) if each in ranked.row.scores else "?" for each in names]
    cost = ranked.cost
    return [
        "-" if ranked.place is None else str(ranked.place),
        f"**{name}**" if listed else name,
        "-" if ranked.value is None else f"{ranked.value:.2f}",
        *scores,
        number(cost.parameters),
        "?" if cost.tokens is None else f"{cost.tokens:,}",
        plain(cost.licence or "?"),
    ]
