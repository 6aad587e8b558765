"""Fetch: fill data/ with the probe data and check them, byte for byte, against data.dvc."""

from pathlib import Path

from omegaconf import DictConfig

from vlmatch.errors import VlmatchError
from vlmatch.objects import build, plain
from vlmatch.probes.fetch import fetch_stamps
from vlmatch.probes.verify import verify as verify_folder


def fetch(config: DictConfig) -> None:
    """Fetch the probe's archive where its folder is absent, verify what is there, and print the data sheet."""
    fill(config)
    print("\n".join(build(plain(config.probe)).data_sheet()))


def fill(config: DictConfig) -> str:
    """Fetch and verify; returns the verified checksum, or '' where no data.dvc says what to expect."""
    if "archive" not in config.probe:
        raise VlmatchError(
            f"probe '{config.probe.name}' is your own data: nothing to fetch; give probe.path where it lies"
        )
    path = Path(config.probe.path)
    if fetch_stamps(path, build(plain(config.probe.archive))):
        print(f"fetched {config.probe.archive.package} {config.probe.archive.version} into {path}")
    data = Path(config.data)
    recorded = data.with_name(f"{data.name}.dvc")
    return verify_folder(data, recorded).md5 if recorded.is_file() else ""
