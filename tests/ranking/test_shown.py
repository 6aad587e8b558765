"""What table, terminal and page show of a ranking."""

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from made_rows import header, ranked, row
from parsed_pages import parsed
from vlmatch.encoders.catalogue import catalogue
from vlmatch.errors import LISTED
from vlmatch.evidence.published import published_ranks
from vlmatch.jobs import NOT_HERE, PairStatus
from vlmatch.ranking import Question
from vlmatch.report.about import SizeClasses
from vlmatch.report.html import rendered_page
from vlmatch.report.markdown import rendered_markdown
from vlmatch.report.spreadsheet import write_table
from vlmatch.report.table import number, show
from vlmatch.scores.rows import Row


def test_the_table_shows_everything_and_breaks_on_nothing(tmp_path: Path) -> None:
    out = io.StringIO()
    rankings = ranked([row("a", gw=0.3, cka=0.5), row("[b]", gw=0.2, cka=0.4), row("p", control=True, gw=0.1, cka=0.1)])
    show(
        rankings,
        [PairStatus("siglip", "llm", NOT_HERE, "weights 'webli' are not here [x]")],
        Console(file=out, width=200),
        full=True,
    )
    text = out.getvalue()
    for part in [
        "[b]",
        "p c",
        "shortlist for llm: [b]",
        "note: by GW the control 'p' outranks 2 of 2 candidates (a, [b])",
        "every score for llm",
        "not here: siglip x llm: weights 'webli' are not here [x]",
    ]:
        assert part in text
    table = write_table(tmp_path / "ranking.csv", rankings).read_text()
    assert table == write_table(tmp_path / "again.csv", rankings).read_text()
    assert table.splitlines()[1].startswith("p-0,10,paper,layer-2_last,llm,[b],False,True,True,1,1,")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.25, ".2500"),
        (-0.25, "-.2500"),
        (1.5, "1.500"),
        (25.6e6, "25.6M"),
        (54_321, "0.1M"),
        (12_288, "12288"),
        (12_345.6, "12346"),
        (0.0, "0"),
        (math.inf, "∞"),
    ],
)
def test_numbers_are_short(value: float, shown: str) -> None:
    assert number(value) == shown


def with_details(row: Row, **details: float) -> Row:
    gw = replace(row.scores["gw"], details={**row.scores["gw"].details, **details})
    return replace(row, scores={**row.scores, "gw": gw})


def test_theorem_1_stands_in_table_and_page_where_a_row_has_it(tmp_path: Path) -> None:
    rows = [
        with_details(row("a", gw=0.3), lipschitz_bound_99=2.5, lipschitz_99=1.25),
        with_details(row("b", gw=0.4), lipschitz_bound_99=math.inf, lipschitz_99=math.inf),
        row("c", gw=0.5),
    ]
    rankings = ranked(rows)
    table = pd.read_csv(write_table(tmp_path / "ranking.csv", rankings)).set_index("encoder")
    assert table.lipschitz_bound_99["a"] == 2.5
    assert table.lipschitz_99["a"] == 1.25
    assert table.lipschitz_bound_99["b"] == math.inf
    assert np.isnan(table.lipschitz_99["c"])
    heads, *lines = parsed(rendered_page(rankings)).by_id("r0-0-score-table").cells()
    shown = [line[heads.index("Lipschitz ≤")] for line in lines]
    assert shown == ["2.500 1.250", "∞ ∞", "-"]


def test_size_classes_are_the_papers_where_an_encoder_reaches_them_else_the_pools_median() -> None:
    sizes = {"a": 2_000_000, "b": 4_000_000, "c": 9_000_000}
    headers = {name: replace(header("encoder", name), n_parameters=size) for name, size in sizes.items()}
    control = header("encoder", "noise", control=True)
    small = SizeClasses.of([*headers.values(), control])
    assert [small.name(headers[name]) for name in sizes] == ["small", "large", "large"]
    assert str(small) == "large from 4.0M parameters (the pool's median)"
    assert small.name(control) == ""
    giant = replace(headers["c"], n_parameters=600_000_000)
    papers = SizeClasses.of([headers["a"], giant])
    assert [papers.name(headers["a"]), papers.name(giant)] == ["small", "large"]
    assert str(papers) == "large from 500.0M parameters (the paper's border)"


def test_the_short_table_of_a_large_pool_shows_the_leading_encoders_and_says_how_many_more() -> None:
    rows = [row(f"e{k:03d}", gw=0.1 + k / 1000) for k in range(200)] + [row("pixels", control=True, gw=0.9)]
    question = Question(selection="gw", against="e150")

    def printed(rows: list[Row], *, full: bool = False) -> str:
        console = Console(file=io.StringIO(), width=200)
        show(ranked(rows, question), console=console, full=full)
        return console.file.getvalue()

    short = printed(rows)
    assert all(name in short for name in ("e000", "e029", "e150", "pixels"))
    assert "169 more encoders: answer.full=true shows all" in short
    assert len(short.splitlines()) < 60
    assert "more encoders" not in printed(rows, full=True)
    assert "more encoders" not in printed(rows[100:160])


def test_no_sentence_about_a_large_pool_lists_all_of_its_names() -> None:
    near = [row(f"e{k:03d}", gw=0.5 + k / 1e5) for k in range(200)]
    rows = [*near, row("pixels", control=True, gw=0.1)]
    (ranking,) = ranked(rows, Question(selection="gw", against="e150"))
    (llm,) = ranking.llms
    long = replace(llm.shortlist, encoders=tuple(each.encoder for each in near)) if llm.shortlist else None
    llm = replace(llm, shortlist=long)
    console = Console(file=io.StringIO(), width=200)
    show([replace(ranking, llms=(llm,))], console=console)
    printed = console.file.getvalue()
    assert "outranks 200 of 200 candidates (e000, e001, e002, " in printed
    assert "and 188 more)" in printed
    assert max(len(re.findall(r"e\d{3}", line)) for line in printed.splitlines()) <= 2 * LISTED
    markdown = rendered_markdown([replace(ranking, llms=(llm,))])
    assert "169 more encoders stand in the page and in the CSV table" in markdown
    assert len(markdown.splitlines()) < 60


def test_what_is_published_of_an_encoder_stands_in_terminal_and_table(tmp_path: Path) -> None:
    rankings = ranked([row("siglip", gw=0.3), row("pixels", control=True, gw=0.4)])
    console = Console(file=io.StringIO(), width=200)
    show(rankings, console=console, full=True)
    printed = console.file.getvalue()
    line = str(published_ranks("siglip")[0])
    assert f"published, siglip: {line}" in printed
    assert "published, pixels" not in printed
    table = pd.read_csv(write_table(tmp_path / "ranking.csv", rankings))
    assert table.set_index("encoder").published["siglip"].startswith(line)
    assert table.set_index("encoder").pretraining["siglip"] == catalogue()["siglip"].pretraining


@pytest.mark.parametrize(("width", "described"), [(200, True), (70, False)])
def test_a_narrow_terminal_leaves_out_what_encoders_are_and_cuts_no_score(width: int, described: bool) -> None:
    rankings = ranked([row("siglip_vit_emoji", gw=0.3456), row("pixels16", control=True, gw=0.4567)])
    console = Console(file=io.StringIO(), width=width)
    show(rankings, console=console, full=True)
    printed = console.file.getvalue()
    assert ".3456  1" in printed
    assert "siglip_vit_emoji t" in printed
    assert ("pretraining" in printed) == described
    assert "…" not in printed
