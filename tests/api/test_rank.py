"""A pool is ranked from Python as from the command line: models of every origin, one value, one line for bad input."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import vlmatch
from vlmatch.api import ranking as api
from vlmatch.api.ranking import score_choice
from vlmatch.embeddings.own import OwnModel
from vlmatch.embeddings.store import FILE, Store
from vlmatch.machine import memory
from vlmatch.ranking import Question
from vlmatch.report.answer import PoolRanking
from vlmatch.scores import rows
from vlmatch.scores.cka import CKA
from vlmatch.scores.gw_paired import GWPaired

SCORES = ["gw_paired", "cka", "parameters"]


def rank(*pool: Any, **options: Any) -> vlmatch.PoolRanking:
    return vlmatch.rank("pictures", *pool, **{"scores": SCORES, "progress": False, **options})


def test_models_of_every_origin_are_ranked_together(here: Path, my_encoder: OwnModel, my_llm: OwnModel) -> None:
    array = np.random.default_rng(0).normal(size=(12, 5))
    np.save("theirs.npy", array)
    settings = vlmatch.encoder("pixels16", name="pixels3", size=3)
    elsewhere = [vlmatch.precomputed("theirs", "theirs.npy"), vlmatch.precomputed("ours", array[::-1])]
    ranking = rank(["mean_colour", settings, settings.plain() | {"name": "p"}, my_encoder, *elsewhere], my_llm)
    frame = ranking.to_frame()
    assert set(frame.encoder) == {"mean_colour", "pixels3", "p", "mine", "theirs", "ours"}
    assert set(frame.llm) == {"letters"}
    assert frame.control.sum() == 3
    mine = vlmatch.embed("pictures", my_encoder, progress=False)
    theirs = vlmatch.embed("pictures", my_llm, progress=False)
    expected = vlmatch.score(mine, theirs, ["cka"])["cka"]
    assert frame.set_index("encoder").cka["mine"] == pytest.approx(expected)


def test_what_a_user_states_of_encoders_is_on_their_spec_sheets(here: Path, my_llm: OwnModel) -> None:
    class Mine:
        name, version, language_supervised, tokens = "mine", "1", True, 64

        def prepare(self, image: Any) -> np.ndarray:
            return np.asarray(image.resize((4, 4)), dtype=np.float32)

        def features(self, batch: Any) -> Any:
            return batch.flatten(1)

    array = np.random.default_rng(0).normal(size=(12, 5))
    told = vlmatch.precomputed("told", array, language_supervised=False, tokens=49)
    scores = ["cka", "language_supervised", "tokens"]
    frame = rank([Mine(), told], my_llm, scores=scores).to_frame().set_index("encoder")
    assert frame.language_supervised.to_dict() == {"mine": 1, "told": 0}
    assert frame.tokens.to_dict() == {"mine": 64, "told": 49}
    Mine.tokens = 81
    assert rank(Mine(), my_llm, scores=scores).to_frame().tokens.tolist() == [81]  # though its embeddings are stored
    for wrong in ({"tokens": "many"}, {"tokens": True}, {"language_supervised": 1}):
        with pytest.raises(vlmatch.VlmatchError, match="encoder 'told': "):
            vlmatch.precomputed("told", array, **wrong)


def test_what_a_user_states_later_holds_for_rankings_of_the_store_too(here: Path, my_llm: OwnModel) -> None:
    scores, found = ["cka", "language_supervised", "tokens"], []
    for stated in ({}, {"language_supervised": True}, {"tokens": 64}, {}, {"language_supervised": False}):
        mine = vlmatch.own_encoder(
            "mine",
            lambda image: np.asarray(image.resize((4, 4))) / 255,
            lambda batch: batch.flatten(1),
            version="1",
            **stated,
        )
        rank(mine, my_llm, scores=scores)
        (row,) = vlmatch.rank_stored("pictures", scores=scores).rows
        found.append({name: row.scores[name].value for name in scores[1:] if name in row.scores})
    told = {"language_supervised": 1.0, "tokens": 64.0}
    assert found == [{}, {"language_supervised": 1.0}, told, told, {**told, "language_supervised": 0.0}]


def test_another_score_may_be_called_gw(here: Path, my_llm: OwnModel) -> None:
    scores = {"gw": GWPaired(), "cka": CKA()}
    ranking = rank(["pixels16", "mean_colour"], my_llm, scores=scores)
    ranking.show(full=True)
    assert "GW rel." in ranking.report("report.html").read_text()


def test_encoders_are_not_ranked_by_size_where_one_is_not_known(here: Path, my_llm: OwnModel) -> None:
    array = np.random.default_rng(0).normal(size=(12, 5))
    sized = [vlmatch.precomputed("a", array, n_parameters=7_000_000), "mean_colour"]
    assert "parameters" in rank(sized, my_llm).to_frame()
    unsized = vlmatch.precomputed("b", array[::-1])
    frame = rank([*sized, unsized], my_llm).to_frame()
    assert "rank_parameters" not in frame
    assert frame.set_index("encoder").parameters.isna().to_dict() == {"a": False, "b": True, "mean_colour": False}
    assert frame.set_index("encoder").n_parameters.isna().to_dict() == {"a": False, "b": True, "mean_colour": False}
    assert "?" in rank([*sized, unsized], my_llm).report("report.html").read_text()


def test_the_value_prints_shows_and_writes_the_same_ranking(here: Path, my_llm: OwnModel) -> None:
    ranking = rank(["pixels16", "mean_colour"], [my_llm])
    assert "pixels16" in str(ranking)
    html = ranking._repr_html_()
    assert "<table" in html
    assert "letters" in html
    table = pd.read_csv(ranking.to_csv(here / "ranking.csv"))
    assert table.encoder.tolist() == ranking.to_frame().encoder.tolist() == [row.encoder for row in ranking.rows]
    assert "mean_colour" in ranking.report(here / "report.html").read_text()
    assert ranking.picks == {"letters": None}, "controls alone"


def test_scores_are_kept_where_both_sides_are_stored(here: Path, my_encoder: OwnModel, my_llm: OwnModel) -> None:
    rank(["pixels16", my_encoder], my_llm)
    assert [path.name for path in (here / "cache" / "scores").rglob("*.json")] == [
        "pixels16.paper--letters.layer-2_last.json"
    ]
    assert len(list(here.rglob(FILE))) == 2
    stored = vlmatch.rank_stored("pictures", scores=SCORES)
    assert [row.encoder for row in stored.rows] == ["pixels16"]


def test_the_store_may_be_elsewhere_and_nothing_is_printed_without_progress(
    here: Path, my_llm: OwnModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rank("pixels16", my_llm, store=tmp_path / "elsewhere")
    assert capsys.readouterr().out == ""
    assert len(list((tmp_path / "elsewhere").rglob(FILE))) == 2
    vlmatch.embed("pictures", "mean_colour")
    assert "embedding 12 of 12 images" in capsys.readouterr().out


def test_what_is_not_here_is_a_failure_beside_the_others_and_an_error_alone(here: Path, my_llm: OwnModel) -> None:
    absent = vlmatch.precomputed("absent", "absent.npy")
    ranking = rank(["pixels16", absent], my_llm)
    assert [(failure.encoder, failure.status) for failure in ranking.failures] == [("absent", "not here")]
    assert "absent.npy" in str(ranking)
    assert "absent.npy" in ranking._repr_html_()
    with pytest.raises(vlmatch.NotHereError, match="absent"):
        rank(absent, my_llm)


def test_a_pair_whose_models_both_fail_has_both_reasons(here: Path, my_llm: OwnModel) -> None:
    absent = vlmatch.precomputed("absent", "absent.npy")
    broken = vlmatch.own_llm("broken", str, lambda texts: texts[99])
    ranking = rank(["pixels16", absent], [my_llm, broken])
    (both,) = [each for each in ranking.failures if (each.encoder, each.llm) == ("absent", "broken")]
    assert both.status == "failed"  # not all of its models are merely absent
    assert "absent.npy" in both.message
    assert "IndexError" in both.message


def test_a_model_that_fails_is_told_beside_the_others(here: Path, my_llm: OwnModel) -> None:
    broken = vlmatch.own_encoder("broken", lambda image: np.zeros(3), lambda batch: batch[9])
    constant = vlmatch.precomputed("constant", np.ones((12, 2)))
    ranking = rank(["pixels16", broken, constant], my_llm)
    assert [row.encoder for row in ranking.rows] == ["pixels16"]
    assert [(each.encoder, each.status) for each in ranking.failures] == [("broken", "failed"), ("constant", "failed")]
    assert "IndexError" in ranking.failures[0].message
    with pytest.raises(vlmatch.VlmatchError, match="IndexError"):
        rank(broken, my_llm)


def test_stored_embeddings_that_no_score_is_defined_for_are_told_beside_the_others(
    here: Path, my_llm: OwnModel
) -> None:
    constant = vlmatch.own_encoder("constant", lambda image: np.ones(2), lambda batch: batch, version="1")
    rank(["pixels16", constant], my_llm)
    ranking = vlmatch.rank_stored("pictures", scores=SCORES)
    assert [row.encoder for row in ranking.rows] == ["pixels16"]
    assert [(each.encoder, each.llm, each.status) for each in ranking.failures] == [("constant", "letters", "failed")]


def test_what_is_wrong_with_both_models_of_a_pair_is_told(here: Path, my_llm: OwnModel) -> None:
    absent = [vlmatch.precomputed(name, f"{name}.npy") for name in ("image", "text")]
    ranking = rank(["pixels16", absent[0]], [my_llm, absent[1]])
    both = next(each for each in ranking.failures if (each.encoder, each.llm) == ("image", "text"))
    assert both.status == "not here"
    assert "image.npy" in both.message
    assert "text.npy" in both.message


def test_two_feature_rules_of_one_encoder_are_two_rankings(here: Path, my_llm: OwnModel) -> None:
    ranking = rank(["pixels16", vlmatch.encoder("pixels16", feature="vlm_input")], my_llm)
    assert [each.image_recipe for each in ranking.rankings] == ["paper", "vlm_input"]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"encoders": []}, ["encoders=[]"]),
        ({"llms": []}, ["llms=[]"]),
        ({"encoders": ["pixel16"]}, ["encoder='pixel16'", "pixels16"]),
        ({"encoders": ["pixels16", "pixels16"]}, ["encoders", "'pixels16'"]),
        ({"encoders": ["pixels16", vlmatch.precomputed("pixels16", np.ones((12, 2)))]}, ["encoders", "'pixels16'"]),
        ({"encoders": [np.zeros((12, 2))]}, ["encoder", "ndarray", "precomputed"]),
        ({"encoders": [3]}, ["encoder=3"]),
        ({"encoders": [{"name": "x"}]}, ["encoder._target_"]),
        ({"encoders": [{"_target_": "os.system", "name": "x"}]}, ["os.system"]),
        ({"encoders": [vlmatch.precomputed("x", np.zeros(12))]}, ["encoder 'x'", "(12,)"]),
        ({"encoders": [vlmatch.precomputed("x", np.ones((11, 2)))]}, ["encoder 'x'", "11 rows", "12 pairs"]),
        ({"encoders": [vlmatch.precomputed("x", np.full((12, 2), np.nan))]}, ["encoder 'x'", "NaN"]),
        ({"encoders": [vlmatch.precomputed("x", np.ones((12, 2), dtype=object))]}, ["encoder 'x'", "object"]),
        ({"encoders": [vlmatch.precomputed("x", np.ones((12, 2)), ids=list("abcdefghijkl"))]}, ["'x'", "12 ids"]),
        ({"encoders": [vlmatch.precomputed("=x", np.ones((12, 2)))]}, ["encoder.name='=x'"]),
        ({"scores": []}, ["scores"]),
        ({"scores": ["gww"]}, ["score='gww'"]),
        ({"scores": {"mine": 3}}, ["scores.mine"]),
        ({"trainer": "gpus"}, ["trainer='gpus'", "gpu"]),
        ({"trainer": {"batches": 3}}, ["trainer.batches=3", "batch_size"]),
        ({"trainer": {"batch_size": "3"}}, ["trainer.batch_size='3'"]),
        ({"trainer": {"batch_size": 3}}, ["trainer.batch_size=3", "trainer.shard_size"]),
    ],
)
def test_bad_input_is_one_line(here: Path, my_llm: OwnModel, changes: dict[str, Any], parts: list[str]) -> None:
    arguments = {"encoders": ["pixels16"], "llms": [my_llm], "scores": SCORES, "progress": False, **changes}
    with pytest.raises(vlmatch.VlmatchError) as caught:
        vlmatch.rank("pictures", **arguments)
    message = str(caught.value)
    assert all(part in message for part in parts)
    assert "\n" not in message


def test_a_model_of_the_other_kind_is_refused(here: Path, my_encoder: OwnModel, my_llm: OwnModel) -> None:
    with pytest.raises(vlmatch.VlmatchError, match="'letters' is an llm"):
        rank(my_llm, my_llm)
    with pytest.raises(vlmatch.VlmatchError, match="'pixels16' is an encoder"):
        rank("pixels16", vlmatch.encoder("pixels16"))
    with pytest.raises(vlmatch.VlmatchError, match=r"encoder='nothing'.*LLM"):
        vlmatch.embed("pictures", "nothing")


def test_an_empty_store_is_one_line(here: Path) -> None:
    with pytest.raises(vlmatch.VlmatchError, match="store="):
        vlmatch.rank_stored("pictures")


def test_damaged_embeddings_do_not_vanish_from_the_ranking_in_silence(here: Path, my_llm: OwnModel) -> None:
    rank(["pixels16", "mean_colour"], my_llm)
    damaged = next(path for path in here.rglob(FILE) if "mean_colour" in path.parts)
    damaged.write_bytes(b"")
    with pytest.raises(vlmatch.VlmatchError, match=f"{damaged.parent.name}/{FILE} is damaged"):
        vlmatch.rank_stored("pictures", scores=SCORES)


def test_a_flipped_number_of_embeddings_is_named_though_the_scores_are_there(here: Path, my_llm: OwnModel) -> None:
    rank(["pixels16", "mean_colour"], my_llm)
    path = next(path for path in here.rglob(FILE) if "pixels16" in path.parts)
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    ranking = vlmatch.rank_stored("pictures", scores=SCORES)
    assert {row.encoder for row in ranking.rows} == {"pixels16", "mean_colour"}
    spec = next(row.image.spec for row in ranking.rows if row.encoder == "pixels16")
    with pytest.raises(vlmatch.VlmatchError, match=rf"pixels16/paper/{FILE} is damaged; remove its folder"):
        ranking.embeddings(spec)


def test_a_ranking_of_part_of_the_store_names_the_damaged_files_beside_it(here: Path, my_llm: OwnModel) -> None:
    whole = rank(["pixels16", "mean_colour"], my_llm)
    damaged = next(path for path in here.rglob(FILE) if "mean_colour" in path.parts)
    damaged.write_bytes(b"")
    scores = next((here / "cache" / "scores").rglob("pixels16*.json"))
    found = PoolRanking.in_store(
        Store(here / "cache"), {row.group for row in whole.rows}, score_choice(SCORES), Question()
    )
    assert [(each.encoder, each.status) for each in found.failures] == [("mean_colour", "damaged")]
    assert str(damaged) in str(found)
    scores.write_text(scores.read_text().replace('"version"', '"verse"', 1))
    found = PoolRanking.in_store(
        Store(here / "cache"), {row.group for row in whole.rows}, score_choice(SCORES), Question()
    )
    assert found.rows == ()
    assert [each.encoder for each in found.failures] == ["mean_colour", "pixels16.paper"]


def test_too_many_pairs_are_refused_before_they_are_embedded_unless_all_is_scored(
    here: Path, my_llm: OwnModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranking = rank("pixels16", my_llm)
    for module in (api, rows):
        monkeypatch.setattr(module, "MANY_PAIRS", 12)
    monkeypatch.setattr(memory, "available_memory", lambda: 0)
    assert rank("pixels16", my_llm).rows == ranking.rows
    stored = sorted(here.rglob(FILE))
    starts = vlmatch.own_llm("letters", lambda text: text[:20], my_llm.features, version="2")
    coarser = {"precision": "bf16-mixed"}
    for encoder, llm, options in [
        ("mean_colour", my_llm, {}),
        ("pixels16", starts, {}),
        (vlmatch.encoder("pixels16", size=3), my_llm, {}),
        ("pixels16", my_llm, {"trainer": coarser}),
    ]:
        with pytest.raises(vlmatch.VlmatchError, match=r"12 pairs take about .* this machine has 0\.0 GiB left"):
            rank(encoder, llm, **options)
    assert sorted(here.rglob(FILE)) == stored
