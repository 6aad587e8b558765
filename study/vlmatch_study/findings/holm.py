"""p values of several tests, corrected for their number."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected by Holm's method (1979), in the order given; it bounds the chance of any false finding.

    The smallest p is multiplied by the number of tests n, the next by n - 1, and so on. No corrected value is smaller
    than the one before.
    """
    corrected, floor, n = [0.0] * len(p_values), 0.0, len(p_values)
    for rank, at in enumerate(sorted(range(n), key=lambda each: p_values[each])):
        floor = max(floor, min(1.0, (n - rank) * p_values[at]))
        corrected[at] = floor
    return corrected
