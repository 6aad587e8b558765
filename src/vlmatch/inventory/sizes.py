"""Bytes on disk: of the files of models that are here, and of packages that are not here yet."""

import csv
from collections.abc import Sequence
from pathlib import Path

from vlmatch.packages.package import Package

SIZES = Path(__file__).with_name("package_sizes.csv")  # bytes on disk, measured after unpacking


def size_on_disk(files: Sequence[Path]) -> int:
    """Bytes of files and folders; a link counts as what it points to."""
    inside = (path for file in files for path in (file.rglob("*") if file.is_dir() else (file,)))
    return sum(path.stat().st_size for path in inside if path.is_file())


def size_to_come(packages: Sequence[Package]) -> int | None:
    """Bytes that these packages will take once they are unpacked; None if one of them was not measured."""
    with SIZES.open(encoding="utf-8", newline="") as rows:
        sizes = {(row["package"], row["version"]): int(row["bytes"]) for row in csv.DictReader(rows)}
    each = [sizes.get((package.name, package.version)) for package in packages]
    return None if None in each else sum(size for size in each if size is not None)
