"""A budget: limits on what an encoder may cost, and the reasons why it keeps an encoder out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlmatch.costs.candidate import CandidateCost
from vlmatch.settings.budget import BudgetSettings, amount, short

WITHIN = "allowed under conditions that you have to read"
EXAMPLES = {"params": "86M", "tokens": "196", "flops": "17.6G", "licence": "MIT", "commercial": "true"}


@dataclass(frozen=True)
class Miss:
    """One limit that an encoder does not meet, or that can't be checked for it.

    key: the limit's setting, such as 'params'. reason: in words. figure: what it costs; None if that is not known or is
    not a number. excess: the cost as a multiple of the limit; infinite without a figure. admits: the setting that would
    let the encoder in. checked: whether the limit could be checked; if not, `admits` is the setting that states the
    unknown fact.
    """

    key: str
    reason: str
    figure: float | None
    excess: float
    admits: str
    checked: bool = True

    def __str__(self) -> str:
        return self.reason if self.checked else f"{self.reason}; if you know better, give {self.admits}"


@dataclass(frozen=True)
class Budget:
    """Limits on the candidates; None: no limit.

    parameters: of the vision side. tokens: that the LLM is fed for one image. gflops: operations for one image, in 1e9.
    commercial: only weights whose licence allows commercial use.
    """

    parameters: float | None = None
    tokens: float | None = None
    gflops: float | None = None
    commercial: bool = False

    @classmethod
    def of(cls, limits: "BudgetSettings | Mapping[str, Any] | Budget | None") -> "Budget":
        """A budget from settings or a mapping such as {'params': '300M', 'licence': 'commercial'}; None: no limit.

        Raises VlmatchError on an unknown key and on a value that is not an amount.

        >>> Budget.of({"params": "300M", "flops": "50G"})
        Budget(parameters=300000000.0, tokens=None, gflops=50.0, commercial=False)
        """
        if isinstance(limits, Budget):
            return limits
        settings = limits if isinstance(limits, BudgetSettings) else BudgetSettings.of("budget", limits or {})
        return cls(
            parameters=None if settings.params is None else amount(settings.params),
            tokens=None if settings.tokens is None else amount(settings.tokens),
            gflops=None if settings.flops is None else amount(settings.flops) / 1e9,
            commercial=settings.licence == "commercial",
        )

    @property
    def is_set(self) -> bool:
        """Whether there is any limit."""
        return self != Budget()

    def misses(self, cost: CandidateCost) -> tuple[Miss, ...]:
        """The limits that an encoder does not meet, or that can't be checked for it."""
        figures = (
            ("params", self.parameters, cost.parameters, "parameters"),
            ("tokens", self.tokens, cost.tokens, "tokens"),
            ("flops", _flops(self.gflops), _flops(cost.gflops), "FLOPs"),
        )
        found = [_over(cost.encoder, *each) for each in figures if each[1] is not None]
        return tuple(miss for miss in (*found, _licence(cost) if self.commercial else None) if miss is not None)

    def __str__(self) -> str:
        limits = {"params": self.parameters, "tokens": self.tokens, "flops": _flops(self.gflops)}
        words = [f"budget.{key}={short(limit)}" for key, limit in limits.items() if limit is not None]
        return ", ".join([*words, *(["budget.licence=commercial"] if self.commercial else [])])


def _flops(gflops: float | None) -> float | None:
    return None if gflops is None else gflops * 1e9


def _over(encoder: str, key: str, limit: float, figure: float | None, what: str) -> Miss | None:
    if figure is None:
        return _unknown(encoder, key, key, f"its {what} are not known", EXAMPLES[key])
    if figure <= limit:
        return None
    return Miss(key, f"{short(figure)} {what}", figure, figure / limit, f"budget.{key}={_enough(figure)}")


def _licence(cost: CandidateCost) -> Miss | None:
    if cost.commercial_use == "yes":
        return None
    licence = f"licence {cost.licence}" if cost.licence else "its licence"
    if cost.commercial_use == "no":
        return Miss("licence", f"{licence} forbids commercial use", None, math.inf, "budget.licence=null")
    if cost.licence is None:
        return _unknown(cost.encoder, "licence", "licence", "its licence is not known", EXAMPLES["licence"])
    reason = f"commercial use is {WITHIN if cost.commercial_use == 'terms' else 'unclear'} ({licence})"
    return _unknown(cost.encoder, "licence", "commercial", reason, EXAMPLES["commercial"])


def _unknown(encoder: str, key: str, fact: str, reason: str, example: str) -> Miss:
    """A limit that can't be checked before the user states a fact."""
    return Miss(key, reason, None, math.inf, f"+costs.{encoder}.{fact}={example}", checked=False)


def _enough(figure: float) -> str:
    """The smallest limit with few digits that admits a figure."""
    exponent = max(0, math.floor(math.log10(figure)) - 2)
    return short(math.ceil(figure / 10**exponent) * 10**exponent)
