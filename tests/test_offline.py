"""offline=true: a whole sweep that touches no socket and starts no download, in its workers too."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from omegaconf import OmegaConf

from llms.conftest import *  # noqa: F403 - the tiny language models
from vlmatch import paths
from vlmatch.encoders.torchvision_models import entry_weights
from vlmatch.errors import NotHereError
from vlmatch.llms.repository import repository_folder
from vlmatch.machine.network import OFFLINE, forbid_network, is_forbidden, require_network
from vlmatch.packages.deb import Archive
from vlmatch.packages.hub import Wanted, hub_file
from vlmatch.packages.npm import npm_tarball
from vlmatch.packages.package import Package, package_folder
from vlmatch.probes.fetch import debian_package
from vlmatch.settings.work import TrackingSettings
from vlmatch.sweep.safeguards import SafeguardsCallback
from vlmatch.tracking.tracker import Tracker

GUARD = """
import os, socket, sys

def refuse(event, arguments):
    if event == "socket.connect" and arguments[0].family == socket.AF_UNIX:
        return
    if event == "subprocess.Popen" and not {"pip", "npm", "apt-get", "curl", "wget"} & set(map(str, arguments[1])):
        return
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen"):
        with open(os.environ["TOUCHED"], "a") as file:
            file.write(f"{event} {arguments}\\n")
        raise PermissionError(f"the test allows no {event}")

with open(os.environ["GUARDED"], "a") as file:
    file.write(f"{os.getpid()}\\n")
sys.addaudithook(refuse)
"""


@pytest.fixture
def guarded(tmp_path: Path) -> dict[str, str]:
    """An environment in which every Python process notes and refuses each use of the network."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)
    settings = ("VLMATCH_", "HF_", "TRANSFORMERS_", "MLFLOW_TRACKING")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(settings)}
    marks = {"TOUCHED": f"{tmp_path}/touched", "GUARDED": f"{tmp_path}/guarded"}
    own = {"PYTHONPATH": str(tmp_path / "guard"), "HF_HOME": str(tmp_path / "hub"), "OMP_NUM_THREADS": "1"}
    marks["NUMBA_CACHE_DIR"] = str(paths.cache() / "numba")  # compiling takes a minute
    return {**inherited, **marks, **own, "VLMATCH_CACHE": str(tmp_path / "cache")}


def test_the_guard_of_these_tests_sees_a_connection_and_a_download(guarded: dict[str, str], tmp_path: Path) -> None:
    for use in ("socket.create_connection(('127.0.0.1', 9))", "subprocess.run([sys.executable, '-m', 'pip'])"):
        python = [sys.executable, "-c", f"import socket, subprocess, sys; {use}"]
        done = subprocess.run(python, env=guarded, check=False, capture_output=True, text=True)
        assert "PermissionError: the test allows no" in done.stderr
    assert len((tmp_path / "touched").read_text().splitlines()) == 2


@pytest.mark.slow
def test_a_sweep_with_workers_makes_no_network_call(
    guarded: dict[str, str], tmp_path: Path, picture_folder: Path, save_tiny: Callable[..., Any]
) -> None:
    folder, _ = save_tiny()
    arguments = [
        *(
            "task=rank",
            "debug=two_images",
            "offline=true",
            "encoder=pixels16,siglip,efficientnet_lite0",
            "llm=qwen2.5-0.5b",
        ),
        *(f"llm.repository={folder}", "probe=folder", f"probe.path={picture_folder}", f"store={tmp_path}/store"),
        *(f"outputs={tmp_path}/outputs", f"tracking.folder={tmp_path}/mlruns"),
        *("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "multirun"),
    ]
    run = [sys.executable, str(paths.root() / "src" / "run.py"), *arguments]
    done = subprocess.run(run, env=guarded, capture_output=True, text=True, timeout=300, check=False)
    assert not (tmp_path / "touched").exists(), (tmp_path / "touched").read_text()
    assert len(set((tmp_path / "guarded").read_text().split())) >= 3, "the parent and two workers"
    assert done.returncode == 2, done.stderr
    assert "pixels16" in done.stdout
    forbidden = "not here, and offline=true forbids downloading them"
    assert f"not here: siglip x qwen2.5-0.5b: encoder 'siglip': weights 'webli' are {forbidden}" in done.stderr
    assert "not here: efficientnet_lite0 x qwen2.5-0.5b: package " in done.stderr
    assert done.stderr.count(forbidden) == 2
    assert "Traceback" not in done.stderr


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Offline by vlmatch's word alone: Hugging Face's libraries believe to be online, the caches are empty."""
    monkeypatch.setenv(OFFLINE, "1")
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("subprocess.run", None)
    monkeypatch.setattr("urllib.request.urlopen", None)
    monkeypatch.setattr("huggingface_hub.get_session", None)
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))


def server(tmp_path: Path) -> Any:
    uri = "http://me:hidden@host:5000"
    return Tracker.of(TrackingSettings(folder=tmp_path, uri=uri, experiment="x"))


class Entry:
    """An entry of torchvision's weights enum."""

    url = "https://host/x.pth"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("fetch", "message"),
    [
        (
            lambda path: hub_file(Wanted("encoder", "x", "tag", "org/model"), ["a.bin"]),
            "encoder 'x': weights 'tag' are .*encoder.checkpoint",
        ),
        (lambda path: entry_weights("x", Entry()), "encoder 'x': weights 'x.pth' are .*encoder.checkpoint="),
        (lambda path: repository_folder("x", "org/model"), "llm 'x': weights 'org/model' are .*llm.repository="),
        (lambda path: package_folder(Package("p", "1", "0" * 64)), "package 'p' 1: its files are .*VLMATCH_CACHE"),
        (
            lambda path: package_folder(Package("p", "1", "0" * 64, "npm")),
            "package 'p' 1: its files are .*VLMATCH_CACHE",
        ),
        (lambda path: npm_tarball("p", "1", "0" * 64, path), "npm package 'p' 1: its files are .*VLMATCH_CACHE"),
        (
            lambda path: debian_package(Archive("p", "1", "0" * 64), path, "probe.archive.deb"),
            "package 'p=1' are .*probe.archive.deb=",
        ),
        (server, r"MLflow's server tracking.uri='http://\*\*\*@host:5000' is .*leave out tracking.uri"),
    ],
)
def test_what_would_be_fetched_is_not_here_in_one_line(
    fetch: Callable[[Path], Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(NotHereError, match=message) as caught:
        fetch(tmp_path)
    assert "not here, and offline=true forbids downloading them" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_forbidding_reaches_children_and_libraries_that_are_imported_already(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (OFFLINE, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "")  # so that what is set here is taken back after the test
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    assert not is_forbidden()
    require_network("weights are", "give them")
    forbid_network()
    assert is_forbidden()
    assert huggingface_hub.is_offline_mode()
    names = "import huggingface_hub as hub; from vlmatch.machine import network"
    script = f"{names}; print(network.is_forbidden(), hub.is_offline_mode())"
    source = {**os.environ, "PYTHONPATH": str(paths.root() / "src")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=source)
    assert done.stdout == "True True\n"


def test_the_environment_variable_does_what_the_setting_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OFFLINE, "1")
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    SafeguardsCallback().on_job_start(OmegaConf.create({"offline": False}))
    assert huggingface_hub.is_offline_mode()
    assert os.environ["TRANSFORMERS_OFFLINE"] == "1"
