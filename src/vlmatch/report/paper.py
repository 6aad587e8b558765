"""The paper's comparison of baselines beside what this pool gives: printed where GW orders the pool."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from scipy.stats import pearsonr, spearmanr

from vlmatch.evidence.correlation import LEAST
from vlmatch.ranking import LlmRanking
from vlmatch.ranking.rule import best_by
from vlmatch.report.evidence import RankingEvidence, bare

N_ENCODERS, NAMED = 19, ("siglip", "dfn5b_h14_378")


@dataclass(frozen=True)
class Correlations:
    """Absolute values of Pearson's and Spearman's correlation of a score with trained VLMs, and R2; None: not given.

    wrong_sign: whether, by Pearson's correlation, worse scores go with better VLMs.
    """

    pearson: float | None
    spearman: float | None
    r2: float | None
    wrong_sign: bool = False

    def __str__(self) -> str:
        figures = " / ".join(bare(each) for each in (self.pearson, self.spearman, self.r2))
        return figures + " (wrong sign)" * self.wrong_sign


NOT_GIVEN = Correlations(None, None, None)

# arXiv 2605.01325, for Qwen2.5-7B-Instruct over the 14 encoders that have a zero-shot accuracy. The paper gives no
# correlation for the size.
PAPER_SAYS = {
    "zero_shot": Correlations(0.4629, 0.3934, 0.2142),
    "parameters": NOT_GIVEN,
    "rsa": Correlations(0.4759, 0.430, 0.265),
    "cca": Correlations(0.043, 0.072, 0.018),
    "mutual_nn": Correlations(0.6081, 0.178, 0.3697, wrong_sign=True),
    "gw": Correlations(0.6568, 0.5341, 0.4314),
}
TITLES = {
    "zero_shot": "zero-shot accuracy",
    "parameters": "size",
    "rsa": "RSA",
    "cca": "CCA",
    "mutual_nn": "MutualNN",
    "gw": "GW",
}


@dataclass(frozen=True)
class Baseline:
    """One baseline of the paper: what the paper says of it, what this pool gives, and what it picks here."""

    name: str
    paper: Correlations
    here: Correlations
    picks: tuple[str, ...]


def baselines(llm: LlmRanking, evidence: Sequence[RankingEvidence]) -> list[Baseline]:
    """The paper's baselines for one LLM of a ranking; correlations need trained VLMs of at least 4 of its encoders."""
    rows = [each.row for each in llm.encoders if not each.row.image.control]
    held = next((each for each in evidence if each.llm is llm), None)
    return [
        Baseline(name, says, _here(name, held), best_by((name,), rows) if any(name in r.scores for r in rows) else ())
        for name, says in PAPER_SAYS.items()
    ]


def paper_table(llm: LlmRanking, evidence: Sequence[RankingEvidence]) -> Table:
    """The baselines as a table for the terminal, with what differs from the paper's protocol in its caption."""
    table = Table(
        title=f"the paper's baselines, for {llm.llm}",
        title_justify="left",
        title_style="bold",
        caption=difference(llm),
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for head in ("baseline", "paper says: |Pearson| / |Spearman| / R2", "you get", "picks here"):
        table.add_column(head)
    for each in baselines(llm, evidence):
        table.add_row(TITLES[each.name], str(each.paper), str(each.here), ", ".join(each.picks) or "not computed")
    return table


def difference(llm: LlmRanking) -> str:
    """Whether this is the paper's pool, in words."""
    mine = [each.row.encoder for each in llm.encoders if not each.row.image.control]
    shared = [name for name in mine if name in NAMED]
    return (
        f"Your pool is not the paper's. The paper's has {N_ENCODERS} encoders, and its full list is not public. Yours "
        f"has {len(mine)}; {len(shared)} of them are known to be in the paper's. The paper's figures are for "
        "Qwen2.5-7B over 14 encoders. Your own figures need trained VLMs of at least 4 encoders."
    )


def _here(name: str, held: RankingEvidence | None) -> Correlations:
    score = next((each for each in held.scores if each.name == name), None) if held else None
    points = [(point.score, point.truth.mean) for point in score.points if not point.truth.control] if score else []
    if len(points) < LEAST:
        return NOT_GIVEN
    x, y = np.array(points).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return NOT_GIVEN
    pearson, spearman = float(pearsonr(x, y).statistic), float(spearmanr(x, y).statistic)
    better = 1 if score is None or score.higher_is_better else -1
    return Correlations(abs(pearson), abs(spearman), pearson**2, wrong_sign=better * pearson < 0)
