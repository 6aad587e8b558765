"""Fetch: fill the folders of the probe or of the split, check them byte for byte, and print what they hold."""

from pathlib import Path

from omegaconf import DictConfig

from vlmatch.errors import VlmatchError
from vlmatch.objects import build, plain, task
from vlmatch.probes.fetch import fetch_folder, fetch_stamps
from vlmatch.probes.verify import verify_folder


@task
def fetch(config: DictConfig) -> None:
    """Fetch what is absent, verify what is there, and print the probe's data sheet, or the split's."""
    fill(config)
    described = config.split if _whole_split(config) else config.probe
    print("\n".join(build(plain(described)).data_sheet()))


def fill(config: DictConfig) -> str:
    """Fetch and verify; returns the verified checksums, or '' where no .dvc file says what to expect."""
    if _whole_split(config) or "split" in config.probe:
        return _fill_split(config.split, Path(config.data))
    return _fill_probe(config.probe, Path(config.data))


def _whole_split(config: DictConfig) -> bool:
    if config.task.what not in {"probe", "split"}:
        raise VlmatchError(f"task.what={config.task.what}: wanted probe or split")
    return bool(config.task.what == "split")


def _fill_probe(probe: DictConfig, data: Path) -> str:
    """Fetch a probe that comes inside a package, and verify the data folder."""
    if "archive" not in probe:
        raise VlmatchError(f"probe '{probe.name}' is your own data: nothing to fetch; give probe.path where it lies")
    path = Path(probe.path)
    if fetch_stamps(path, build(plain(probe.archive))):
        print(f"fetched {probe.archive.package} {probe.archive.version} into {path}")
    return _verified(data, "task=fetch")


def _fill_split(split: DictConfig, data: Path) -> str:
    """Fetch the stamps and every source of the split, and verify their folders."""
    checksums = [_fill_probe(split.stamps, data)]
    for key in split.sources:
        source = build(plain(split.sources[key]))
        folder = Path(source.path)
        if fetch_folder(folder, source.fill):
            print(f"fetched {key} into {folder}")
        checksums.append(_verified(folder, "task=fetch task.what=split"))
    return " ".join(checksums).strip()


def _verified(folder: Path, command: str) -> str:
    """The folder's checksum if it is the one that the .dvc file beside it holds; '' where there is no such file."""
    recorded = folder.with_name(f"{folder.name}.dvc")
    return verify_folder(folder, recorded, command).md5 if recorded.is_file() else ""
