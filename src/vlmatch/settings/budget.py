"""Settings of a budget and of what candidates cost: limits and figures in the forms that people write, such as 300M."""

import math
import re
from typing import Annotated, Any, Literal

from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from vlmatch.settings.node import Node

EXPONENTS = {"": 0, "K": 3, "M": 6, "G": 9, "B": 9, "T": 12}
LEAST_FLOPS = 1e6  # no encoder takes fewer, so a lower limit was meant in another unit
_WRITTEN = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([KMGBT]?)\s*", re.IGNORECASE)

PARAMETERS = "a number of parameters, such as 300M"
TOKENS = "a number of tokens, such as 576"
FLOPS = "operations for one image, such as 50G"
LIMIT_OF_FLOPS = "1M or more operations for one image, such as 50G"


def amount(written: object) -> float:
    """A number, or text that ends in K, M, G, B (both 1e9) or T, as a number: '300M' is 3e8.

    Raises ValueError on anything else, and on numbers that are negative or not finite.
    """
    if isinstance(written, int | float) and not isinstance(written, bool):
        number = float(written)
    else:
        found = _WRITTEN.fullmatch(str(written))
        if found is None:
            raise ValueError(f"{written!r} is not an amount")
        number = float(f"{found[1]}e{EXPONENTS[found[2].upper()]}")
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{written!r} is not an amount")
    return number


def short(number: float) -> str:
    """A number as people write it, with at most four digits: 3.036e8 is '303.6M'."""
    for letter in ("T", "G", "M", "K"):
        scaled = number / 10 ** EXPONENTS[letter]
        if scaled >= 1:
            return f"{scaled:.4g}{letter}" if scaled < 1000 else f"{scaled:.0f}{letter}"
    return f"{number:.4g}"


def _amount(wanted: str, least: float) -> PlainValidator:
    """Accept what `amount` reads, from `least` on, and keep it as it was written."""

    def checked(value: Any) -> Any:
        try:
            if amount(value) >= least:
                return value
        except ValueError:
            pass
        raise PydanticCustomError("wanted", "{wanted}", {"wanted": wanted})

    return PlainValidator(checked)


Written = str | int | float


class BudgetSettings(Node):
    """Limits on the candidates; null: no limit.

    params: parameters of the vision side. tokens: that the LLM is fed for one image. flops: operations for one image, a
    multiplication and an addition counted as two. licence: 'commercial' keeps only weights for commercial use.
    """

    params: Annotated[Written, _amount(PARAMETERS, 1)] | None = None
    tokens: Annotated[Written, _amount(TOKENS, 1)] | None = None
    flops: Annotated[Written, _amount(LIMIT_OF_FLOPS, LEAST_FLOPS)] | None = None
    licence: Literal["commercial"] | None = None


class CostSettings(Node):
    """What one candidate costs, as far as the catalogue and its embedding do not say; null: not known.

    params, tokens, flops: as in a budget. licence: its name. commercial: whether it allows commercial use; by default
    the name decides, if it is a well-known one.
    """

    params: Annotated[Written, _amount(PARAMETERS, 0)] | None = None
    tokens: Annotated[Written, _amount(TOKENS, 0)] | None = None
    flops: Annotated[Written, _amount(FLOPS, 0)] | None = None
    licence: str | None = None
    commercial: bool | None = None
