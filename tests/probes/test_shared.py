"""The jobs of a sweep share a probe set, until its files change."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlmatch.files import SETTLED
from vlmatch.machine.processes import SWEEP
from vlmatch.probes.shared import probe_of


@pytest.fixture
def settings(picture_folder: Path) -> dict[str, Any]:
    """A probe of pictures that have lain there for a while."""
    for picture in picture_folder.iterdir():
        os.utime(picture, (time.time() - 10 * SETTLED,) * 2)
    return {"_target_": "vlmatch.probes.folder.folder", "path": str(picture_folder), "name": "pictures"}


def test_jobs_of_a_sweep_share_it(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    alone = probe_of(settings)
    monkeypatch.setenv(SWEEP, "one")
    first = probe_of(settings)
    assert first is not alone
    assert probe_of(settings) is first
    assert probe_of({**settings, "name": "other"}) is not first
    assert probe_of(settings) is first
    monkeypatch.setenv(SWEEP, "two")
    assert probe_of(settings) is not first
    monkeypatch.delenv(SWEEP)
    assert probe_of(settings) is not probe_of(settings)


@pytest.mark.parametrize("age", [0, 5 * SETTLED])
def test_a_changed_picture_is_read_again(
    settings: dict[str, Any], picture_folder: Path, monkeypatch: pytest.MonkeyPatch, age: float
) -> None:
    monkeypatch.setenv(SWEEP, f"changed {age}")
    before = probe_of(settings)
    picture = picture_folder / "red_ellipse.png"
    picture.write_bytes((picture_folder / "blue_ellipse.png").read_bytes() + b"\0")
    os.utime(picture, (time.time() - age,) * 2)
    after = probe_of(settings)
    assert after.fingerprint != before.fingerprint
    (picture_folder / "red_ellipse.png").unlink()
    with pytest.raises(Exception, match="red_ellipse"):
        probe_of(settings)


def test_a_changed_file_below_a_datasets_folder_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    (tmp_path / "data").mkdir()
    columns = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    settings = {"_target_": "vlmatch.probes.hf_dataset.hf_dataset", "path": str(tmp_path)}
    monkeypatch.setenv(SWEEP, "dataset")
    found, long_ago = [], time.time() - 100 * SETTLED
    for grey in (10, 10, 20):
        images = [Image.new("L", (4, 4), grey + place) for place in range(2)]
        if not found or grey == 20:
            rows = datasets.Dataset.from_dict({"image": images, "caption": ["One.", "Two."]}, columns)
            rows.to_parquet(tmp_path / "data" / "train.parquet")
            os.utime(tmp_path / "data" / "train.parquet", (long_ago + grey,) * 2)
            os.utime(tmp_path / "data", (long_ago,) * 2)
            os.utime(tmp_path, (long_ago,) * 2)
        found.append(probe_of(settings))
    assert found[1] is found[0]
    assert np.asarray(found[2].image(0)).max() == 20
