"""A sweep composes the config of each job once, and tells of each job that fails when it ends."""

import pickle
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from vlmatch import paths
from vlmatch.configs import register_search_path
from vlmatch.jobs import SCORED, PairStatus, read_statuses
from vlmatch.sweep.callback import ComposingOnce


def test_a_job_gets_the_config_that_was_composed_to_check_it() -> None:
    register_search_path()
    with initialize_config_dir(str(paths.conf()), version_base="1.3"):
        loader = ComposingOnce(GlobalHydra.instance().config_loader())
        sweep = loader.load_configuration("config", [], RunMode.MULTIRUN)
        checked = loader.load_sweep_config(sweep, ["encoder=pixels16"])
        other = loader.load_sweep_config(sweep, ["encoder=mean_colour"])
        assert (checked.encoder.name, other.encoder.name) == ("pixels16", "mean_colour")
        sent = pickle.loads(pickle.dumps(loader))
        assert loader.load_sweep_config(sweep, ["encoder=pixels16"]) is checked
        assert loader.load_sweep_config(sweep, ["encoder=pixels16"]) is not checked
        assert sent.load_sweep_config(sweep, ["encoder=mean_colour"]).encoder == other.encoder


def test_each_job_that_fails_is_told_when_it_ends_whatever_the_task(cli, tmp_path: Path) -> None:
    runs = [f"{tmp_path}/{name}" for name in ("a", "b")]
    code, _, err = cli("task=collect", "encoder=pixels16", "llm=smollm2", f"task.runs={','.join(runs)}", "multirun")
    assert code == 2
    told = [line for line in err.splitlines() if line.startswith("failed: ")]
    for folder, line in zip(runs, told, strict=True):
        assert f"task.runs={folder}: " in line
        assert "no run below it" in line


def test_outcomes_are_found_in_whatever_folders_the_user_gives_to_jobs(tmp_path: Path) -> None:
    """By hydra.sweep.subdir: by default, the number of the job."""
    for job, folder in {9: "9", 10: "10", 11: "a/b", 12: "a/b"}.items():
        PairStatus("a", "b", SCORED, str(job), ("p", "x", "y")).write(tmp_path / folder, job)
    found = read_statuses(tmp_path)
    assert [each.message for each in found] == ["9", "10", "11", "12"]
    assert found[0].group == ("p", "x", "y")
