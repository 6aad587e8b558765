"""Exceptions as one line: those that the user can fix have one, a bug has none."""

import errno
import sqlite3
from pathlib import Path

import pytest
import torch
from hydra.errors import HydraException
from safetensors import SafetensorError

from vlmatch import paths
from vlmatch.configs import composed
from vlmatch.errors import VlmatchError
from vlmatch.messages import user_message


@pytest.mark.parametrize(
    ("number", "part"), [(28, "disk is full"), (30, "read-only"), (13, "permission denied"), (20, "folder is needed")]
)
def test_a_disk_that_refuses_is_one_line(number: int, part: str) -> None:
    line = user_message(OSError(number, "no", "/cache/x"))
    assert line is not None
    assert line.startswith("/cache/x: ")
    assert part in line


@pytest.mark.parametrize(
    ("file", "arguments", "setting"),
    [
        (paths.cache() / "packages" / "x", [], "VLMATCH_CACHE=FOLDER"),
        (paths.root() / "outputs" / "ranking.csv", [], "outputs=FOLDER"),
        (paths.root() / "mlruns" / "mlflow.db", [], "tracking.folder=FOLDER"),
        (paths.root() / "training" / "runs" / "x", [], "task.runs=FOLDER"),
        (Path("/elsewhere/x"), ["outputs=/elsewhere"], "outputs=FOLDER"),
        (Path("/elsewhere/store/x"), ["outputs=/elsewhere", "store=/elsewhere/store"], "store=FOLDER"),
        (Path("/elsewhere/x.csv"), ["answer.table=/elsewhere/x.csv"], "answer.table=FILE"),
        (Path("/elsewhere"), ["outputs=/elsewhere/x/y"], "outputs=FOLDER"),
        (Path("/elsewhere/x"), ["probe.path=/elsewhere"], None),
    ],
)
def test_a_disk_that_refuses_names_the_setting_of_another_place(
    file: Path, arguments: list[str], setting: str | None
) -> None:
    line = user_message(PermissionError(errno.EACCES, "no", str(file)), arguments)
    assert line is not None
    assert (setting in line) if setting else ("another place" not in line)


def test_a_file_system_that_takes_no_files_is_one_line_and_a_missing_file_stays_a_bug(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as nowhere:
        Path("/proc/x/y").mkdir(parents=True)
    line = user_message(nowhere.value, ["hydra.run.dir=/proc/x/y"])
    assert line is not None
    assert line.startswith("/proc/x: this file system takes no files; ")
    assert line.endswith(", or give another place: hydra.run.dir=FOLDER")
    with pytest.raises(FileNotFoundError) as missing:
        (tmp_path / "a" / "b").read_bytes()
    assert user_message(missing.value) is None


def test_a_bug_that_follows_a_handled_refusal_stays_a_bug() -> None:
    bug = ZeroDivisionError()
    bug.__context__ = FileExistsError(errno.EEXIST, "no", "x")
    assert user_message(bug) is None


def test_a_bug_in_the_handler_of_an_error_is_not_told_as_that_error() -> None:
    bug, told = KeyError("k"), VlmatchError("n=0, wanted more")
    bug.__context__ = told
    assert user_message(bug) is None
    bug.__cause__ = told
    assert user_message(bug) == "n=0, wanted more"


def test_several_values_outside_of_a_sweep_name_the_word_that_is_missing() -> None:
    with pytest.raises(HydraException) as ambiguous:
        composed("encoder=pixels16,mean_colour")
    line = user_message(ambiguous.value)
    assert line.startswith("encoder=pixels16,mean_colour gives several values; add the word multirun")


def test_a_key_without_its_group_names_the_whole_key() -> None:
    with pytest.raises(HydraException) as unknown:
        composed("fed=patches")
    assert user_message(unknown.value, ["fed=patches"]).endswith("did you mean answer.fed?")


def test_a_full_disk_is_one_line_where_the_library_gives_no_number(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "small.db")
    database.execute("pragma max_page_count = 2")
    with pytest.raises(sqlite3.OperationalError) as full:
        database.executescript("create table a (x); create table b (x); create table c (x)")
    for error in (full.value, SafetensorError("Error while serializing: No space left on device (os error 28)")):
        assert "disk is full; free some space" in str(user_message(error))
    assert user_message(SafetensorError("header too large")) is None


def test_a_gpu_that_is_not_there_is_one_line() -> None:
    from pytorch_lightning import Trainer
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(MisconfigurationException) as raised:
        Trainer(accelerator="gpu", logger=False)
    line = user_message(raised.value)
    assert line is not None
    assert line.startswith("trainer: ")
    assert line.endswith("trainer=cpu")


def test_an_error_that_is_its_own_cause_ends() -> None:
    error = RuntimeError("odd")
    error.__cause__ = error
    assert user_message(error) is None


def test_a_bug_keeps_its_traceback() -> None:
    assert user_message(ZeroDivisionError("a bug")) is None


@pytest.mark.parametrize(
    ("message", "part"),
    [
        (
            "Job 7_2 (task: 0) with path /x/7_2_0_result.pkl\nhas not produced any output (state: CANCELLED by 0)\n"
            "Error stream produced:\n----\nTraceback: state: odd",
            "ended job 7_2 of the sweep in state CANCELLED by 0; ",
        ),
        ("Job not requeued because: timed-out too many times.", "before its end: Job not requeued because: timed-out"),
    ],
)
def test_a_job_that_its_cluster_ended_is_one_line(message: str, part: str) -> None:
    """The class's name is submitit's, which is an extra."""
    line = user_message(type("UncompletedJobError", (RuntimeError,), {})(message))
    assert line is not None
    assert part in line
    assert "odd" not in line


def test_a_key_without_its_group_is_told_apart_from_a_key_that_ends_like_it() -> None:
    arguments = ["answer.fed=pooled", "fed=patches"]
    with pytest.raises(HydraException) as unknown:
        composed(*arguments)
    assert user_message(unknown.value, arguments) == "'fed' is not a key of the config; did you mean answer.fed?"


def test_a_group_that_is_null_is_told_apart_from_a_key_that_may_be() -> None:
    arguments = ["answer.table=null", "encoder=null"]
    with pytest.raises(ValueError, match="must be a string") as null:
        composed(*arguments)
    assert user_message(null.value, arguments).startswith("encoder=null: a config group can't be null")


def test_a_key_of_another_task_names_that_task() -> None:
    with pytest.raises(HydraException) as unknown:
        composed("search.runs=2")
    line = user_message(unknown.value, ["search.runs=2"])
    assert line == "'search.runs' is a key of task=search alone; add task=search, or leave it out"


def test_a_value_that_hydra_refuses_has_its_reason() -> None:
    with pytest.raises(HydraException) as refused:
        composed("hydra.sweep.dir=null")
    line = user_message(refused.value)
    assert line == "hydra.sweep.dir=null: field 'hydra.sweep.dir' is not Optional; give another value"
