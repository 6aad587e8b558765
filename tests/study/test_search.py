"""The replayed searches follow from committed files, and the document shows them."""

import pytest

from vlmatch import paths
from vlmatch_study.evidence.recording import OURS, THEIRS
from vlmatch_study.rows import read
from vlmatch_study.search import courses, spending
from vlmatch_study.search.__main__ import MARK, tables


def test_the_document_shows_the_tables():
    page = (paths.root() / "docs" / "search.md").read_text(encoding="utf-8")
    for name, made in tables(read(spending.CURVE)).items():
        assert MARK.format(name) + made in page, name


def test_curves_end_in_the_truth_and_similarities_are_those_of_cka():
    ours = courses.ours()
    assert ours.values.shape == (32, 2, 4)
    assert (ours.values[:, :, -1] == ours.world.truth).all()
    assert (ours.similarity == ours.similarity.T).all()
    assert ours.similarity.diagonal() == pytest.approx(1)
    assert ours.similarity.min() > 0


@pytest.mark.slow
def test_the_whole_table_follows_from_committed_files(tmp_path):
    worlds = ((courses.ours(), OURS), (courses.theirs(), THEIRS))
    rows = [(world, about.scale, each) for world, about in worlds for each in spending.spent(world, about.fed)]
    spending.write(tmp_path / "curve.csv", rows)
    assert (tmp_path / "curve.csv").read_text() == spending.CURVE.read_text()
