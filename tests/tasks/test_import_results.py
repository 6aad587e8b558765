"""Result files that lmms-eval 0.7.3 wrote (over twelve drawn pictures, by a model with an invented name), imported."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from vlmatch.benchmarks.lmms_results import public_tasks, read_result_file, standard_error
from vlmatch.errors import VlmatchError
from vlmatch.results import read, read_file, write
from vlmatch.tasks.import_results import result_of

FILES = Path(__file__).parents[1] / "benchmarks" / "lmms_files"
WHOLE, LIMITED = FILES / "whole_results.json", FILES / "limited_results.json"
TOLD = {"encoder": "clip_l336", "llm": "vicuna-7b", "data": "lcs558k", "recipe": "llava15"}
NOTHING = dict.fromkeys(("encoder", "llm", "data", "recipe", "seed", "version", "control"))
Changed = Callable[..., Path]


@pytest.fixture
def changed(tmp_path: Path) -> Changed:
    """The whole file with something else in it, under another name."""

    def change(edit: Callable[[dict[str, Any]], Any] = lambda plain: None, name: str = "a_results.json") -> Path:
        plain = json.loads(WHOLE.read_text())
        edit(plain)
        path = tmp_path / "files" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(plain))
        return path

    return change


def test_figures_become_scores_from_0_to_1_with_their_chance_and_standard_error() -> None:
    found = read_result_file(WHOLE).benchmarks
    assert {name: (each.score, each.chance, each.n) for name, each in found.items()} == {
        "gqa": (0.5, 0.0, 12),
        "mme": (pytest.approx(166.66666 / 2000), 0.375, 12),
        "pope": (0.5, 0.5, 12),
        "seedbench": (0.0, 0.25, 12),
    }
    assert found["gqa"].standard_error == pytest.approx(math.sqrt(0.25 / 11))  # stated: n - 1
    assert found["pope"].standard_error == pytest.approx(math.sqrt(0.25 / 12))  # not stated: binomial
    assert found["seedbench"].standard_error == 0


def test_the_mean_is_that_of_what_is_above_chance() -> None:
    result = result_of([read_result_file(WHOLE)], {**NOTHING, **TOLD})
    gains = [0.5, (166.6666667 / 2000 - 0.375) / 0.625, 0.0, -0.25 / 0.75]
    errors = [
        each.standard_error / (1 - (each.chance or 0))
        for each in (result.benchmarks[n] for n in sorted(result.benchmarks))
    ]
    assert result.mean.score == pytest.approx(sum(gains) / 4)
    assert result.mean.standard_error == pytest.approx(math.sqrt(sum(error**2 for error in errors)) / 4)
    assert result.groups["public"].of == ("gqa", "mme", "pope", "seedbench")
    assert (result.suite.items, result.config, result.source) == (48, {"limit": None}, "imported: whole_results.json")


def test_a_written_result_reads_back_at_its_place(tmp_path: Path) -> None:
    result = result_of([read_result_file(LIMITED)], {**NOTHING, **TOLD, "seed": 3})
    path = write(tmp_path, result)
    assert path == tmp_path / "llava15" / "vicuna-7b-lcs558k" / "clip_l336-3.json"
    (back,) = read(tmp_path)
    assert back.config == {"limit": 8}
    assert back.benchmarks["gqa"].n == 8
    assert back.visual.rule == "unknown"


@pytest.mark.slow
def test_the_command_imports_a_folder_into_results_and_mlflow(cli, changed: Changed, tmp_path: Path) -> None:
    def half(tasks: tuple[str, ...]) -> Callable[[dict[str, Any]], None]:
        def keep(plain: dict[str, Any]) -> None:
            plain["results"] = {task: plain["results"][task] for task in tasks} | {"chartqa": {"alias": "chartqa"}}

        return keep

    changed(half(("gqa", "pope")), "a_results.json")
    folder = changed(half(("seedbench",)), "b_results.json").parent
    told = [f"task.{key}={value}" for key, value in TOLD.items()]
    command = ["task=import", f"task.file={folder}", f"++results={tmp_path}/results", *told]
    code, out, err = cli(*command)
    assert (code, err) == (0, "")
    assert "b_results.json: task 'chartqa' is not one of the public benchmarks" in out
    assert "gqa 50.0, pope 50.0, seedbench 0.0" in out
    result = read_file(tmp_path / "results" / "llava15" / "vicuna-7b-lcs558k" / "clip_l336-0.json")
    assert result.source == "imported: a_results.json, b_results.json"
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("vlmatch").experiment_id])
    assert run.data.metrics["benchmark/gqa"] == 0.5
    assert run.data.metrics["mean"] == pytest.approx(result.mean.score, abs=1e-4)
    assert run.data.tags["encoder"] == "clip_l336"
    own = tmp_path / "results" / "llava15" / "vicuna-7b-lcs558k" / "clip_l336-0.json"
    own.write_text(own.read_text().replace("imported: a_results.json, b_results.json", "trained here"))
    code, _, err = cli(*command)
    assert code == 2
    assert "holds the result of a training; import with another name" in err
    code, _, err = cli("task=import")
    assert (code, err) == (
        2,
        "vlmatch: task.file=null, wanted result files of lmms-eval; give task.file=FILE, [FILE,FILE] or FOLDER\n",
    )


def test_a_file_of_task_public_says_which_vlm_it_is_of(changed: Changed) -> None:
    visual = {"rule": "patches", "dimension": 1024, "tokens": 576, "weights_sha256": None}
    own = {
        **TOLD,
        "seed": 2,
        "version": 3,
        "fingerprint": "f" * 64,
        "control": False,
        "visual": visual,
        "lmms_eval": "0.7.3",
    }
    file = read_result_file(changed(lambda plain: plain["config"].update(model_args=own)))
    result = result_of([file], NOTHING)
    assert (result.recipe.version, result.seed, result.visual.tokens) == (3, 2, 576)
    assert result.libraries == {"lmms-eval": "0.7.3"}
    with pytest.raises(VlmatchError, match=r"task.encoder=siglip, but '.*' says clip_l336; leave task.encoder out"):
        result_of([file], {**NOTHING, "encoder": "siglip"})


def test_who_it_is_of_must_be_said() -> None:
    with pytest.raises(VlmatchError, match=r"doesn't name the llm of its VLM; give task.llm=NAME task.recipe=NAME"):
        result_of([read_result_file(WHOLE)], {**NOTHING, "encoder": "clip_l336", "data": "lcs558k"})


def test_limits_models_and_benchmarks_do_not_mix(changed: Changed) -> None:
    whole = read_result_file(WHOLE)
    with pytest.raises(VlmatchError, match=r"has limit None, but '.*' has 8; one result needs the same"):
        result_of([whole, read_result_file(LIMITED)], {**NOTHING, **TOLD})
    other = read_result_file(changed(lambda plain: plain["config"].update(model_args="pretrained=b")))
    with pytest.raises(VlmatchError, match=r"has model pretrained=someone/.*, but '.*' has pretrained=b; one result"):
        result_of([whole, other], {**NOTHING, **TOLD})
    with pytest.raises(VlmatchError, match=r"both hold gqa; give one of them"):
        result_of([whole, read_result_file(changed())], {**NOTHING, **TOLD})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda plain: plain.pop("results"), "is not a result file of lmms-eval.*results, config, n-samples"),
        (lambda plain: plain.update(results={"chartqa": {}}), "the tasks chartqa; wanted .*gqa"),
        (
            lambda plain: plain["results"]["pope"].pop("pope_accuracy,none"),
            "task 'pope' .*pope_accuracy,none.*pope_f1_score,none",
        ),
        (
            lambda plain: plain["results"]["gqa"].update({"exact_match,none": math.nan}),
            "task 'gqa' .*exact_match,none",
        ),
        (
            lambda plain: plain["results"]["gqa"].update({"exact_match,none": 51.5}),
            "task 'gqa' has exact_match,none=51.5, wanted 0 to 1",
        ),
        (lambda plain: plain.update({"n-samples": {}}), "n-samples of task 'gqa'"),
        (
            lambda plain: plain["n-samples"]["mme"].update(effective=8),
            "8 of 12 items of 'mme'.*without --limit",
        ),
        (lambda plain: plain["config"].update(limit=0.1), "has limit=0.1; wanted a whole number of items"),
    ],
)
def test_what_cannot_be_read_is_an_error(changed: Changed, edit: Callable[[dict[str, Any]], Any], message: str) -> None:
    with pytest.raises(VlmatchError, match=message):
        read_result_file(changed(edit))


def test_what_is_no_json_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text("{")
    with pytest.raises(VlmatchError, match=r"can't be read: .*; wanted a result file of lmms-eval"):
        read_result_file(path)


def test_a_folder_without_result_files_is_an_error(cli, tmp_path: Path) -> None:
    code, _, err = cli("task=import", f"task.file={tmp_path}")
    assert code == 2
    assert "no *results.json in this folder" in err


def test_the_largest_standard_error_of_a_bounded_mean() -> None:
    assert standard_error(0.5, 500) == pytest.approx(0.02236, abs=1e-5)
    scores = [0.0, 0.3, 0.3, 1.0, 0.6]
    mean = sum(scores) / 5
    assert math.sqrt(sum((score - mean) ** 2 for score in scores) / 5 / 5) <= standard_error(mean, 5)


def test_mme_weighs_as_so_many_pairs_of_equal_kinds() -> None:
    """Ten kinds count alike: their mean has the variance of n pairs with 1 / n = sum of (1 / 10)^2 / n_kind."""
    pairs = {"existence": 30, "count": 30, "position": 30, "color": 30, "posters": 147, "celebrity": 170}
    pairs |= {"scene": 200, "landmark": 200, "artwork": 200, "OCR": 20}
    assert sum(pairs.values()) == 1057
    assert public_tasks()["mme"].items == round(1 / sum(0.01 / n for n in pairs.values()))
