"""The page: what it must show, that it is one file which loads nothing, and that it shows hostile words as words."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from made_report import HOSTILE, Pool, pool
from parsed_pages import Element, parsed
from vlmatch.evidence.record import record
from vlmatch.ranking import Question
from vlmatch.report.html import TEMPLATES, rendered_page
from vlmatch.scores.scored import LeftOut

ENCODERS = ["first_one", "second_one", "third_one", "fourth_one", "pixels16"]
LOADING = ("src", "href", "xlink:href", "srcset", "poster", "data", "action", "background", "formaction")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return pool(tmp_path_factory.mktemp("pictures"), ENCODERS, ["llm_a", "llm_b"])


@pytest.fixture(scope="module")
def page(made: Pool) -> Element:
    return parsed(made.page(commands=["python src/run.py multirun"]))


def headings(page: Element) -> list[str]:
    return [each.text for each in page.all("h2")]


def test_the_sections_stand_in_their_order_for_each_llm(page: Element) -> None:
    assert headings(page) == [
        "Ranking for llm_a",
        "Ranking for llm_b",
        "The record",
        "Value and cost, for llm_a",
        "Value and cost, for llm_b",
        "Health of the embeddings",
        "Pairs that fit worst and best, for llm_a",
        "Ranking by label, for llm_a",
        "Pairs that fit worst and best, for llm_b",
        "Ranking by label, for llm_b",
        "How each number was made",
        "The same again",
    ]


def test_the_first_screen_says_what_to_train_and_how_far_to_trust_it(made: Pool, page: Element) -> None:
    llm = made.ranking(Question(fed="pooled")).llms[0]
    found = llm.shortlist.calibration
    screen = page.by_id("r0-0-first_screen")
    assert screen.all("p", class_="pick")[0].text == llm.pick == "first_one"
    assert [each.text for each in screen.all("ul", class_="others")[0].all("span")] == list(llm.shortlist.encoders[1:])
    facts = dict(zip((each.text for each in screen.all("dt")), (each.text for each in screen.all("dd")), strict=True))
    held = facts["Such lists held the best encoder in"]
    assert held.startswith(f"{100 * found.coverage_for_new.value:.0f}%")
    assert f"Such lists had {found.length:.1f} names on average" in held
    assert f"plain lists of that length held the best in {100 * found.top_k:.0f}%. The upright line marks" in held
    choices = screen.all("table")[0].cells()
    assert choices[0] == ["chosen by", "first", "on the list", "lost", "lost later"]
    assert [row[:3] for row in choices[1:]] == [
        ["this rule", "first_one", "yes"],
        ["the spec sheet", "first_one", "yes"],
        ["the paper's GW", "first_one", "yes"],
    ]
    assert facts["Without the scores, the spec sheet"].startswith("would")
    assert "1.0M parameters, 1.0 GFLOPs" in screen.text
    assert "The evidence does not cover this pool" in screen.all("p", class_="limits")[0].text


def test_without_a_recommendation_the_page_says_why(made: Pool) -> None:
    page = parsed(_refused(made))
    screen = page.by_id("r0-0-first_screen")
    assert screen.all("p", class_="pick")[0].text == "No recommendation"
    assert "the rule needs" in screen.text.lower()
    assert "Pairs that fit worst and best, for llm_a" not in headings(page)


def _refused(made: Pool) -> str:
    rows = [replace(each, scores={"gw": each.scores["gw"]}) for each in made.rows]
    return replace(made, rows=rows).page()


def test_candidates_that_share_a_place_are_a_group(made: Pool, page: Element) -> None:
    llm = made.ranking(Question(fed="pooled")).llms[0]
    table = page.by_id("r0-0-ranking-table")
    places = [row.all("td")[0] for row in table.all("tbody")[0].all("tr")]
    assert [each.text for each in places] == [str(each.place) if each.place else "-" for each in llm.encoders]
    heads = [row.all("th")[0].text for row in table.all("tr", class_="head")]
    firsts = {each.place: each.row.encoder for each in reversed(llm.encoders)}
    assert [name.removesuffix(" (control)") for name in heads] == list(reversed(firsts.values()))


def test_the_table_of_every_score_has_every_score_and_what_noise_gives(made: Pool) -> None:
    noisy = [
        replace(each, scores={name: replace(scored, noise=0.125) for name, scored in each.scores.items()})
        for each in made.rows
    ]
    table = parsed(replace(made, rows=noisy).page()).by_id("r0-0-score-table")
    heads, first, *_ = table.cells()
    assert [head.rstrip(" \N{NO-BREAK SPACE}↑↓✗") for head in heads[1:7]] == [
        "GW",
        "MUTUAL_NN",
        "RIDGE_R2",
        "LANGUAGE_SUPERVISED",
        "WIDTH",
        "TOKENS",
    ]
    assert first[:2] == ["first_one", ".1000 rank 1 · noise .1250"]


def test_the_record_shows_the_figures_of_the_setting_that_was_asked_about(made: Pool, page: Element) -> None:
    world = record().world("pooled")
    table = page.by_id("r0-rules")
    (followed,) = [row.all("th")[0].text for row in table.all("tr", class_="listed")]
    assert followed == world.rule.title
    shown = {row[0]: row[1] for row in table.cells()[1:]}
    outcome = world.outcome(world.rule.name)
    assert shown[followed].startswith(f"{100 * outcome.fraction.value:.0f}%")
    assert shown["a pick at random"].split("%")[0] in ("99", "100", "101")
    other = parsed(made.page(Question(fed="patches"))).by_id("r0-rules")
    assert other.cells() != table.cells()


def test_the_papers_baselines_stand_where_gw_orders_the_pool(made: Pool, page: Element) -> None:
    table = parsed(made.page(Question(selection="paper"))).by_id("r0-0-paper-table")
    shown = {row[0]: row[1:] for row in table.cells()[1:]}
    assert shown["GW"] == [".66 / .53 / .43", "- / - / -", "first_one"]
    assert not [each for each in page if each.attributes.get("id") == "r0-0-paper-table"]


def test_scores_that_were_left_out_are_told_with_the_reason(made: Pool) -> None:
    first, *others = made.rows
    lacking = replace(first, left_out={"knn": LeftOut("the pairs have no labels", 1, {})})
    text = parsed(replace(made, rows=[lacking, *others]).page()).text
    assert "The score knn is left out: the pairs have no labels (first_one)." in text


def test_labels_are_ranked_by_what_their_pairs_have_in_common(page: Element) -> None:
    heads, *lines = page.by_id("r0-0-label-table").cells()
    assert heads == ["label", "pairs", "first", *ENCODERS[:-1]]
    assert {line[0]: line[1] for line in lines} == {"even": "30", "odd": "30"}
    for line in lines:
        values = [float(cell.split(" ")[0]) for cell in line[3:]]
        assert line[2] == heads[3 + values.index(max(values))] == "first_one"


def test_the_gallery_shows_each_pair_once_with_its_words(page: Element) -> None:
    figures = page.by_id("r0-0-gallery").all("figure")
    captions = [each.all("figcaption")[0].text for each in figures]
    assert len(captions) == len(set(captions)) == 16
    assert all(each.all("img")[0].attributes["src"].startswith("data:image/webp;base64,") for each in figures)
    assert all(caption.startswith("A picture, number") for caption in captions)


def test_without_pairs_and_embeddings_there_are_no_pictures_labels_and_findings(made: Pool) -> None:
    bare = parsed(rendered_page([made.ranking(Question(fed="pooled"))]))
    assert headings(bare) == [
        "Ranking for llm_a",
        "Ranking for llm_b",
        "The record",
        "Value and cost, for llm_a",
        "Value and cost, for llm_b",
        "How each number was made",
    ]
    assert not bare.all("img")


def test_pictures_of_another_probe_are_not_shown(made: Pool) -> None:
    other = replace(made.ranking(Question(fed="pooled")), probe="other-12345678")
    page = parsed(rendered_page([other], embeddings=made.read, probe=made.probe))
    assert not [heading for heading in headings(page) if heading.startswith("Pairs that fit")]


def test_the_page_loads_nothing(page: Element) -> None:
    for each in page:
        for key, value in each.attributes.items():
            if key in LOADING:
                assert value.startswith(("#", "data:")), (each.tag, key, value)
            assert "url(" not in value or "url(#" in value, (each.tag, key, value)
        assert each.tag not in ("link", "iframe", "object", "embed", "base", "form")
    (style,), (script,) = page.all("style"), page.all("script")
    assert not {"@import", "url(", "http"} & set(re.findall(r"@import|url\(|http", style.source))
    assert not re.findall(r"fetch|XMLHttp|import|WebSocket|innerHTML|http", script.source)
    (policy,) = [each for each in page.all("meta") if each.attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy.attributes["content"].startswith("default-src 'none'")


def test_scripts_are_small_and_the_page_is_whole_without_them(page: Element) -> None:
    (script,) = page.all("script")
    assert len(script.source.encode()) < 10_000
    assert not [each for each in page if "hidden" in each.attributes], "nothing is hidden before the script runs"
    (tabs,) = page.all("nav", class_="tabs")
    targets = [each.attributes["href"][1:] for each in tabs.all("a")]
    assert [page.by_id(target).tag for target in targets] == ["div", "div"]


@pytest.mark.slow
def test_ten_encoders_and_two_llms_are_less_than_a_megabyte_and_a_half(tmp_path: Path) -> None:
    names = [f"encoder_number_{place}" for place in range(10)]
    page = pool(tmp_path, names, ["llm_a", "llm_b"], n_pairs=300).page()
    assert len(page.encode()) < 1_500_000


def test_every_identifier_is_there_once_and_every_picture_has_words(page: Element) -> None:
    names = [each.attributes["id"] for each in page if "id" in each.attributes]
    assert len(names) == len(set(names))
    for each in page.all("input"):
        page.by_id(each.attributes["data-table"])
    assert all("alt" in each.attributes for each in page.all("img"))
    assert all(each.attributes.get("role") == "img" or "aria-hidden" in each.attributes for each in page.all("svg"))
    assert page.all("html", lang="en")
    assert [each.attributes["content"] for each in page.all("meta", name="viewport")]


def test_hostile_names_captions_and_commands_are_shown_as_words(tmp_path: Path) -> None:
    names = [HOSTILE, "second_one", "third_one"]
    made = pool(tmp_path, names, [HOSTILE + "llm"], captions=HOSTILE + " {}")
    page = parsed(made.page(commands=[HOSTILE]))
    assert len(page.all("script")) == 1
    assert page.all("p", class_="pick")[0].text == HOSTILE
    assert any(each.text.startswith(HOSTILE) for each in page.all("figcaption"))
    assert page.all("pre")[-1].text == HOSTILE
    assert any(each.text.startswith(HOSTILE) for each in page.all("title"))


def test_light_and_dark_have_the_same_colours_by_name(page: Element) -> None:
    (style,) = page.all("style")
    light, dark = (
        set(re.findall(r"(--[a-z-]+):", part)) for part in style.source.split("@media (prefers-color-scheme: dark)")[:2]
    )
    assert {"--page", "--ink", "--picked"} <= light
    used = set(re.findall(r"var\((--[a-z-]+)\)", style.source))
    assert used <= light
    assert used <= dark


def test_equal_rankings_are_equal_bytes(made: Pool) -> None:
    assert made.page() == made.page()


def test_the_templates_are_files_of_the_package() -> None:
    from importlib import resources

    names = {each.name for each in (resources.files("vlmatch.report") / TEMPLATES).iterdir()}
    assert {"page.html.j2", "style.css", "page.js", "first_screen.html.j2", "record.html.j2"} <= names
