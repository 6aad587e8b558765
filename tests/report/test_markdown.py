"""report.md: the first screen and a short table, in which hostile words stay words."""

from dataclasses import replace
from pathlib import Path

import pytest

from made_report import Pool, pool
from vlmatch.jobs import NOT_HERE, PairStatus
from vlmatch.ranking import Question
from vlmatch.report.answer import PoolRanking
from vlmatch.report.first_screen import first_screen
from vlmatch.report.markdown import plain, rendered_markdown

ENCODERS = ["first_one", "second_one", "third_one", "pixels16"]
QUESTION = Question(fed="pooled")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return pool(tmp_path_factory.mktemp("pictures"), ENCODERS, ["llm"])


def table(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_the_lines_are_those_of_the_terminal(made: Pool) -> None:
    ranking = made.ranking(QUESTION)
    text = rendered_markdown([ranking])
    head, *others = first_screen(ranking.llms[0], QUESTION).lines()
    assert f"**{plain(head[:1].upper() + head[1:])}.**" in text
    assert all(plain(line[1:]) in text for line in others)
    heads, _, rule, *_ = table(text)
    assert heads == ["chosen by", "first", "on the list", "lost", "lost later"]
    assert rule[:3] == ["this rule", "first_one", "yes"]


def test_the_table_has_a_row_for_each_encoder_with_the_shortlist_in_bold(made: Pool) -> None:
    choices = len(first_screen(made.ranking(QUESTION).llms[0], QUESTION).choices)
    heads, rules, *rows = table(rendered_markdown([made.ranking(QUESTION)]))[choices + 2 :]
    assert heads == ["place", "encoder", "value", "MUTUAL_NN ↑", "GW ↓", "parameters", "tokens", "licence"]
    assert len(rules) == len(heads)
    assert [row[1] for row in rows] == ["**first_one**", "**second_one**", "third_one", "pixels16 (control)"]
    assert rows[0] == ["1", "**first_one**", rows[0][2], ".9000", ".1000", "1.0M", "49", "?"]
    assert rows[-1][0] == rows[-1][2] == "-"


def test_names_end_neither_cells_nor_lines_nor_become_html(made: Pool) -> None:
    ranking = made.ranking(QUESTION)
    (llm,) = ranking.llms
    first = llm.encoders[-1]
    named = replace(first, row=replace(first.row, image=_named(first.row.image, "a|b\n<img src=x> [x](y) `c`")))
    text = rendered_markdown([replace(ranking, llms=(replace(llm, encoders=(*llm.encoders[:-1], named)),))])
    (line,) = [line for line in text.splitlines() if "<img" in line]
    assert r"a\|b \<img src=x\> \[x\](y) \`c\` (control)" in line
    assert line.count("|") - line.count(r"\|") == 9


def _named(header, name):
    return replace(header, spec=replace(header.spec, model=name))


def test_underscores_inside_words_stay_as_they_are() -> None:
    assert plain("lit_emoji _so_") == r"lit_emoji \_so\_"


def test_failures_and_commands_stand_at_the_end(made: Pool) -> None:
    text = rendered_markdown(
        [made.ranking(QUESTION)], [PairStatus("siglip", "llm", NOT_HERE, "get the weights")], ["python src/run.py"]
    )
    assert text.endswith("- not here: siglip x llm: get the weights\n\n```\npython src/run.py\n```\n")


def test_it_is_written_beside_the_page_with_the_command_that_asked(made: Pool, tmp_path: Path) -> None:
    ranking = PoolRanking.of(made.rows, QUESTION, probe=made.probe, embeddings=made.read, command="vlmatch multirun")
    page = ranking.report(tmp_path / "out.html")
    text = (tmp_path / "out.md").read_text(encoding="utf-8")
    assert page == tmp_path / "out.html"
    assert (
        "```\nvlmatch multirun\nvlmatch.rank('noisy', ['first_one', 'pixels16', 'second_one', 'third_one'], ['llm']"
        in text
    )
    assert "vlmatch multirun" in page.read_text(encoding="utf-8")
    assert ranking.to_markdown(tmp_path / "again.md").read_bytes() == (tmp_path / "out.md").read_bytes()
