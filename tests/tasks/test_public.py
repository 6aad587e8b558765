"""A saved VLM, asked a local task of lmms-eval by the command line, and its answers imported as a result."""

import json
from pathlib import Path

import pytest

import made_vlms
from made_lmms_tasks import installed, items, write_tasks
from vlmatch.encoders.controls import Pixels
from vlmatch.errors import VlmatchError
from vlmatch.results import read_file
from vlmatch.tasks.public import require_new, trained_with
from vlmatch.vlm.building import build_vlm
from vlmatch.vlm.saved import Description, save_vlm

ENCODER = made_vlms.encoder(_target_="vlmatch.encoders.controls.Pixels", name="pixels2", size=2)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A VLM over cached features of four pixels, saved; its recipe has no conversations."""
    target = "vlmatch.llms.language_model.LanguageModel"
    llm = made_vlms.llm(_target_=target, name="llama", repository=f"{tmp_path}/llm")
    recipe = made_vlms.recipe(projector={"kind": "mlp2x_gelu", "tokens": 2, "standardised": True})
    vlm = build_vlm(recipe, made_vlms.tiny_llm(tmp_path / "llm"), None, (1, 12))
    folder = tmp_path / "final"
    save_vlm(vlm, folder, Description(format=1, encoder=ENCODER, llm=llm, recipe=recipe, shape=[1, 12]))
    return folder


@installed
def test_a_vlm_of_cached_features_is_given_its_encoder_and_asked(cli, trained: Path, tmp_path: Path) -> None:
    own = write_tasks(tmp_path / "tasks", [{**item, "said": "x"} for item in items()], answer="gqa")
    arguments = [
        f"task.run={trained}",
        f"task.own_tasks={own}",
        f"task.to={tmp_path}/public",
        "task.template=vicuna_v1",
    ]
    code, out, _ = cli("task=public", "task.tasks=[gqa,drawn_choice]", "task.limit=6", *arguments)
    assert code == 0
    path = tmp_path / "public" / "tiny" / "llama-made" / "pixels2-0_results.json"
    assert f"{path}: gqa, drawn_choice; task=import task.file={path} adds them to the results" in out
    assert json.loads(path.read_text())["config"]["limit"] == 6
    assert cli("task=public", "task.tasks=[gqa]", *arguments)[0] == 2  # it would replace the file
    code, out, _ = cli("task=import", f"task.file={path}", f"++results={tmp_path}/results")
    assert code == 0
    assert "task 'drawn_choice' is not one of the public benchmarks" in out
    result = read_file(tmp_path / "results" / "tiny" / "llama-made" / "pixels2-0.json")
    assert (result.benchmarks["gqa"].n, result.control, result.visual.tokens) == (6, True, 2)
    assert result.visual.rule == Pixels("pixels2", 2).rule


def test_results_of_an_earlier_evaluation_are_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "e-0_results.json"
    require_new(path)
    path.write_text("{}")
    with pytest.raises(VlmatchError, match=rf"'{path}' exists already.* task\.to=FOLDER"):
        require_new(path)


@pytest.mark.skipif(not installed.args[0], reason="lmms-eval is installed")
def test_without_lmms_eval_the_error_says_how_to_get_it(cli, tmp_path: Path) -> None:
    code, _, err = cli("task=public", f"task.run={tmp_path}")
    assert code == 2
    assert "lmms-eval is not installed; `make test-lmms`" in err


def test_no_folder_is_an_error(cli) -> None:
    code, _, err = cli("task=public")
    assert code == 2
    assert "give task.run=FOLDER" in err


def test_a_limit_is_refused_where_a_score_is_only_defined_over_all_items(cli, tmp_path: Path) -> None:
    code, _, err = cli("task=public", f"task.run={tmp_path}", "task.limit=500", "task.tasks=[gqa,mme,pope]")
    assert code == 2
    assert "task.limit=500: the score of mme" in err
    assert "'task.tasks=[gqa,pope]'" in err


def test_template_and_padding_are_those_of_the_last_stage() -> None:
    stages = [
        made_vlms.stage(data={"_target_": "x", "template": "plain"}),
        made_vlms.stage(data={"_target_": "x", "template": "vicuna_v1", "pad": [1, 2, 3]}),
    ]
    assert trained_with(made_vlms.recipe(stages=stages), None) == ("vicuna_v1", [1, 2, 3])
    assert trained_with(made_vlms.recipe(stages=stages), "chat") == ("chat", [1, 2, 3])
    with pytest.raises(VlmatchError, match=r"task\.template=null.*recipe 'tiny'.*task\.template=vicuna_v1 or chat"):
        trained_with(made_vlms.recipe(), None)
