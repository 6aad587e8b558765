"""Drawings in the page: the theme's colours, no background, names of their own."""

from xml.etree.ElementTree import Element, fromstring

from matplotlib.figure import Figure

from vlmatch.report.svg import drawn


def figure() -> Figure:
    made = Figure(figsize=(3, 2))
    axes = made.subplots()
    axes.plot([1, 2, 3], [1, 3, 2], "o-", color="#4c78a8")
    axes.set_title('a < b & "c"')
    return made


def parsed(prefix: str = "p") -> Element:
    return fromstring(str(drawn(figure(), prefix, 'a "label" <')))


def local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def test_black_and_blue_become_colours_of_the_theme() -> None:
    styles = " ".join(each.get("style", "") for each in parsed().iter())
    assert "#000000" not in styles
    assert "#4c78a8" not in styles
    assert "stroke: currentColor" in styles
    assert "stroke: var(--series)" in styles


def test_nothing_paints_a_background() -> None:
    patches = [each for each in parsed().iter() if local(each) == "path" and "fill: #fff" in each.get("style", "")]
    assert patches == []


def test_it_is_as_wide_as_its_place_and_has_words() -> None:
    svg = parsed()
    assert svg.get("viewBox")
    assert svg.get("width") is None
    assert (svg.get("role"), svg.get("aria-label")) == ("img", 'a "label" <')
    assert 'a < b & "c"' in [each.text for each in svg.iter() if local(each) == "text"]
    assert not [each for each in svg.iter() if local(each) in ("style", "metadata")]


def test_two_drawings_share_no_identifier_and_refer_to_their_own() -> None:
    one, other = (
        {each.get("id") for each in parsed(prefix).iter() if each.get("id")} for prefix in ("first", "second")
    )
    assert one
    assert not one & other
    used = [value for each in parsed("first").iter() for key, value in each.items() if key.endswith("href")]
    assert used
    assert {value.removeprefix("#") for value in used} <= one


def test_equal_figures_give_equal_text() -> None:
    assert drawn(figure(), "p", "x") == drawn(figure(), "p", "x")
