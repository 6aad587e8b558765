"""Whether a probe can separate any candidate from an encoder that only sees 16x16 pixels."""

import math
from collections.abc import Sequence

from scipy.stats import norm

from vlmatch.scores.rows import Row
from vlmatch.scores.scored import Scored, deviation_of_difference

PIXELS = "pixels16"
BY_CHANCE = 0.0228  # how often a pool may pass by chance: as often as a normal variable is above 2 deviations


def separation_refusal(candidates: Sequence[Row], controls: Sequence[Row], names: Sequence[str]) -> str | None:
    """Why the pool gets no recommendation; None if a candidate is ahead of the pixels, or the pool has no `pixels16`.

    names: the scores of the rule. Only those that use images count. A candidate is ahead by a score if its lead, in
    deviations over subsamples of the pairs, is above a threshold that is corrected for the number of leads
    (Bonferroni). If the score is not resampled, any lead counts.
    """
    pixels = next((row for row in controls if row.encoder == PIXELS), None)
    if pixels is None:
        return None
    everywhere = [name for name in names if all(name in row.scores for row in (*candidates, pixels))]
    known = [name for name in everywhere if "images" in pixels.scores[name].uses]
    if not known:
        return None
    wanted = float(norm.isf(BY_CHANCE / (len(candidates) * len(known))))
    if any(_lead(row.scores[name], pixels.scores[name]) > wanted for row in candidates for name in known):
        return None
    titles = " and ".join(pixels.scores[name].title for name in known)
    return (
        f"this probe can't separate your candidates from 16x16 pixels: by {titles}, none of them is ahead of "
        f"'{PIXELS}' by more than {wanted:.1f} deviations; add pairs, or captions that say what the images show"
    )


def _lead(candidate: Scored, pixels: Scored) -> float:
    """By how many deviations a candidate is ahead; infinite for any lead if the score is not resampled."""
    lead, deviation = candidate.goodness - pixels.goodness, deviation_of_difference(candidate, pixels)
    return lead / deviation if deviation else math.copysign(math.inf, lead) if lead else 0.0
