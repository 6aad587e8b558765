"""The wheel holds the tool without the study, and ranks a user's images from an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from made_vlms import tiny_llm
from vlmatch import paths

pytestmark = pytest.mark.slow

ROOT = paths.root()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the built wheel was installed, alone."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT)]
    subprocess.run([sys.executable, "-m", *build], check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    install = ["pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder / "site"), str(wheel)]
    subprocess.run([sys.executable, "-m", *install], check=True, capture_output=True)
    return folder / "site"


def vlmatch(site: Path, folder: Path, *arguments: str) -> str:
    """Run the installed command in `folder`, and give what it printed."""
    own = {"PYTHONPATH": str(site), "VLMATCH_CACHE": str(paths.cache()), "COLUMNS": "200"}
    command = [sys.executable, str(site / "bin" / "vlmatch"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **own}, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_runs_from_an_empty_folder_and_offers_nothing_of_the_study(site: Path, tmp_path: Path) -> None:
    page = vlmatch(site, tmp_path, "--help")
    assert "task=rank" in page
    assert "efficientnet_lite0" in page
    for absent in ("task=pretrain", "embedded_all", "siglip_vit_both", "split", "[checkout]", "src/run.py"):
        assert absent not in page
    assert list(tmp_path.iterdir()) == []


def test_the_wheel_holds_the_tools_yamls_and_data_and_nothing_else_of_the_repository(site: Path) -> None:
    conf = ROOT / "conf"
    yamls = {path.relative_to(conf) for path in conf.rglob("*.yaml") if path.parent.name != "local"}
    assert yamls == {path.relative_to(site / "vlmatch/conf") for path in (site / "vlmatch/conf").rglob("*.yaml")}
    for folder, copy in (("study/results", "evidence/results"), ("src/vlmatch/evidence/tables", "evidence/tables")):
        files = {path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert files == {path.relative_to(site / "vlmatch" / copy) for path in (site / "vlmatch" / copy).rglob("*.*")}
    page = [f"report/page/{name}" for name in ("page.html.j2", "style.css", "page.js")]
    for name in (*page, "encoders/catalogue.csv", "evidence/record.json", "help.txt", "py.typed"):
        assert (site / "vlmatch" / name).is_file()
    packages = {path.name for path in site.iterdir() if path.is_dir() and path.suffix != ".dist-info"}
    assert packages == {"vlmatch", "bin"}


def readme_script(pictures: Path, llm: Path) -> str:
    """README's script, over these pictures, with encoders that need no download and this LLM."""
    readme = (paths.root() / "README.md").read_text(encoding="utf-8")
    script = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)[0]
    assert len(script.replace("\n\n", "\n").strip().splitlines()) <= 10
    for written, used in {
        "my/images": str(pictures),
        "mobilenetv2": "random_resnet18",
        "efficientnet_lite0": "mean_colour",
        '"smollm2"': f'vlmatch.llm("smollm2", repository={str(llm)!r}, name="tiny")',
    }.items():
        assert written in script
        script = script.replace(written, used)
    return script


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny LLM with random weights."""
    folder = tmp_path_factory.mktemp("llm")
    tiny_llm(folder)
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An empty working folder, beside which the pictures lie."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_a_users_folder_is_ranked_without_a_checkout(site: Path, work: Path, picture_folder: Path, llm: Path) -> None:
    pool = ("encoder=random_resnet18,pixels16,mean_colour", f"llm.repository={llm}", "llm.name=tiny", "store=store")
    said = vlmatch(site, work, "probe=folder", f"probe.path={picture_folder}", *pool, "multirun")
    assert "pixels16" in said
    table = (work / "outputs" / "ranking.csv").read_text()
    assert all(name in table for name in ("random_resnet18", "pixels16", "mean_colour", "tiny"))
    assert (work / "outputs" / "report.html").is_file()


def test_the_readmes_script_ranks_it_too(site: Path, work: Path, picture_folder: Path, llm: Path) -> None:
    own = {"PYTHONPATH": str(site), "VLMATCH_CACHE": ""}
    command = [sys.executable, "-c", readme_script(picture_folder, llm)]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, env={**os.environ, **own}, check=False)
    assert done.returncode == 0, done.stderr
    table = (work / "ranking.csv").read_text()
    assert all(name in table for name in ("random_resnet18", "pixels16", "mean_colour", "tiny"))
    assert "random_resnet18" in done.stdout
    assert "gw_paired" in done.stdout
    assert sorted(path.name for path in work.iterdir()) == ["cache", "ranking.csv", "report.html", "report.md"]


def test_what_only_a_checkout_has_may_be_left_out(site: Path, tmp_path: Path) -> None:
    config = vlmatch(site, tmp_path, "--cfg", "job")
    keys = {line.partition(":")[0] for line in config.splitlines() if line[:1].isalpha()}
    assert {"encoder", "llm", "probe", "task"} <= keys
    assert not {"recipe", "benchmark", "split", "sources", "pretrain"} & keys
    assert "recipe:" in vlmatch(site, tmp_path, "task=train", "recipe=llava15", "--cfg", "job")
