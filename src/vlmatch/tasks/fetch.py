"""Fetch: fill the folders of the probe or of the split, check them byte for byte, and print what they hold."""

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
    """Fetch what is absent, verify what is there, and print the probe's data sheet, or the split's."""
    fill(settings)
    described = settings.split if settings.task.what == "split" else settings.probe
    print("\n".join(described.build().data_sheet()))


def fill(settings: Settings[Any]) -> str:
    """Fetch and verify; returns the verified checksums, or '' where no .dvc file says what to expect."""
    if settings.task.what == "split" or settings.probe.split is not None:
        return _fill_split(settings.split, settings.data)
    return _fill_probe(settings.probe, settings.data)


def _fill_probe(probe: ProbeSettings, data: Path) -> str:
    """Fetch a probe that comes inside a package, and verify the data folder."""
    if probe.archive is None or probe.path is None:
        raise VlmatchError(f"probe '{probe.name}' is your own data: nothing to fetch; give probe.path where it lies")
    path, archive = Path(probe.path), probe.archive.build()
    if fetch_stamps(path, archive):
        print(f"fetched {archive.package} {archive.version} into {path}")
    return _verified(data, "task=fetch")


def _fill_split(split: SplitSettings, data: Path) -> str:
    """Fetch the stamps and every source of the split, and verify their folders."""
    checksums = [] if split.stamps is None else [_fill_probe(split.stamps, data)]
    for key, described in split.sources.items():
        source = described.build()
        folder = Path(source.path)
        if fetch_folder(folder, source.fill):
            print(f"fetched {key} into {folder}")
        checksums.append(_verified(folder, "task=fetch task.what=split"))
    return " ".join(checksums).strip()


def _verified(folder: Path, command: str) -> str:
    """The folder's checksum if it is the one that the .dvc file beside it holds; '' where there is no such file."""
    recorded = folder.with_name(f"{folder.name}.dvc")
    return verify_folder(folder, recorded, command).md5 if recorded.is_file() else ""
