"""`task=search` with commands that train nothing: from a config to an answer, a ledger and runs in MLflow."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from vlmatch.cli import arguments_for_hydra, run_task
from vlmatch.configs import composed
from vlmatch.errors import VlmatchError
from vlmatch.search import ledger as ledgers
from vlmatch.search.claim import claimed
from vlmatch.search.command import Command
from vlmatch.tasks.search import _telling_failures
from vlmatch.tracking.connection import ONCE, Address

SCRIPT = """
echo "$1 $2" >> {folder}/calls
case $1 in a) v=3;; b) v=5;; c) v=4;; failing) echo no such model >&2; exit 3;; silent) exit;; esac
test $1 = odd && echo nan && exit
echo loss 0.1; echo 0.$v$2; echo done
"""


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for all tests, since making one takes a second."""
    return tmp_path_factory.mktemp("mlruns")


def tracked(mlruns: Path, folder: Path) -> tuple[MlflowClient, Run, dict[str, Run]]:
    """MLflow's client, the run of a search, and its children by name."""
    client = MlflowClient(f"sqlite:///{mlruns / 'mlflow.db'}")
    found = client.search_runs([each.experiment_id for each in client.search_experiments()])
    (parent,) = [run for run in found if run.info.run_name == f"search {folder.name}"]
    own = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len({run.info.run_name for run in own}) == len(own)
    return client, parent, {run.info.run_name: run for run in own}


@pytest.fixture
def search(tmp_path: Path, mlruns: Path) -> Callable[..., Path]:
    """Runs a search by a script that knows the encoders a, b and c; gives the search's folder."""
    (tmp_path / "train.sh").write_text(SCRIPT.replace("{folder}", str(tmp_path)))

    def run(*overrides: str, command: str = "sh {home}/train.sh {{encoder}} {{steps}}") -> Path:
        given = [
            "task=search",
            f"search.command='{command.format(home=tmp_path)}'",
            "search.steps=80",
            "search.continues=true",
            "search.keep=0.5",
            f"outputs={tmp_path}",
            f"tracking.folder={mlruns}",
        ]
        run_task(composed(*given, *overrides))
        (found,) = (tmp_path / "search").iterdir()
        return found

    return run


def parts(folder: Path) -> list[tuple[Any, ...]]:
    """What a ledger says, without times."""
    found = json.loads((folder / "ledger.json").read_text())["parts"]
    return [(each["encoder"], each["rung"], each["steps"], each["value"], each["cost"]) for each in found]


def test_the_best_encoder_wins_and_the_plan_stands_before_the_first_training(
    search: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = search("search.encoders=[a,b,c,d]", "search.runs=8")
    assert (tmp_path / "calls").read_text().split("\n")[:-1] == [
        "a 10", "b 10", "c 10", "d 10", "b 20", "c 20", "b 80",
    ]  # fmt: skip
    assert parts(folder)[-1] == ("b", 3, 80, 0.58, 0.75)
    told = capsys.readouterr().out
    plan, first = told.index("plan: 4 to 1/8, then 2 to 1/4, then 1 to the end"), told.index("a to 1/8")
    assert plan < told.index("grid search would train all 4 candidates: 4 runs") < first
    assert "answer: b (0.58)" in told
    assert "cost: 1.5 runs" in told
    assert "grid search over all 4 candidates would have cost 4 runs" in told


def test_mlflow_shows_the_race_under_one_run(search: Callable[..., Path], mlruns: Path) -> None:
    folder = search("search.encoders=[a,b,failing]", "search.runs=8")
    client, parent, runs = tracked(mlruns, folder)
    assert {name: run.info.status for name, run in runs.items()} == {
        "a": "FINISHED",
        "b": "FINISHED",
        "failing": "FAILED",
    }
    assert (parent.info.status, parent.data.tags["answer"]) == ("FINISHED", "b")
    curve = client.get_metric_history(runs["b"].info.run_id, "value")
    assert [(point.step, point.value) for point in curve] == [(10, 0.51), (80, 0.58)]
    assert "no such model" in runs["failing"].data.tags["error"]


@pytest.mark.parametrize("moment", ["training", "before the ledger is written", "after it is written"])
def test_a_killed_search_goes_on_to_the_same_ledger(
    search: Callable[..., Path], tmp_path: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    given = ("search.encoders=[a,failing,b,c]", "search.runs=8")
    train, write, seen = Command.train, ledgers.Ledger.write, 0

    def dying(call: Callable[..., Any], at: int, *, late: bool) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            nonlocal seen
            seen += 1
            found = call(*arguments) if seen < at or late else None
            if seen == at:
                raise KeyboardInterrupt
            return found

        return called

    with monkeypatch.context() as patched:
        if moment == "training":
            patched.setattr(Command, "train", dying(train, 5, late=False))
        else:
            patched.setattr(ledgers.Ledger, "write", dying(write, 7, late=moment == "after it is written"))
        with pytest.raises(KeyboardInterrupt):
            search(*given)
    (folder,) = (tmp_path / "search").iterdir()
    assert tracked(mlruns, folder)[1].info.status == "KILLED"
    assert search(*given) == folder
    assert [part[:4] for part in parts(folder)] == [
        ("a", 0, 10, 0.31), ("failing", 0, None, None), ("b", 0, 10, 0.51), ("c", 0, 10, 0.41),
        ("b", 1, 20, 0.52), ("c", 1, 20, 0.42), ("b", 3, 80, 0.58),
    ]  # fmt: skip
    client, parent, runs = tracked(mlruns, folder)
    assert parent.info.status == "FINISHED"
    curve = client.get_metric_history(runs["b"].info.run_id, "value")
    assert [(point.step, point.value) for point in curve] == [(10, 0.51), (20, 0.52), (80, 0.58)]


def test_a_finished_search_trains_nothing_and_answers_again(
    search: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = search("search.encoders=[a,b]", "search.runs=2")
    before, calls = (folder / "ledger.json").read_bytes(), (tmp_path / "calls").read_text()
    assert search("search.encoders=[a,b]", "search.runs=2") == folder
    assert ((folder / "ledger.json").read_bytes(), (tmp_path / "calls").read_text()) == (before, calls)
    assert capsys.readouterr().out.count("answer: b") == 2


def test_encoders_that_give_no_number_are_out_with_their_reasons(
    search: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    search("search.encoders=[failing,silent,odd,a,b]", "search.runs=8")
    told = capsys.readouterr().out
    assert "failing to 1/8: out of the race: the command ended with exit code 3: no such model" in told
    assert "silent to 1/8: out of the race: the command gave no number" in told
    assert "odd to 1/8: out of the race: the command gave nan, wanted a finite number" in told
    assert "answer: b" in told


def test_a_search_in_which_all_fail_is_an_error_and_is_tried_again(search: Callable[..., Path], tmp_path: Path) -> None:
    given = ("search.encoders=[failing,silent]", "search.runs=2")
    for _ in range(2):
        with pytest.raises(VlmatchError, match=r"no training of the search gave a value; failing: .* exit code 3"):
            search(*given)
    assert (tmp_path / "calls").read_text().split() == ["failing", "10", "silent", "10"] * 2


def test_what_failed_is_tried_again_on_request(search: Callable[..., Path], tmp_path: Path) -> None:
    given = ("search.encoders=[failing,a]", "search.runs=2", "search.rungs=[1]")
    assert [part[3] for part in parts(search(*given))] == [None, 0.38]
    script = tmp_path / "train.sh"
    script.write_text(script.read_text().replace("failing)", "other)"))
    assert [part[3] for part in parts(search(*given))] == [None, 0.38]
    assert [part[3] for part in parts(search(*given, "search.retry=true"))] == [0.38, 0.8]


def test_a_command_may_write_its_number_and_knows_where_it_stood(search: Callable[..., Path], tmp_path: Path) -> None:
    told = "echo 7; echo $1 $2 $3 >> {home}/calls; echo 0.25 > $4/score-$2"
    command = f'sh -c "{told}" - {{{{encoder}}}} {{{{steps}}}} {{{{earlier}}}} {{{{folder}}}}'
    value_file = f"search.value_file='{tmp_path}/search/{{encoder}}/score-{{steps}}'"
    given = ("search.encoders=[a,b]", "search.runs=2", "search.rungs=[0.5,1]")
    with pytest.raises(VlmatchError, match="the command wrote no file"):
        search(*given, value_file, command=command)
    value_file = "search.value_file='{folder}/score-{steps}'"
    (first,) = (tmp_path / "search").iterdir()
    first.rename(tmp_path / "first")
    (tmp_path / "calls").unlink()
    folder = search(*given, value_file, command=command)
    assert [part[3] for part in parts(folder)] == [0.25] * 3
    assert (tmp_path / "calls").read_text().split("\n")[:-1] == ["a 40 0", "b 40 0", "a 80 40"]


def test_one_search_runs_once_at_a_time(search: Callable[..., Path]) -> None:
    folder = search("search.encoders=[a]", "search.runs=1")
    with claimed(folder), pytest.raises(VlmatchError, match="is already running"):
        search("search.encoders=[a]", "search.runs=1")


def test_a_damaged_ledger_is_one_line(search: Callable[..., Path]) -> None:
    folder = search("search.encoders=[a]", "search.runs=1")
    (folder / "ledger.json").write_text('{"about": {}')
    with pytest.raises(VlmatchError, match=r"ledger\.json' is damaged"):
        search("search.encoders=[a]", "search.runs=1")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], r"search\.runs is missing; .*search\.hours=6"),
        (["search.runs=0.5"], r"search\.runs=0\.5 is less than one whole training"),
        (["search.hours=0"], r"search\.hours=0; wanted a number above 0"),
        (["search.runs=many"], r"search\.runs.*'many'"),
        (["search.runs=2", "search.rungs=[0.5,0.25,1]"], r"search\.rungs=\[0\.5, 0\.25, 1\]"),
        (["search.runs=2", "search.rungs=[0.5]"], r"search\.rungs=\[0\.5\]; .*end with 1"),
        (["search.runs=2", "search.keep=2"], r"search\.keep=2; wanted a number above 0 and up to 1"),
        (["search.runs=2", "search.encoders=[]"], r"search\.encoders=\[\]; wanted one or more"),
        (["search.runs=2", "search.encoders=[a,a]"], r"search\.encoders=.*each of them once"),
        (["search.runs=2", "search.encoders=[../a]"], r"search\.encoders='\.\./a'"),
        (["search.runs=2", "search.steps=null"], r"search\.steps is missing"),
        (["search.runs=2", "search.command='train {encodr}'"], r"search\.command has \{encodr\}.*did you mean encoder"),
        (["search.runs=2", "search.command='train {encoder'"], r"search\.command='train \{encoder'"),
        (["search.runs=2", "search.command='train \"x'"], r"search\.command=.*quot"),
        (["search.runs=2", "search.command='  '"], r"search\.command=''"),
        (["search.runs=2", "search.command='sh train.sh {steps}'"], r"the same for every encoder; write \{encoder\}"),
        (["search.runs=2", "search.command=null"], r"search\.steps=80 says how a command trains"),
        (["search.runs=2", "search.value_file='{where}'"], r"search\.value_file has \{where\}"),
        (["search.runs=2", "+search.run=2"], r"search\.run=2 is not a key"),
        (["search.runs=2", "search.better=best"], r"search\.better='best'.*'higher' or 'lower'"),
    ],
)
def test_bad_input_is_one_line(search: Callable[..., Path], overrides: list[str], message: str) -> None:
    named = [] if any("encoders" in each for each in overrides) else ["search.encoders=[a,b]"]
    with pytest.raises(VlmatchError, match=message) as caught:
        search(*named, *overrides)
    assert "\n" not in str(caught.value)


def test_a_command_that_does_not_exist_is_the_reason(search: Callable[..., Path]) -> None:
    with pytest.raises(VlmatchError, match="the command can't start: No such file or directory: '/no/such/program'"):
        search("search.encoders=[a]", "search.runs=1", command="/no/such/program {{encoder}}")


@pytest.mark.parametrize(
    ("given", "hydra"),
    [
        ("search.command=bash train.sh {encoder} {steps}", "search.command='bash train.sh {encoder} {steps}'"),
        ("search.command='bash {encoder}'", "search.command='bash {encoder}'"),
        ("search.command=bash -c 'x {encoder}'", r"search.command='bash -c \'x {encoder}\''"),
        ("search.command='my bash' 'x'", r"search.command='\'my bash\' \'x\''"),
        ("search.value_file=out/{encoder}", "search.value_file='out/{encoder}'"),
        ("search.command=x {encoder}\\", r"search.command='x {encoder}\\'"),
        (r"search.command=x \'{encoder}", r"search.command='x \\\'{encoder}'"),
        ("search.command=null", "search.command=null"),
        ("score={gw: {x: 1}}", "score={gw: {x: 1}}"),
    ],
)
def test_a_command_line_needs_no_quotes_of_its_own(given: str, hydra: str) -> None:
    assert arguments_for_hydra([given]) == [hydra]


def test_a_value_file_may_have_an_apostrophe_in_its_name(search: Callable[..., Path], tmp_path: Path) -> None:
    (file,) = arguments_for_hydra([f"search.value_file={tmp_path}/it's {{encoder}}"])
    with pytest.raises(VlmatchError, match=r"the command wrote no file '.*/it's a'"):
        search("search.encoders=[a]", "search.runs=1", file, command="true {{encoder}}")


def test_a_server_that_is_lost_during_a_training_is_no_fault_of_the_encoder() -> None:
    address = Address("http://127.0.0.1:9", "tracking.uri")
    told = pytest.raises(VlmatchError, match="MLflow can't log batch there")
    with told, _telling_failures(), address.entered("log batch", ONCE):
        raise ConnectionError("lost")
