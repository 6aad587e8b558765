"""The wheel holds the tool without the study, and ranks a user's images from an empty folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    for name in ("report/page.html.j2", "encoders/catalogue.csv", "help.txt", "py.typed"):
        assert (site / "vlmatch" / name).is_file()
    packages = {path.name for path in site.iterdir() if path.is_dir() and path.suffix != ".dist-info"}
    assert packages == {"vlmatch", "bin"}


def test_a_users_folder_is_ranked_without_a_checkout(site: Path, tmp_path: Path, picture_folder: Path) -> None:
    work = tmp_path / "empty"
    work.mkdir()
    pool = ("encoder=mean_colour,pixels16", "llm=smollm2", "store=store", "multirun")
    said = vlmatch(site, work, "probe=folder", f"probe.path={picture_folder}", *pool)
    assert "pixels16" in said
    table = (work / "outputs" / "ranking.csv").read_text()
    assert "mean_colour" in table
    assert (work / "outputs" / "report.html").is_file()


def test_what_only_a_checkout_has_may_be_left_out(site: Path, tmp_path: Path) -> None:
    config = vlmatch(site, tmp_path, "--cfg", "job")
    keys = {line.partition(":")[0] for line in config.splitlines() if line[:1].isalpha()}
    assert {"encoder", "llm", "probe", "task"} <= keys
    assert not {"recipe", "benchmark", "split", "sources", "pretrain"} & keys
    assert "recipe:" in vlmatch(site, tmp_path, "task=train", "recipe=llava15", "--cfg", "job")
