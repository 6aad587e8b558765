"""The record against a truth of the user's: scipy's figures on the same CSV, regrets by enumeration, bad scores."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

import vlmatch
from made_rows import row
from vlmatch.errors import VlmatchError
from vlmatch.evidence.own.scores import described
from vlmatch.ranking import Question
from vlmatch.report.answer import PoolRanking

STUDY = Path(__file__).parents[2] / "study" / "published"
TRUTH, SCORES = STUDY / "truth_vtbenchlab.csv", STUDY / "scores_vtbenchlab.csv"
N = 12


@pytest.fixture(scope="module")
def vtbenchlab():
    return vlmatch.evidence_of(SCORES, TRUTH).to_frame().set_index("rule")


def made(n: int = N, **columns: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and truth of n encoders; the truth rises with their number."""
    names = [f"e{place}" for place in range(n)]
    truth = pd.DataFrame({"encoder": names, "llm": "mine", "benchmark": "gqa", "score": np.arange(n) + 50.0})
    rng = np.random.default_rng(0)
    scores = {"encoder": names, "ridge_r2": np.arange(n) / n, "noise": rng.normal(size=n), **columns}
    return pd.DataFrame(scores), truth


@pytest.mark.parametrize(
    "score", ["ridge_r2", "mutual_knn", "cka_text", "rankme", "probe", "width", "tokens", "a_score"]
)
def test_correlations_are_scipys_on_the_same_csv(vtbenchlab, score: str) -> None:
    both = pd.read_csv(SCORES).merge(pd.read_csv(TRUTH), on="encoder")[[score, "score"]].dropna()
    assert vtbenchlab.spearman[score] == pytest.approx(spearmanr(both[score], both.score).statistic, abs=1e-9)
    assert vtbenchlab.n[score] == len(both)
    assert vtbenchlab.low_over_encoders[score] < vtbenchlab.spearman[score] < vtbenchlab.high_over_encoders[score]


def test_regrets_are_those_that_the_record_froze(vtbenchlab) -> None:
    from vlmatch.evidence.record import record

    world = record().named("vtbenchlab")
    for name, theirs in {"ridge_r2": "ridge_r2", "mutual_knn": "mutual_nn", "cka_text": "cka"}.items():
        assert vtbenchlab.share_8[name] == pytest.approx(world.regret(theirs), abs=0.01)


def test_pools_are_replayed_as_enumeration_says() -> None:
    scores, truth = made()
    found = vlmatch.evidence_of(scores, truth).to_frame().set_index("rule")
    noise = scores.noise.to_numpy()
    lost = [max(pool) - max(pool, key=lambda each: noise[each]) for pool in combinations(range(N), 5)]
    assert found.regret_5["noise"] == pytest.approx(np.mean(lost), abs=0.08)
    assert found.regret_5["ridge_r2"] == 0
    assert found.regret_of_pick["noise"] == N - 1 - noise.argmax()
    assert found.picks["noise"] == f"e{noise.argmax()}"


def test_a_column_may_be_called_random() -> None:
    (plain,) = vlmatch.evidence_of(*made()).records
    (found,) = vlmatch.evidence_of(*made(random=np.arange(N) / N)).records
    assert found.at_random == plain.at_random
    column = next(each for each in found.rules if each.rule.name == "random")
    assert all(outcome.regret.value == 0 for outcome in column.outcomes.values())
    assert all(outcome.regret.value > 0 for outcome in found.at_random.values())


def test_a_pick_among_equals_is_their_mean() -> None:
    scores, truth = made(wide=[1.0] * (N - 2) + [9.0, 9.0])
    found = vlmatch.evidence_of(scores, truth).to_frame().set_index("rule")
    assert found.regret_of_pick["wide"] == 0.5
    assert found.picks["wide"] == "e10; e11"


def test_less_is_better_where_our_score_or_a_minus_says_so() -> None:
    scores, truth = made(gw=-np.arange(N, dtype=float), **{"-loss": -np.arange(N, dtype=float)})
    found = vlmatch.evidence_of(scores, truth)
    frame = found.to_frame().set_index("rule")
    assert frame.spearman["gw"] == frame.spearman["loss"] == 1
    told = "more counts as better in noise; if less is better, write '-noise'"
    assert any(told in note for note in found.records[0].notes)
    assert described("gw").ingredients[0].higher_is_better is False


def test_families_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    family = np.repeat(np.arange(6), 6)
    quality = rng.normal(size=6)[family]
    scores, truth = made(36, family=[f"f{each}" for each in family], score_a=quality + 0.1 * rng.normal(size=36))
    truth = truth.assign(score=quality + rng.normal(size=6)[family])
    found = vlmatch.evidence_of(scores, truth).to_frame().set_index("rule").loc["score_a"]
    assert found.high_over_families - found.low_over_families > found.high_over_encoders - found.low_over_encoders


def test_the_spec_sheet_of_known_encoders_is_added() -> None:
    names = ["clip_b16", "clip_l14", "siglip", "dinov2_l", "mae_l"]
    truth = pd.DataFrame({"encoder": names, "llm": "mine", "benchmark": "gqa", "score": [1, 2, 5, 4, 3]})
    scores = pd.DataFrame({"encoder": names, "ridge_r2": [1, 2, 5, 4, 3], "width": [512, 768, 1152, 1024, 1024]})
    evidence = vlmatch.evidence_of(scores, truth)
    rules = set(evidence.to_frame().rule)
    assert {"spec", "spec_ridge", "language_supervised", "tokens", "parameters", "resolution"} <= rules
    assert evidence.records[0].families["clip_b16"] == evidence.records[0].families["clip_l14"] == "CLIP"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda scores: scores.assign(encoder=[f"x{each}" for each in range(N)]),
            "encoders with a truth and a score: 0",
        ),
        (lambda scores: scores[["encoder"]], "has no column of numbers"),
        (
            lambda scores: scores.rename(columns={"encoder": "model"}),
            "study.scores=the data frame has no column encoder",
        ),
        (lambda scores: pd.concat([scores, scores.head(1)]), "row 1 and row 13 both hold encoder 'e0'"),
    ],
)
def test_bad_scores_are_one_line(change, says: str) -> None:
    scores, truth = made()
    with pytest.raises(VlmatchError) as error:
        vlmatch.evidence_of(change(scores), truth)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_known_is_kept() -> None:
    holes = [np.nan, np.nan, *range(N - 2)]
    scores, truth = made(holes=holes, flat=1.0)
    scores = pd.concat([scores, pd.DataFrame({"encoder": ["unknown"], "ridge_r2": [3.0], "flat": [1.0]})])
    (record,) = vlmatch.evidence_of(scores, pd.concat([truth, truth.tail(1).assign(encoder="other")])).records
    by_name = {each.rule.name: each for each in record.rules}
    assert by_name["holes"].correlation.n == N - 2
    assert by_name["ridge_r2"].correlation.n == N
    assert "flat" not in by_name
    told = " | ".join(record.notes)
    for part in (
        "equal for all encoders are left out: flat",
        "no scores: other",
        "have no truth: unknown",
        "(e0, holes)",
    ):
        assert part in told


def test_few_encoders_have_a_correlation_and_no_replay() -> None:
    scores, truth = made(5)
    (record,) = vlmatch.evidence_of(scores, truth).records
    assert record.rules[0].correlation.spearman is not None
    assert not record.at_random
    assert any("too few encoders" in note for note in record.notes)


def test_one_llm_each_is_the_same_and_otherwise_names_decide() -> None:
    scores, truth = made(llm="theirs")
    evidence = vlmatch.evidence_of(scores, truth)
    assert "the truth's LLM mine and the scores' theirs are taken as the same" in evidence.notes
    with pytest.raises(VlmatchError, match=r"no scores for LLM 'mine'; there are some for one, two"):
        vlmatch.evidence_of(pd.concat([scores.assign(llm="one"), scores.assign(llm="two")]), truth)
    both = pd.concat([scores.assign(llm="MINE"), scores.assign(llm="two")])
    assert [record.truth.llm for record in vlmatch.evidence_of(both, truth).records] == ["mine"]


def test_luck_is_the_median_of_the_best_of_unrelated_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmatch.evidence.own.record.SIZES", ())  # no replay, which takes seconds
    rng = np.random.default_rng(0)
    scores, truth = made(30, **{f"s{each}": rng.normal(size=30) for each in range(18)})
    (record,) = vlmatch.evidence_of(scores, truth).records
    draws = rng.normal(size=(2000, 20, 30)).argsort(axis=2)
    centred = np.arange(30) - 14.5
    best = ((draws - 14.5) @ centred / (centred @ centred)).max(axis=1)
    assert record.luck == pytest.approx(np.median(best), abs=0.02)


def test_a_ranking_is_compared_with_a_truth_and_its_page_shows_it(tmp_path: Path) -> None:
    rows = [row(f"e{place}", "mine", gw=place, cka=-place) for place in range(10)]
    ranking = PoolRanking.of(rows, Question(selection="cka"))
    truth = made(10)[1].assign(score=-np.arange(10.0))
    evidence = vlmatch.evidence_of(ranking, truth)
    frame = evidence.to_frame().set_index("rule")
    assert frame.spearman["gw"] == frame.spearman["cka"] == 1
    assert pd.read_csv(evidence.to_csv(tmp_path / "own.csv")).llm.tolist() == ["mine"] * len(frame)
    page = evidence.report(tmp_path / "own.html").read_text(encoding="utf-8")
    assert "Your truth: mine, features" in page
    assert "Which score predicts your VLMs?" in page
    assert "your truth, mine" in str(evidence)
