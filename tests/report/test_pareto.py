"""The Pareto plot: what it names, and that a page of any width and theme can show it."""

import re

import pytest
from defusedxml.ElementTree import fromstring

from vlmatch.costs.candidate import CandidateCost
from vlmatch.errors import VlmatchError
from vlmatch.report.pareto import WIDTH, pareto_plot

GFLOPS = {"tiny": 0.1, "small": 1.0, "dear": 20.0, "large": 30.0, "own": None}
VALUES = {"tiny": 0.2, "small": 0.6, "dear": 0.5, "large": 0.9, "own": 0.95}
COSTS = {name: CandidateCost(name, parameters=10**6, gflops=gflops, tokens=49) for name, gflops in GFLOPS.items()}
SVG = "{http://www.w3.org/2000/svg}"


def texts(drawn: str, tag: str) -> list[str]:
    return ["".join(each.itertext()).strip() for each in fromstring(drawn).iter(SVG + tag)]


def test_the_front_and_the_pick_are_named_and_every_point_tells_its_name_and_figures() -> None:
    poor = {f"poor_{place}": 0.01 * place for place in range(9)}
    values, costs = {**VALUES, **poor}, {**COSTS, **{name: CandidateCost(name, gflops=25.0) for name in poor}}
    drawn = pareto_plot(values, costs, picked="dear")
    written = texts(drawn, "text")
    assert {"tiny", "small", "large", "dear"} <= set(written)
    told = texts(drawn, "title")
    assert told[:4] == ["tiny: 0.20, 100M", "small: 0.60, 1G", "dear: 0.50, 20G", "large: 0.90, 30G"]
    assert told[4:] == [f"{name}: {value:.2f}, 25G" for name, value in poor.items()]
    assert not {"dear", *poor} & set(texts(pareto_plot(values, costs), "text"))


def test_of_few_candidates_all_are_named() -> None:
    assert {"tiny", "small", "dear", "large"} <= set(texts(pareto_plot(VALUES, COSTS), "text"))


def test_a_candidate_of_unknown_price_is_not_drawn_but_counted() -> None:
    drawn = pareto_plot(VALUES, COSTS)
    assert not any(text.startswith("own") for tag in ("text", "title") for text in texts(drawn, tag))
    assert any("FLOPs for one image (not known for 1)" in text for text in texts(drawn, "text"))
    assert any(text == "parameters" for text in texts(pareto_plot(VALUES, COSTS, "params"), "text"))


def test_colours_come_from_the_page_and_letters_are_11_pixels_where_it_is_400_wide() -> None:
    drawn = pareto_plot(VALUES, COSTS, picked="large")
    assert "currentColor" in drawn
    assert "var(--pick, " in drawn
    bare = re.sub(r"var\(--\w+, #[0-9a-f]{6}\)", "", drawn)
    assert not re.search(r"#[0-9a-f]{6}\b", bare), "a colour that no theme can change"
    root = fromstring(drawn)
    assert root.get("width") is None
    assert float(root.get("viewBox").split()[2]) == pytest.approx(WIDTH, abs=0.1)
    sizes = {float(size) for size in re.findall(r"font-size: ([\d.]+)px", drawn)}
    assert sizes == {11.0}


def test_names_stay_within_the_picture_and_off_each_other() -> None:
    names = {f"an_encoder_of_a_long_name_{place}": 0.1 * place for place in range(1, 6)}
    costs = {name: CandidateCost(name, gflops=10.0**place) for place, name in enumerate(names)}
    root = fromstring(pareto_plot(names, costs))
    boxes = []
    for text in root.iter(SVG + "text"):
        if text.text in names:
            x, y = (float(text.get(key)) for key in "xy")
            width = 6.5 * len(text.text)
            left = (
                x - {"start": 0, "middle": width / 2, "end": width}[re.search(r"anchor: (\w+)", text.get("style"))[1]]
            )
            assert left >= 0
            boxes.append((left, y - 10, left + width, y))
    assert len(boxes) == 5
    for place, one in enumerate(boxes):
        for other in boxes[:place]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (one, other)


def test_equal_input_gives_equal_text_and_nothing_to_show_is_no_error() -> None:
    assert pareto_plot(VALUES, COSTS) == pareto_plot(VALUES, COSTS)
    assert fromstring(pareto_plot({}, {})).tag == SVG + "svg"


def test_an_unknown_price_is_told() -> None:
    with pytest.raises(VlmatchError, match="price='money'"):
        pareto_plot(VALUES, COSTS, "money")
