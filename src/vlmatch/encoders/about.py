"""The description of a model that tables show; it is stored with the embeddings, so tables need not build the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class About:
    """A model's feature rule, size, weights and preprocessing."""

    name: str
    rule: str
    control: bool
    n_parameters: int | None
    weights_sha256: str | None
    preprocessing: Mapping[str, Any]

    @classmethod
    def of(cls, model: Any) -> "About":
        """The description of a built encoder or LLM."""
        return cls(
            model.name, model.rule, model.control, model.n_parameters(), model.weights_sha256, model.preprocessing
        )


def joint_size(sizes: Sequence[int | None]) -> int | None:
    """The total number of parameters of several models; None if one model's number is not known."""
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None
