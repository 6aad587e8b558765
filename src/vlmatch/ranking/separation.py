"""Whether a probe can separate any candidate from an encoder that only sees 16x16 pixels."""

from collections.abc import Sequence

from vlmatch.scores.rows import Row
from vlmatch.scores.scored import Scored, deviation_of_difference

PIXELS = "pixels16"
DEVIATIONS = 2.0  # by how many a candidate must be ahead of the pixels


def separation_refusal(candidates: Sequence[Row], controls: Sequence[Row], names: Sequence[str]) -> str | None:
    """Why the pool gets no recommendation; None if a candidate is ahead of the pixels, or the pool has no `pixels16`.

    names: the rule's scores, of which those that look at images count. A candidate is ahead by a score if its lead is
    more than 2 deviations over subsamples of the pairs, or any lead where the score is not resampled.
    """
    pixels = next((row for row in controls if row.encoder == PIXELS), None)
    if pixels is None:
        return None
    everywhere = [name for name in names if all(name in row.scores for row in (*candidates, pixels))]
    known = [name for name in everywhere if "images" in pixels.scores[name].uses]
    if not known:
        return None
    if any(_ahead(row.scores[name], pixels.scores[name]) for row in candidates for name in known):
        return None
    titles = " and ".join(pixels.scores[name].title for name in known)
    return (
        f"this probe can't separate your candidates from 16x16 pixels: by {titles}, none of them is ahead of "
        f"'{PIXELS}' by more than {DEVIATIONS:g} deviations; add pairs, or captions that say what the images show"
    )


def _ahead(candidate: Scored, pixels: Scored) -> bool:
    deviation = deviation_of_difference(candidate, pixels)
    return candidate.goodness - pixels.goodness > DEVIATIONS * (deviation or 0.0)
