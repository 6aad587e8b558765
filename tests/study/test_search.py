"""The replayed searches follow from committed files, and the document shows them."""

from dataclasses import replace

import numpy as np
import pytest

import vlmatch
from made_rows import header
from vlmatch import paths
from vlmatch.embeddings.store import FILE, Store, sha256_of, write_array
from vlmatch_study.evidence.recording import OURS, THEIRS
from vlmatch_study.marked import MARK, replaced
from vlmatch_study.rows import read
from vlmatch_study.search import courses, spending
from vlmatch_study.search.__main__ import MODULE, tables


def test_the_document_shows_the_tables():
    page = (paths.root() / "docs" / "search.md").read_text(encoding="utf-8")
    made = tables(read(spending.CURVE))
    assert all(MARK.format(name=name, module=MODULE) in page for name in made)
    assert replaced(page, made, MODULE) == page


def test_curves_end_in_the_truth_and_similarities_are_those_of_cka():
    ours = courses.ours()
    assert ours.values.shape == (32, 2, 4)
    assert (ours.values[:, :, -1] == ours.world.truth).all()
    assert (ours.similarity == ours.similarity.T).all()
    assert ours.similarity.diagonal() == pytest.approx(1)
    assert ours.similarity.min() > 0


def test_similarities_are_of_the_paper_s_feature_whatever_else_is_stored(tmp_path):
    random = np.random.default_rng(0)
    stored = {(name, slug): random.normal(size=(6, 3)).astype(np.float32)
              for name, slug in (("a", "paper"), ("a", "vlm_input"), ("b", "paper"))}  # fmt: skip
    for (name, slug), array in stored.items():
        about = replace(header("encoder", name, shape=array.shape), array_sha256=sha256_of(array))
        write_array(tmp_path / "embeddings" / "p-0" / name / slug / FILE, array, {"header": about.to_json()})
    found = courses.measured_similarities(("a", "b"), Store(tmp_path), "p-0")
    expected = vlmatch.score(stored["a", "paper"], stored["b", "paper"], ["cka"])["cka"]
    assert found == pytest.approx(np.array([[1, expected], [expected, 1]]), abs=1e-6)


@pytest.mark.slow
def test_the_whole_table_follows_from_committed_files(tmp_path):
    worlds = ((courses.ours(), OURS), (courses.theirs(), THEIRS))
    rows = [(world, about.scale, each) for world, about in worlds for each in spending.spent(world, about.fed)]
    spending.write(tmp_path / "curve.csv", rows)
    assert (tmp_path / "curve.csv").read_text() == spending.CURVE.read_text()
