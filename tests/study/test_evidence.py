"""The study's record: it follows from committed files, and the documents show it."""

import csv
import json
import re
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from vlmatch import paths
from vlmatch.configs import choices
from vlmatch.evidence.choosing import choose
from vlmatch.evidence.record import FILE, record
from vlmatch.evidence.replay import replay
from vlmatch.evidence.rules import CANDIDATES
from vlmatch.evidence.shortlists import calibrate
from vlmatch.report.evidence import bare
from vlmatch.report.record_picture import record_picture
from vlmatch_study.evidence import tables
from vlmatch_study.evidence.later import later
from vlmatch_study.evidence.odd_rows import odd_rows, robust, studentised
from vlmatch_study.evidence.recording import (
    CHOSEN,
    OURS,
    RULES,
    in_points,
    in_points_later,
    rendered,
    whole_record,
)
from vlmatch_study.evidence.worlds import PUBLISHED, embedded, odd_in, vtbenchlab
from vlmatch_study.marked import MARK, replaced

ROOT = paths.root()


def nearly(found, frozen) -> bool:
    """Whether figures agree to the digits that the file keeps."""
    if found is None or frozen is None or isinstance(found, str):
        return found == frozen
    if isinstance(found, int | float):
        return found == pytest.approx(frozen, rel=1e-3, abs=1e-4)
    return len(found) == len(frozen) and all(map(nearly, found, frozen))


@pytest.mark.parametrize(("make", "scale"), [(embedded, 100), (vtbenchlab, 1)])
def test_the_record_of_pools_of_8_follows_from_committed_files(make, scale):
    world, frozen = make(), record().named(make().name)
    assert world.names == frozen.encoders
    assert world.standard_error * scale == pytest.approx(frozen.standard_error, rel=1e-3, abs=1e-9)
    known = [rule for rule in RULES if rule.name in frozen.correlations]
    for outcome in replay(world, known, "random", 8):
        kept = next(o for o in frozen.outcomes if (o.rule, o.kind, o.size) == (outcome.rule, "random", 8))
        assert all(map(nearly, in_points(outcome, scale).__dict__.values(), kept.__dict__.values())), outcome.rule
    listed, kept = calibrate(world, frozen.rule, "random", 8), frozen.calibration("random", 8)
    assert all(map(nearly, listed.__dict__.values(), kept.__dict__.values()))


def test_what_came_out_later_is_what_the_findings_say():
    frozen = record().named("embedded").later
    said = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    assert f"| of 8 from {frozen.n_encoders} encoders, {frozen.n_families} families" in said
    for rule, title in (
        ("mutual_nn", "MutualNN"),
        ("participation_ratio", "participation ratio"),
        ("spec", "spec sheet"),
    ):
        (kept,) = [each for each in frozen.outcomes if (each.rule, each.size) == (rule, 8)]
        assert f"seeds 0, 1 | {title} | {bare(kept.fraction.value)} | {bare(kept.first_three.value)} |" in said
    found = later()
    assert found is not None
    points = in_points_later(found, OURS.scale)
    assert nearly([astuple(each) for each in points.outcomes], [astuple(each) for each in frozen.outcomes])


@pytest.mark.parametrize("make", [embedded, vtbenchlab])
def test_the_rule_of_a_setting_is_the_one_chosen_most_often(make):
    frozen = record().named(make().name)
    found = choose(make(), CANDIDATES, 8)
    assert max(found.chosen, key=found.chosen.get) == frozen.rule.name == CHOSEN[frozen.setting]
    assert nearly(found.fraction, frozen.chosen_by(8).fraction)


@pytest.mark.slow
def test_the_whole_record_follows_from_committed_files():
    assert rendered(whole_record()) == FILE.read_text(encoding="utf-8")


def test_the_documents_show_the_record():
    text = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    made = tables.tables(record())
    assert replaced(text, made, tables.MODULE) == text
    for name in made:
        assert MARK.format(name=name, module=tables.MODULE) in text, name
    assert (ROOT / "docs" / "record.svg").read_text(encoding="utf-8") == record_picture(record()) + "\n"


def test_the_documents_example_replays_figures_of_ones_own(capsys):
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/evidence.md").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    rng = np.random.default_rng(0)
    names = [f"encoder{i}" for i in range(20)]
    given = {"names": names, "families": names, **{key: rng.random(20) for key in ("truth", "ridge_r2", "parameters")}}
    exec(compile(code, "docs/evidence.md", "exec"), given)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["random", "ridge_r2", "parameters"]


def test_every_published_encoder_is_mapped_or_has_a_reason():
    with (PUBLISHED / "encoders.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["their_name"] for row in rows] == list(vtbenchlab().names)
    for row in rows:
        assert bool(row["encoder"]) != bool(row["reason"]), row
        assert not row["encoder"] or row["encoder"] in choices("encoder")


def test_the_odd_rows_are_those_of_the_readme():
    listed = (PUBLISHED / "README.md").read_text(encoding="utf-8").split("## Odd rows")[1]
    for row in odd_in(vtbenchlab()):
        assert f"| {row.encoder} |" in listed
    assert listed.count("\n| ") == len(odd_in(vtbenchlab())) + 1


def test_odd_rows_are_found_by_each_criterion():
    rng = np.random.default_rng(0)
    families = ["a"] * 20 + ["b"] * 20 + ["alone"]
    names = [str(i) for i in range(41)]
    width = rng.choice([256.0, 512.0], size=41)
    score = 1 + 0.01 * rng.normal(size=41)
    other = 2 + 0.1 * np.arange(41)
    assert odd_rows(names, families, {"truth": score, "x": other}, [width]) == []
    off, lonely, twin = score.copy(), score.copy(), other.copy()
    off[3] += 1
    lonely[40] += 1
    found = odd_rows(names, families, {"truth": off, "x": other}, [width])
    assert [(row.encoder, "truth" in row.why) for row in found] == [("3", True)]
    found = odd_rows(names, families, {"truth": lonely, "x": other}, [width])
    assert [(row.encoder, "robust" in row.why) for row in found] == [("40", True)]
    twin[20], width[20] = twin[19], width[19]
    found = odd_rows(names, families, {"truth": score, "x": twin, "y": 1 + rng.random(41)}, [width])
    assert found == []  # y tells them apart
    found = odd_rows(names, families, {"truth": score, "x": twin}, [width])
    assert [(row.encoder, row.why) for row in found] == [("20", "every score within 1.5% of 19")]


def test_residuals_are_those_of_leaving_each_row_out():
    rng = np.random.default_rng(0)
    design, values = np.column_stack([np.ones(12), rng.normal(size=12)]), rng.normal(size=12)
    found = studentised(design, values)
    for row in range(12):
        kept = np.arange(12) != row
        fit, rest, *_ = np.linalg.lstsq(design[kept], values[kept], rcond=None)
        spread = rest[0] / (11 - 2) * (1 + design[row] @ np.linalg.inv(design[kept].T @ design[kept]) @ design[row])
        assert found[row] == pytest.approx((values[row] - design[row] @ fit) / np.sqrt(spread))
    assert robust(np.array([1.0, 2, 3, 4, 100]))[4] == pytest.approx(97 / 1.4826)


def test_the_published_table_is_not_in_the_package():
    assert not list(Path(FILE).parent.rglob("*vtbenchlab*"))
    plain = json.loads(FILE.read_text(encoding="utf-8"))
    assert {world["name"] for world in plain["worlds"]} >= {"embedded", "vtbenchlab"}
