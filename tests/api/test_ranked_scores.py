"""Which scores a ranking from Python computes, of whatever kind they are given, and what it keeps in memory."""

import gc
import weakref
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import vlmatch
from vlmatch.api.ranking import score_choice
from vlmatch.embeddings.own import OwnModel
from vlmatch.embeddings.store import FILE, Store
from vlmatch.geometry import Geometry, PairedGeometry, upper_triangle
from vlmatch.machine.processes import SWEEP
from vlmatch.ranking import Question
from vlmatch.report.answer import PoolRanking
from vlmatch.scores.base import Score, ScoreResult

SCORES = ["gw_paired", "cka", "parameters"]


def rank(*pool: Any, **options: Any) -> vlmatch.PoolRanking:
    return vlmatch.rank("pictures", *pool, **{"scores": SCORES, "progress": False, **options})


def test_geometries_are_freed_after_a_ranking_but_not_between_the_jobs_of_a_sweep(
    here: Path, my_llm: OwnModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[weakref.ref[Geometry]] = []
    angular = Geometry.angular

    def noted(embeddings: Any, *, kind: str = "these") -> Geometry:
        found = angular(embeddings, kind=kind)
        measured.append(weakref.ref(found))
        return found

    monkeypatch.setattr(Geometry, "angular", noted)

    def held() -> int:
        gc.collect()
        return sum(reference() is not None for reference in measured)

    rank("pixels16", my_llm)
    assert measured
    assert held() == 0
    monkeypatch.setenv(SWEEP, "s")
    rank("mean_colour", my_llm)
    assert held() > 0
    monkeypatch.delenv(SWEEP)
    vlmatch.rank_stored("pictures", scores=SCORES)
    assert held() == 0


@pytest.mark.parametrize(("selection", "added"), [("rsa", "rsa"), ("paper", "gw")])
def test_the_score_that_orders_the_pool_is_computed_whatever_others_are(
    here: Path, my_llm: OwnModel, selection: str, added: str
) -> None:
    pool = ["pixels16", "mean_colour"]
    ranking = rank(pool, my_llm, scores=["cka"], selection=selection)
    assert list(ranking.rows[0].scores) == ["cka", added]
    (llm,) = ranking.rankings[0].llms
    assert llm.ingredients == (added,)
    stored = vlmatch.rank_stored("pictures", scores=["cka"], selection=selection)
    assert [row.scores for row in stored.rows] == [row.scores for row in ranking.rows]


@dataclass(frozen=True)
class Agreeing(Score):
    """A score of the user's: the correlation of the angles."""

    shift: float = 0.0

    title: ClassVar[str] = "Agreeing"
    version: ClassVar[int] = 1
    higher_is_better: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = ("images", "captions", "pairing")

    def __call__(self, pair: PairedGeometry) -> ScoreResult:
        sides = (upper_triangle(side.distances) for side in (pair.image, pair.text))
        return ScoreResult(self.shift + float(np.corrcoef(*sides)[0, 1]))


def test_a_score_object_ranks_as_it_scores_and_is_kept(here: Path, my_llm: OwnModel) -> None:
    mine = {"mine": Agreeing(shift=2.0)}
    ranking = rank(["pixels16", "mean_colour"], my_llm, scores=mine, selection="mine")
    (llm,) = ranking.rankings[0].llms
    assert llm.ingredients == ("mine",)
    sides = [vlmatch.embed("pictures", model, progress=False) for model in ("pixels16", my_llm)]
    expected = vlmatch.score(*sides, mine)["mine"]
    assert ranking.to_frame().set_index("encoder").mine["pixels16"] == pytest.approx(expected)
    stored = vlmatch.rank_stored("pictures", scores=mine, selection="mine", against="pixels16")
    assert [row.scores for row in stored.rows] == [row.scores for row in ranking.rows]
    other = vlmatch.rank_stored("pictures", scores={"mine": Agreeing(shift=3.0)})
    assert other.to_frame().mine.tolist() == pytest.approx([value + 1 for value in ranking.to_frame().mine])
    with pytest.raises(vlmatch.VlmatchError, match=r"scores\['mine'\]=Agreeing: its options can't be stored"):
        rank("pixels16", my_llm, scores={"mine": Agreeing(shift=np.zeros(3))})
    assert vlmatch.score(*sides, score_choice(["cka"])) == vlmatch.score(*sides, ["cka"])


def test_scores_of_other_labels_are_not_ranked_with_new_ones(here: Path, my_llm: OwnModel) -> None:
    scores = ["cka", "knn_accuracy"]
    probe = vlmatch.probe("pictures")
    for encoder, labels in (("pixels16", "abababababab"), ("mean_colour", "aabbaabbaabb")):
        pairs = tuple(replace(pair, label=label) for pair, label in zip(probe.pairs, labels, strict=True))
        probe = replace(probe, pairs=pairs)
        rows = vlmatch.rank(probe, encoder, my_llm, scores=scores, progress=False).rows
    store = Store(here / "cache")
    answered = PoolRanking.in_store(store, {rows[0].group}, score_choice(scores), Question(), probe=probe)
    assert [row.encoder for row in answered.rows] == ["mean_colour"]
    without = PoolRanking.in_store(store, {rows[0].group}, score_choice(["cka"]), Question(), probe=probe)
    assert {row.encoder for row in without.rows} == {"mean_colour", "pixels16"}


def test_rank_and_rank_stored_take_the_same_keywords() -> None:
    ours, stored = (set(signature(function).parameters) for function in (vlmatch.rank, vlmatch.rank_stored))
    assert ours - stored == {"encoders", "llms", "trainer", "progress"}
    assert stored <= ours


@pytest.mark.parametrize(
    "wrong",
    [{"selection": "typo"}, {"fed": "pool"}, {"budget": {"params": "few"}}, {"costs": {"pixels16": {"flops": "many"}}}],
)
def test_a_wrong_question_is_refused_before_anything_is_embedded(here: Path, my_llm: OwnModel, wrong: dict) -> None:
    with pytest.raises(vlmatch.VlmatchError, match=next(iter(wrong))):
        rank("pixels16", my_llm, **wrong)
    assert not list(here.rglob(FILE))
