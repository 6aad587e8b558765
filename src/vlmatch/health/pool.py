"""The health of a pool: all findings on a probe and on what each of its encoders and LLMs made of it."""

from collections.abc import Iterable

import numpy as np

from vlmatch.embeddings.header import Header
from vlmatch.embeddings.store import Array, Embeddings
from vlmatch.geometry import RESOLUTION, Geometry
from vlmatch.health.findings import Finding, Side
from vlmatch.health.geometries import health_of
from vlmatch.health.pairs import health_of_captions, health_of_pairs
from vlmatch.llms.templates import PLACE
from vlmatch.probes.pairs import ProbeSet

RESOLUTIONS = {"bf16": 2.0**-8, "bfloat16": 2.0**-8, "16": 2.0**-11, "float16": 2.0**-11}
"""The rounding of one number, by the beginning of a precision or dtype: smaller angles can't be distinguished."""


def health_of_pool(embeddings: Iterable[Embeddings], probe: ProbeSet | None = None) -> tuple[Finding, ...]:
    """Every finding on a pool, warnings first, each kind in the order of `embeddings`.

    embeddings: of one probe, by encoders and LLMs in any order. probe: the probe of these embeddings; None: its
    captions, images and labels are not checked. Time: for each model as `health_of`, and 0.03 s for the angles.
    """
    found = list(health_of_pairs(probe)) if probe is not None else []
    texts: list[Finding] = []
    for each in embeddings:
        header = each.header
        side: Side = "images" if header.spec.kind == "encoder" else "captions"
        found += health_of(angles_for_health(each.array), side, header.spec.model, resolution=resolution_of(header))
        if side == "captions" and probe is not None:
            texts += _of_text(header, probe)
    unique = dict.fromkeys([*found, *texts])  # what the captions' text shows is the same for each LLM
    return tuple(sorted(unique, key=lambda finding: not finding.warning))


def resolution_of(header: Header) -> float:
    """The smallest angle, in radians, that the forward pass resolved, by its precision and the model's dtype."""
    names = (str(header.spec.precision), str(header.preprocessing.get("dtype", "")))
    coarse = [floor for start, floor in RESOLUTIONS.items() for name in names if name.startswith(start)]
    return max(coarse, default=RESOLUTION)


def angles_for_health(array: Array) -> Geometry:
    """The angles within (n, d) embeddings by one matrix product: ten times as fast as `Geometry.angular`.

    Errors are below 1e-6 rad, which is the resolution; scores need more digits and use `Geometry.angular`.
    """
    rows = np.asarray(array, dtype=np.float64)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    distances = np.arccos(np.clip(units @ units.T, -1, 1))
    np.fill_diagonal(distances, 0)
    return Geometry(rows, distances)


def _of_text(header: Header, probe: ProbeSet) -> tuple[Finding, ...]:
    """Findings on the captions, by the LLM's stored pooling and template; precomputed embeddings have none stored."""
    about = header.preprocessing
    pooling, template = str(about.get("pooling", "unknown")), str(about.get("template", PLACE))
    return health_of_captions(probe.captions, pooling, template=template, name=header.spec.model)
