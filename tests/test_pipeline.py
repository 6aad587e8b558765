"""The DVC pipelines: they cover the pool, the root never trains, changed data stop it, and nothing runs twice."""

import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo
from dvc.repo.index import Index
from networkx import descendants

import vlmatch
from made_results import result
from missing import STAGE
from vlmatch import paths
from vlmatch.configs import choices, chosen, pool
from vlmatch.embeddings.header import EmbeddingSpec
from vlmatch.objects import build, plain
from vlmatch.results import RecipeId, SuiteId, write

ROOT = paths.root()
DVC = [sys.executable, "-m", "dvc"]


@pytest.fixture(scope="module")
def pipeline() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())


@pytest.fixture(scope="module")
def index() -> Index:
    """Every stage of both pipelines, as DVC reads them."""
    return Repo(str(ROOT)).index


def stages_of(index: Index, file: str) -> list[Any]:
    return [stage for stage in index.stages if Path(stage.path) == ROOT / file]


def places(files: list[Any]) -> list[str]:
    return [Path(file.fs_path).relative_to(ROOT).as_posix() for file in files]


def test_the_root_pipeline_embeds_every_member_of_the_pool_once(index: Index) -> None:
    outs = [place for stage in stages_of(index, "dvc.yaml") for place in places(stage.outs)]
    embedded = [place.split("/")[3] for place in outs if place.startswith("cache/embeddings/")]
    assert sorted(embedded) == sorted(pool("encoders") + pool("llms"))
    records = [place for place in outs if place.startswith("outputs/evidence/pool/")]
    assert sorted(Path(record).stem for record in records) == sorted(embedded)


def test_a_ranking_waits_for_every_embedding(index: Index) -> None:
    stages = {stage.name: stage for stage in stages_of(index, "dvc.yaml")}
    embedding = {stage for name, stage in stages.items() if name.startswith("embed_")}
    assert len(embedding) == len(pool("encoders") + pool("llms"))
    for name in ("rank", "rank_all"):
        assert embedding <= descendants(index.graph, stages[name])


def test_the_root_pipeline_never_trains(index: Index) -> None:
    for stage in stages_of(index, "dvc.yaml"):
        assert "task=train" not in stage.cmd
        assert "task=pretrain" not in stage.cmd
        assert not [each for each in descendants(index.graph, stage) if "study" in each.addressing], stage.name


def test_a_head_waits_for_the_backbone_that_its_yaml_names(index: Index) -> None:
    stages = {stage.name: stage for stage in stages_of(index, "dvc.yaml")}
    for head in pool("heads"):
        (backbone,) = plain(chosen("encoder", head))["parts"]
        assert stages[f"embed_others@{backbone['name']}"] in index.graph[stages[f"embed_heads@{head}"]]


def test_the_study_trains_vlms_with_the_pool_and_the_blind_encoder(index: Index) -> None:
    stages = {stage.name: stage for stage in stages_of(index, "study/dvc.yaml")}
    evaluations = {name: stage for name, stage in stages.items() if name.startswith("evaluate@")}
    found = [STAGE.fullmatch(stage.addressing) for stage in evaluations.values()]
    runs = [match.group("encoder", "seed") for match in found if match]
    assert len(runs) == len(evaluations), "make train reads each name"
    assert sorted(runs) == sorted(product([*pool("encoders"), "blind"], ("0", "1")))
    for name, stage in evaluations.items():
        train = stages[name.replace("evaluate", "train")]
        assert train in index.graph[stage]
        (out,) = train.outs
        assert (out.use_cache, out.persist) == (False, True)  # a killed run goes on where it was


def test_the_study_pretrains_what_was_trained_here(index: Index) -> None:
    names = [stage.name for stage in stages_of(index, "study/dvc.yaml")]
    pretrained = [name.removeprefix("pretrain@") for name in names if name.startswith("pretrain@")]
    assert sorted(pretrained) == sorted(pool("heads") + pool("from_scratch")) == choices("pretrain")


def test_make_train_runs_what_is_missing_and_a_failure_stops_none_of_the_others(tmp_path: Path) -> None:
    """With programs in place of dvc and Python that say what they were asked; dvc exits with 255, which ends xargs."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    stages = [f"study/dvc.yaml:evaluate@0-vlm_a-llm-of-dashes-{encoder}" for encoder in "abcd"]
    said = "\n".join([*stages, "study/dvc.yaml:pretrain@e"])
    programs = {
        "dvc": f'[ "$1" = stage ] && echo "{said}" && exit\necho "$*"\ncase "$3" in *-b) exit 255;; esac\n',
        "python": 'case "$1" in study/missing.py) grep -e "-[bcd]$";; *) echo "$*";; esac\n',
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


@pytest.mark.slow
def test_a_result_of_another_version_is_missing(tmp_path: Path) -> None:
    recipe = chosen("recipe", "embedded")
    now = RecipeId(recipe["name"], recipe["version"], "f" * 64)
    for name, others in {
        "whole": {},
        "old": {"recipe": replace(now, version=now.version - 1)},
        "other": {"suite": SuiteId("selection", 1, 240)},
    }.items():
        write(tmp_path, result(name, 0.2, llm="llm-of-dashes", **{"recipe": now, **others}))
    stages = {name: f"study/dvc.yaml:evaluate@0-vlm_a-llm-of-dashes-{name}" for name in ("whole", "old", "other")}
    names = [*stages.values(), stages["whole"].replace("@0", "@1"), stages["old"].replace("evaluate", "train")]
    command = [sys.executable, "study/missing.py", f"++results={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, input="\n".join(names), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [stages["old"], stages["other"], stages["whole"].replace("@0", "@1")]


def test_probe_and_recipes_are_those_that_the_configuration_gives(pipeline: dict) -> None:
    subprocess.run([sys.executable, str(ROOT / "src/run.py"), "task=fetch"], check=True, capture_output=True)
    probe = build(plain(chosen("probe", "stamps")))
    names = {key: value for variables in pipeline["vars"][1:] for key, value in variables.items()}
    assert probe.key == names["probe"]
    assert EmbeddingSpec.of(vlmatch.llm("smollm2"), probe, "32-true").slug == names["text"]
    assert EmbeddingSpec.of(vlmatch.encoder("mobilenetv2"), probe, "32-true").slug == "paper"


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


@pytest.mark.slow
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
