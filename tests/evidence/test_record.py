"""The frozen record: it can be read, holds together, and answers for pools of any size."""

import json

import pytest

from vlmatch.errors import VlmatchError
from vlmatch.evidence.record import FILE, record


@pytest.fixture(scope="module")
def found():
    return record()


@pytest.mark.parametrize("setting", ["pooled", "patches"])
def test_each_setting_has_a_world_with_a_rule_that_is_calibrated(found, setting):
    world = found.world(setting)
    assert world.setting == setting
    assert world.rule.name in found.candidates
    for size in (3, 8, 16):
        listed = world.calibration("random", size)
        assert (listed.kind, listed.size, listed.rule) == ("random", size, world.rule.name)
        assert listed.coverage.value >= 0.9
        assert 1 <= listed.length <= size


def test_every_figure_lies_in_its_range(found):
    for world in found.worlds:
        for outcome in world.outcomes:
            assert 0 <= outcome.first_three.value <= 1
            assert outcome.rule == "random" or found.rule(outcome.rule)
        at_random = [outcome for outcome in world.outcomes if outcome.rule == "random"]
        assert all(outcome.fraction.value == pytest.approx(1) for outcome in at_random)
        assert len(world.encoders) == len(set(world.encoders))


def test_odd_rows_are_left_out_of_one_variant(found):
    whole, less = found.named("vtbenchlab"), found.named("vtbenchlab_without_odd")
    assert set(less.left_out) == set(whole.encoders) - set(less.encoders)
    assert less.left_out


def test_the_nearest_size_answers_and_random_pools_answer_for_an_unknown_kind(found):
    world = found.world("pooled")
    assert world.calibration("random", 1000).size == max(each.size for each in world.calibrations)
    assert world.calibration("language", 8).kind == "random"  # its 8 encoders of that kind make one pool
    assert world.calibration("random", 8, "no such rule") is None
    assert world.outcome("mutual_nn", "random", 9).size == 8
    assert world.regret("no such rule") is None
    assert world.chosen_by(7).size == 8


def test_what_came_out_later_is_beside_the_record_of_one_pooled_feature_alone(found):
    world = found.world("pooled")
    smaller, larger = (world.later_regret("participation_ratio", size) for size in (5, 8))
    assert smaller != larger
    assert world.later_regret("participation_ratio", 12) == larger
    assert world.later_regret("participation_ratio", 3) == smaller
    assert world.later_regret("no such rule") is None
    assert found.world("patches").later_regret("spec") is None


def test_unknown_names_are_named(found):
    with pytest.raises(VlmatchError, match="no world 'moon'; wanted one of embedded"):
        found.named("moon")
    with pytest.raises(VlmatchError, match="no rule 'luck'"):
        found.rule("luck")


def test_a_damaged_record_is_refused(tmp_path):
    path = tmp_path / "record.json"
    plain = json.loads(FILE.read_text(encoding="utf-8"))
    del plain["worlds"][0]["unit"]
    path.write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(VlmatchError, match=r"can't be read.*unit"):
        record(path)


def test_nothing_of_the_published_table_is_in_the_wheel(found):
    # No licence is stated, so the wheel has figures derived over encoders, and no encoder's own figure.
    text = FILE.read_text(encoding="utf-8")
    assert "58.03" not in text
    assert "49.76" not in text
