"""The DVC pipeline: it names what the configuration names, refuses changed data, and runs nothing twice."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from made_results import result
from vlmatch import paths, results
from vlmatch.embeddings.header import EmbeddingSpec
from vlmatch.objects import build
from vlmatch.results import SuiteId, write

ROOT = paths.root()
DVC = [sys.executable, "-m", "dvc"]


@pytest.fixture(scope="module")
def pipeline() -> dict:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())


def axes(experiment: str) -> dict[str, list[str]]:
    """An experiment's encoders and LLMs."""
    params = yaml.safe_load((ROOT / f"conf/experiment/{experiment}.yaml").read_text())["hydra"]["sweeper"]["params"]
    return {group: names.split(",") for group, names in params.items()}


def test_the_pipeline_embeds_both_pools_and_ranks_each_on_its_own(pipeline: dict) -> None:
    stages = pipeline["stages"]
    embedded = [
        *stages["embed_images"]["matrix"]["encoder"],
        *stages["embed_trained"]["foreach"],
        *stages["embed_heads"]["foreach"],
    ]
    assert sorted(embedded) == sorted(axes("embedded_all")["encoder"])
    for experiment, stage in (("embedded", "rank"), ("embedded_all", "rank_all")):
        pool = axes(experiment)
        assert stages["embed_captions"]["matrix"]["llm"] == pool["llm"]
        ranked = [dep.split("/")[3] for dep in stages[stage]["deps"] if dep.startswith("cache/embeddings/")]
        assert sorted(ranked) == sorted(pool["encoder"] + pool["llm"])


def test_no_stage_of_training_stands_before_one_of_the_root(pipeline: dict) -> None:
    training = yaml.safe_load((ROOT / "training/dvc.yaml").read_text())["stages"]
    made = {path.removeprefix("../") for stage in training.values() for out in stage["outs"] for path in out}
    assert {path for path in made if not path.startswith("runs/")} == {"weights/${item.name}/card.json"}
    needed = [dep for stage in pipeline["stages"].values() for dep in stage.get("do", stage)["deps"]]
    assert [dep for dep in needed if dep.startswith("weights/")]
    assert not [dep for dep in needed if dep.endswith("card.json") or dep == "weights" or dep.startswith("training")]
    assert "results" in needed


def test_every_encoder_of_the_pool_and_the_blind_one_are_trained_into_vlms() -> None:
    training = yaml.safe_load((ROOT / "training/dvc.yaml").read_text())
    variables = {key: value for entry in training["vars"] for key, value in entry.items()}
    assert sorted(variables["encoders"]) == sorted([*axes("embedded_all")["encoder"], "blind"])
    assert len(variables["seeds"]) >= 2
    assert not [
        name for name in (*variables["encoders"], *variables["data"]) if "-" in name
    ]  # `make train` reads them so
    stages = training["stages"]
    assert stages["train"]["matrix"] == stages["evaluate"]["matrix"]
    (out,) = stages["train"]["outs"]
    ((folder, kept),) = out.items()
    assert kept == {"cache": False, "persist": True}  # a killed run goes on where it was
    assert folder in stages["evaluate"]["deps"]


def test_make_train_runs_what_is_missing_and_a_failure_stops_none_of_the_others(tmp_path: Path) -> None:
    """With programs in place of dvc and Python that say what they were asked; dvc exits with 255, which ends xargs."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    stages = [f"training/dvc.yaml:evaluate@0-vlm_a-llm-of-dashes-{encoder}" for encoder in "abcd"]
    said = "\n".join([*stages, "training/dvc.yaml:pretrain@e"])
    programs = {
        "dvc": f'[ "$1" = stage ] && echo "{said}" && exit\necho "$*"\ncase "$3" in *-b) exit 255;; esac\n',
        "python": 'case "$1" in training/missing.py) grep -e "-[bcd]$";; *) echo "$*";; esac\n',
    }
    for name, script in programs.items():
        path = tmp_path / ".venv" / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}")
        path.chmod(0o755)
    for name in ("requirements.lock", "pyproject.toml", ".venv/.ready"):  # in this order: .ready is newer
        (tmp_path / name).touch()
    done = subprocess.run(["make", "-s", "train"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, "make's own for a failed target"
    first, *repros, last = done.stdout.splitlines()
    assert first == "src/run.py task=fetch task.what=split"
    assert sorted(repros) == [f"--wait-for-lock repro {stage}" for stage in stages[1:]]
    assert last == "src/run.py task=collect"


def test_a_result_of_another_version_is_missing(tmp_path: Path) -> None:
    recipe = yaml.safe_load((ROOT / "conf/recipe/embedded.yaml").read_text())
    now = results.Recipe(recipe["name"], recipe["version"], "f" * 64)
    for name, others in {
        "whole": {},
        "old": {"recipe": replace(now, version=now.version - 1)},
        "other": {"suite": SuiteId("selection", 1, 240)},
    }.items():
        write(tmp_path, result(name, 0.2, llm="llm-of-dashes", **{"recipe": now, **others}))
    stages = {name: f"training/dvc.yaml:evaluate@0-vlm_a-llm-of-dashes-{name}" for name in ("whole", "old", "other")}
    names = [*stages.values(), stages["whole"].replace("@0", "@1"), stages["old"].replace("evaluate", "train")]
    command = [sys.executable, "training/missing.py", f"++results={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, input="\n".join(names), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [stages["old"], stages["other"], stages["whole"].replace("@0", "@1")]


def test_heads_wait_for_their_backbones(pipeline: dict) -> None:
    for head, item in pipeline["stages"]["embed_heads"]["foreach"].items():
        parts = yaml.safe_load((ROOT / f"conf/encoder/{head}.yaml").read_text())["parts"]
        assert parts == f"${{vlmatch.configs:encoder,[{item['backbone']}]}}"


def test_probe_and_recipes_are_those_that_the_configuration_gives(pipeline: dict) -> None:
    subprocess.run([sys.executable, str(ROOT / "src/run.py"), "task=fetch"], check=True, capture_output=True)
    config = yaml.safe_load((ROOT / "conf/probe/stamps.yaml").read_text())
    probe = build({**config, "path": str(ROOT / "data/stamps")})
    names = {key: value for variables in pipeline["vars"] for key, value in variables.items()}
    assert probe.key == names["probe"]
    llm = yaml.safe_load((ROOT / "conf/llm/smollm2.yaml").read_text())
    encoder = yaml.safe_load((ROOT / "conf/encoder/mobilenetv2.yaml").read_text())
    assert EmbeddingSpec.of("llm", llm, probe, "32-true").slug == names["text"]
    assert EmbeddingSpec.of("encoder", encoder, probe, "32-true").slug == "paper"


@pytest.fixture
def project(tmp_path: Path, pipeline: dict) -> Path:
    """A project with three stamps, the pipeline's own first stage, and one that depends on it."""
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    stamps = sorted((ROOT / "data/stamps/animals").rglob("*.png"))[:3]
    for stamp in stamps:
        target = tmp_path / "data/stamps" / stamp.relative_to(ROOT / "data/stamps")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(stamp, target)
        shutil.copy(stamp.with_suffix(".txt"), target.with_suffix(".txt"))
    after = {
        "cmd": "echo ran >> ran.txt && cp outputs/data.ok after.txt",
        "deps": ["outputs/data.ok"],
        "outs": ["after.txt"],
    }
    stages = {"verify": pipeline["stages"]["verify"], "after": after}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"vars": [{"python": sys.executable}], "stages": stages}))
    for command in (["git", "init", "-q"], [*DVC, "init", "-q"], [*DVC, "add", "-q", "data"]):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def repro(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*DVC, "repro"], cwd=project, capture_output=True, text=True, check=False)


def test_a_changed_byte_stops_the_pipeline_and_restoring_it_recomputes_nothing(project: Path) -> None:
    first = repro(project)
    assert first.returncode == 0, first.stderr
    stamp = next((project / "data").rglob("*.png"))
    whole = stamp.read_bytes()
    stamp.unlink()  # DVC may have linked it to its cache
    stamp.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    changed = repro(project)
    assert changed.returncode != 0
    (line,) = [line for line in changed.stderr.splitlines() if line.startswith("vlmatch: ")]
    assert "differs from data.dvc: expected" in line
    assert "got" in line
    stamp.write_bytes(whole)
    restored = repro(project)
    assert restored.returncode == 0, restored.stderr
    assert (project / "ran.txt").read_text() == "ran\n", "the stage behind the verification ran once in all"
