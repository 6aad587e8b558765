"""What a ranking consists of: the ranked encoders of each LLM, the shortlist, and what other rules would have said."""

from collections.abc import Mapping
from dataclasses import dataclass

from vlmatch.costs.candidate import CandidateCost
from vlmatch.costs.restriction import Restriction
from vlmatch.evidence.record import WorldRecord
from vlmatch.ranking.against import Judgement, Versus
from vlmatch.ranking.question import Question
from vlmatch.ranking.shortlist import Shortlist
from vlmatch.scores.rows import Row
from vlmatch.scores.scored import Scored


@dataclass(frozen=True)
class RankedEncoder:
    """One encoder's row, its rank by every score, and its place by the rule.

    ranks: 1 is the best, and ties share the better rank. value: by the rule, between 0 and 1; more is better.
    deviation: the standard deviation of the value's distance to the first, over subsamples of the pairs; 0 if the
    rule's scores are not resampled. place: candidates that the rule can't distinguish share a place. Value, deviation
    and place are None for a control. cost: what the encoder costs, as far as it is known.
    """

    row: Row
    ranks: Mapping[str, int]
    cost: CandidateCost
    value: float | None = None
    deviation: float | None = None
    place: int | None = None


@dataclass(frozen=True)
class Opinion:
    """The encoders that another rule ranks first, and what the picks of that rule lost in the record.

    of: the rule in words. rule: its name in the record. regret: the mean regret of its picks, as a share of a random
    pick's. later: the same among encoders whose VLMs were trained after the rule was frozen. None if not measured.
    """

    of: str
    rule: str
    encoders: tuple[str, ...]
    regret: float | None
    later: float | None = None


@dataclass(frozen=True)
class ProvenOrders:
    """For how many pairs of pretrained encoders the order by GW is proven, and how many pairs there are.

    The solver finds a local optimum; the global one lies between the lower bound and this local one. If these intervals
    of two encoders do not overlap, no better solver would change their order.
    """

    n_proven: int
    n_orders: int


@dataclass(frozen=True)
class LlmRanking:
    """The encoders of a pool for one LLM, best first by the rule; controls stand last.

    world: the evidence for what the LLM will be fed. rule: what orders the encoders, in words. ingredients: the names
    of the rule's scores. shortlist: None if there is no recommendation; `refusal` then says why. opinions: what other
    rules would have picked. against: every candidate compared with the encoder that the user has. budget: which
    candidates meet the budget. limits: in which ways the pool lies outside the evidence. warnings: what the user should
    know about the values. controls_last: by score, whether every control ranks behind every pretrained encoder.
    """

    llm: str
    encoders: tuple[RankedEncoder, ...]
    world: WorldRecord
    rule: str
    ingredients: tuple[str, ...]
    shortlist: Shortlist | None
    refusal: str | None
    opinions: tuple[Opinion, ...]
    against: tuple[Versus, ...]
    budget: Restriction
    limits: tuple[str, ...]
    warnings: tuple[str, ...]
    controls_last: Mapping[str, bool]
    proven_orders: ProvenOrders | None

    @property
    def scored(self) -> dict[str, Scored]:
        """By name, every score that some encoder has; the value is that of the first encoder that has the score."""
        found: dict[str, Scored] = {}
        for each in self.encoders:
            for name, scored in each.row.scores.items():
                found.setdefault(name, scored)
        return found

    @property
    def pick(self) -> str | None:
        """The first name of the shortlist."""
        return self.shortlist.encoders[0] if self.shortlist else None

    def judged(self, judgement: Judgement) -> list[str]:
        """The candidates with this judgement against the encoder that the user has, best first."""
        return [each.encoder for each in self.against if each.judgement == judgement]

    def ranked(self, encoder: str) -> RankedEncoder:
        """The encoder of this name."""
        return next(each for each in self.encoders if each.row.encoder == encoder)


@dataclass(frozen=True)
class Agreement:
    """How similarly two LLMs order the encoders that both have, by GW: Spearman's and Kendall's rank correlation."""

    llms: tuple[str, str]
    n_encoders: int
    spearman: float
    kendall: float


@dataclass(frozen=True)
class Ranking:
    """The rankings for one probe and one pair of embedding recipes, by LLM."""

    probe: str
    image_recipe: str
    text_recipe: str
    n_pairs: int
    question: Question
    llms: tuple[LlmRanking, ...]
    agreements: tuple[Agreement, ...]
    warnings: tuple[str, ...]
