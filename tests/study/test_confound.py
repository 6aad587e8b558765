"""Block 1: the places that each score predicts follow from the committed scores of its 16 variants."""

import pytest

from vlmatch_study.blocks.block import Block
from vlmatch_study.evidence.confound import SCORES, TABLE, with_places
from vlmatch_study.rows import read


def test_places_go_by_each_score_and_ties_share_the_better_one() -> None:
    rows = [{"encoder": name, **dict.fromkeys(SCORES, value)} for name, value in (("a", "0.1"), ("b", "9"), ("c", "9"))]
    assert [row["place_mutual_nn"] for row in with_places(rows)] == [3, 1, 1]


@pytest.mark.skipif(not TABLE.is_file(), reason="the block's scores are not committed yet")
def test_the_committed_places_follow_from_the_committed_scores() -> None:
    rows = read(TABLE)
    assert [row["encoder"] for row in rows] == Block(1, ()).encoders
    for row, found in zip(rows, with_places(rows), strict=True):
        assert {key: str(value) for key, value in found.items()} == row
