"""Shared by all tests: one place for downloads, and small real data."""

import io
import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for a hub

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from hypothesis import settings
from PIL import Image, ImageDraw

from hub_server import Hub, serving
from made_caches import Put
from made_debs import write_deb
from vlmatch.cli import main
from vlmatch.packages.package import Package
from vlmatch.packages.unpacked import write_list
from vlmatch.probes.folder import folder
from vlmatch.probes.pairs import ProbeSet
from vlmatch.settings.work import TrackingSettings
from vlmatch.tracking.tracker import Tracker

settings.register_profile("vlmatch", deadline=None)  # how long an example takes says more of the machine
settings.load_profile("vlmatch")

COLOURS = ("red", "green", "blue", "orange", "purple", "black")
SHAPES = ("ellipse", "rectangle")


@pytest.fixture(scope="module", autouse=True)
def no_server() -> Iterator[None]:
    """Lightning's MLflow logger puts its database into the environment, where the next module would find it."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    """Twelve drawn pictures with captions.csv: every colour as an ellipse and as a rectangle."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    lines = ["image,caption"]
    for colour in COLOURS:
        for shape in SHAPES:
            picture = Image.new("RGB", (40, 32), "white")
            getattr(ImageDraw.Draw(picture), shape)((6, 6, 30, 24), fill=colour)
            picture.save(folder / f"{colour}_{shape}.png")
            lines.append(f"{colour}_{shape}.png,A {colour} {shape}.")
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def pictures(picture_folder: Path) -> ProbeSet:
    """The twelve pictures as a probe set."""
    return folder(picture_folder, "pictures")


@pytest.fixture
def random() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(0)


@pytest.fixture
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As on a new machine: nothing in our cache, in Hugging Face's and in torch hub's; returns the folder of all."""
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


@pytest.fixture
def put_in_hub_cache(empty_caches: Path) -> Put:
    """Puts files of 1,000 bytes, under these names, into Hugging Face's cache as the snapshot of a repository."""

    def put(repository: str, *names: str) -> Path:
        folder = empty_caches / "hub" / f"models--{repository.replace('/', '--')}"
        snapshot = folder / "snapshots" / "abc"
        for path in [folder / "refs" / "main", *(snapshot / name for name in names)]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"0" * 1000)
        (folder / "refs" / "main").write_text("abc")
        return snapshot

    return put


@pytest.fixture
def hub(empty_caches: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine in the place of Hugging Face's, for this process and those that it starts; caches empty."""
    with serving() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        template = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        own = {"HF_ENDPOINT": served.url, "HF_HUB_OFFLINE": "0", "HF_HUB_CACHE": constants.HF_HUB_CACHE}
        for key, value in {**own, "NO_PROXY": "127.0.0.1,localhost", "HF_HUB_DISABLE_TELEMETRY": "1"}.items():
            monkeypatch.setenv(key, value)
        yield served


@pytest.fixture
def put_package(empty_caches: Path) -> Put:
    """Puts an unpacked package of a yaml into our cache, with one file of so many bytes."""

    def put(entry: dict[str, str], size: int) -> Path:
        folder = Package.of(entry).folder
        folder.mkdir(parents=True)
        (folder / "weights").touch()
        write_list(folder, entry["sha256"])
        own = sum(path.stat().st_size for path in folder.iterdir())
        (folder / "weights").write_bytes(b"0" * (size - own))
        write_list(folder, entry["sha256"])
        return folder

    return put


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run the command line in this process, in folders of its own; gives exit code, stdout and stderr."""
    for name in ("VLMATCH_PARENT_RUN", "VLMATCH_SWEEP", "VLMATCH_DEBUG", "VLMATCH_OFFLINE", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")  # so that what a command sets is taken back after the test
        monkeypatch.delenv(name)
    monkeypatch.setitem(os.environ, "COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        own = [f"store={tmp_path}/store", f"outputs={tmp_path}/outputs", f"tracking.folder={tmp_path}/mlruns"]
        code = 0
        capsys.readouterr()  # without what fixtures wrote
        try:
            main([*own, *arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def pixel() -> bytes:
    """The smallest PNG: one grey pixel."""
    buffer = io.BytesIO()
    Image.new("L", (1, 1), 99).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def make_deb(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small Debian package into the test's folder: `write_deb`."""
    return partial(write_deb, tmp_path)


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database without the experiment that tests use, because MLflow takes seconds to make one."""
    folder = tmp_path_factory.mktemp("fresh")
    Tracker.of(TrackingSettings(folder=folder, uri=f"sqlite:///{folder}/mlflow.db", experiment="another"))
    return folder / "mlflow.db"


@pytest.fixture
def bare_tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackingSettings:
    """Settings of a folder that is not there yet."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return TrackingSettings(folder=tmp_path / "mlruns", uri=None, experiment="vlmatch")


@pytest.fixture
def tracking(bare_tracking: TrackingSettings, fresh_database: Path) -> TrackingSettings:
    """Settings of a folder with a database."""
    bare_tracking.folder.mkdir()
    shutil.copy(fresh_database, bare_tracking.folder)
    return bare_tracking
