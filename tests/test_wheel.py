"""The wheel carries its configuration, and runs from an empty folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlmatch import paths


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the built wheel was installed, alone."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder / "dist"),
        str(paths.root()),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(folder / "site"),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    return folder / "site"


def test_help_runs_from_an_empty_folder(site: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(site / "bin" / "vlmatch"), "--help"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(site)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "task=rank" in done.stdout
    assert "efficientnet_lite0" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_wheel_holds_every_configuration_file_and_the_reports_template(site: Path) -> None:
    conf = paths.root() / "conf"
    wanted = {path.relative_to(conf) for path in conf.rglob("*.yaml") if path.parent.name != "local"}
    assert wanted == {path.relative_to(site / "vlmatch/conf") for path in (site / "vlmatch/conf").rglob("*.yaml")}
    assert (site / "vlmatch/report/page.html.j2").is_file()
    assert (site / "vlmatch/py.typed").is_file()
