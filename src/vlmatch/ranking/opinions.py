"""What other rules would have said about the same pool: the spec sheet, participation ratio and GW."""

from collections.abc import Sequence

from vlmatch.evidence.pools import Kind
from vlmatch.evidence.record import WorldRecord
from vlmatch.evidence.worlds import TOKENS
from vlmatch.ranking.pool import Opinion
from vlmatch.ranking.rule import best_by
from vlmatch.scores.rows import Row
from vlmatch.settings.selection import PAPER

PARTICIPATION_RATIO = "participation_ratio"


def opinions(rows: Sequence[Row], world: WorldRecord, kind: Kind) -> tuple[Opinion, ...]:
    """The encoders that each other rule puts first among these candidates, with what its picks lost.

    A rule is left out if it needs a score that no candidate has. An LLM that is fed one pooled feature gets one token
    from every encoder, so in this setting the spec sheet leaves out tokens.
    """
    sheet = tuple(name for name in world.spec_sheet.needs if name != TOKENS or world.setting == "patches")
    asked = (
        ("the spec sheet", world.spec_sheet.name, sheet),
        ("participation ratio", PARTICIPATION_RATIO, (PARTICIPATION_RATIO,)),
        ("the paper's GW", PAPER, (PAPER,)),
    )
    return tuple(
        Opinion(
            words,
            name,
            best_by(ingredients, rows),
            world.regret(name, kind, len(rows)),
            world.later_regret(name, len(rows)),
        )
        for words, name, ingredients in asked
        if all(any(each in row.scores for row in rows) for each in ingredients)
    )
