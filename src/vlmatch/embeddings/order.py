"""The order in which the rows of a probe set are embedded."""

from vlmatch.probes.pairs import ProbeSet


def row_order(kind: str, probe: ProbeSet) -> list[int]:
    """Images as they are; captions by their length, so that those in one batch need little padding."""
    rows = range(len(probe))
    if kind == "encoder":
        return list(rows)
    captions = probe.captions
    return sorted(rows, key=lambda row: len(captions[row]))
