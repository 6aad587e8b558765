"""The real stamps, and small tar shards."""

from pathlib import Path

import pytest
import yaml

from made_shards import encoded, write
from vlmatch import paths
from vlmatch.packages.deb import Archive
from vlmatch.probes.fetch import fetch_stamps


@pytest.fixture(scope="session")
def archive() -> Archive:
    """The archive that conf/probe/stamps.yaml names."""
    config = yaml.safe_load((paths.conf() / "probe" / "stamps.yaml").read_text())["archive"]
    assert config.pop("_target_") == "vlmatch.packages.deb.Archive"
    return Archive(**config)


@pytest.fixture(scope="session")
def stamps_folder(archive: Archive) -> Path:
    """The real stamps where every run finds them, fetched if they are not there yet."""
    folder = paths.root() / "data" / "stamps"
    fetch_stamps(folder, archive)
    return folder


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three shards of two pairs each."""
    for s in range(3):
        members = {}
        for k in range(2):
            members[f"{k:04}.png"] = encoded(10 * s + k)
            members[f"{k:04}.txt"] = f"Shade {s} {k}.\n".encode()
        write(tmp_path / f"shard-{s:04}.tar", members)
    return tmp_path
