"""The picture of the record: its lines, their places, and what is not known."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from vlmatch.evidence.record import record
from vlmatch.evidence.replay import Figure
from vlmatch.report.evidence import bare
from vlmatch.report.record_picture import record_panel, record_picture


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


def test_both_worlds_are_shown_with_every_rule_and_its_figure():
    svg = record_picture(record())
    shown = texts(svg)
    for world in (record().world("patches"), record().world("pooled")):
        assert world.title in shown
        for rule in ("spec", "participation_ratio", "mutual_nn", "ridge_r2"):
            assert bare(world.regret(rule)) in shown
        assert bare(world.chosen_by().fraction.value) in shown
    assert shown.count("the rule, held out") == 2
    assert "prefers-color-scheme:dark" in svg


def test_what_was_not_measured_is_said():
    assert "not measured" in texts(record_panel(record().world("patches")))
    assert "not known: one training each" in texts(record_panel(record().world("patches")))
    assert "not measured" not in texts(record_panel(record().world("pooled")))


def test_a_panel_has_the_colour_of_the_text_around_it():
    svg = record_panel(record().world("pooled"))
    assert "<style" not in svg
    assert set(re.findall(r'<text[^>]* fill="([^"]*)"', svg)) == {"currentColor"}


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_point_lies_between_nothing_lost_and_a_random_pick(value):
    world = record().world("pooled")
    outcomes = tuple(replace(each, fraction=Figure(value, value, 9.0)) for each in world.outcomes)
    svg = record_panel(replace(world, outcomes=outcomes, choosing=(), once=()))
    zero, _, random = (float(x) for x in re.findall(r'<line x1="([\d.]+)"[^>]*stroke="currentColor"', svg))
    (point,) = {float(x) for x in re.findall(r'<circle cx="([\d.]+)"', svg)}
    assert point == pytest.approx(zero + value * (random - zero), abs=0.11)
    assert svg.count("<path") == 6  # whiskers that go on


def test_odd_titles_are_escaped():
    world = replace(record().world("pooled"), title="<b>&")
    assert "<b>&" in texts(record_panel(world))
