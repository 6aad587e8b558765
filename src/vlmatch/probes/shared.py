"""The jobs of a sweep that run in one process share a probe set, so that it is read only once."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from vlmatch.files import Stamp, stamp_of
from vlmatch.machine.processes import SWEEP
from vlmatch.objects import build
from vlmatch.probes.images import ImageSource
from vlmatch.probes.pairs import ProbeSet

Stamps = dict[Path, Stamp | None]

_kept: dict[tuple[str, str], tuple[ProbeSet, Stamps]] = {}  # by sweep and settings; only of the current sweep


def probe_of(settings: Mapping[str, Any]) -> ProbeSet:
    """The probe set of `settings`, the plain yaml of a probe.

    In a sweep it is built once in each process, and again if a file with its images has changed: new embeddings must
    not be stored under the fingerprint of the old images. Elsewhere it is always built. Raises what building raises.
    """
    sweep = os.environ.get(SWEEP)
    if not sweep:
        return _built(settings)
    key = sweep, json.dumps(settings, sort_keys=True, default=str)
    if key in _kept:
        probe, stamps = _kept[key]
        if _stamps(probe) == stamps:
            return probe
    started = time.time()
    probe = _built(settings)
    stamps = _stamps(probe)
    for other in [other for other in _kept if other[0] != sweep]:
        del _kept[other]
    if all(stamp is None or stamp.settled_at(started) for stamp in stamps.values()):  # none changed while it was read
        _kept[key] = probe, stamps
    return probe


def _built(settings: Mapping[str, Any]) -> ProbeSet:
    probe: ProbeSet = build(settings)
    return probe


def _stamps(probe: ProbeSet) -> Stamps:
    """The stamp of every file that holds images, or may do so; None for files that are gone."""
    places = dict.fromkeys(place for pair in probe.pairs for place in _places(pair.image))
    return {file: stamp_of(file) for place in places for file in (place, *(place.rglob("*") if place.is_dir() else ()))}


def _places(image: ImageSource) -> list[Path]:
    """The image's file, or the files and folders of its container."""
    if isinstance(image, Path):
        return [image]
    return [value for each in fields(image) if isinstance(value := getattr(image, each.name), Path)]  # type: ignore[arg-type]
