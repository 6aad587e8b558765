"""What tables show of a model, whether it is built or only its embeddings are stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class About:
    """A model's feature rule, size, weights and preprocessing."""

    name: str
    rule: str
    control: bool
    n_parameters: int
    weights_sha256: str | None
    preprocessing: Mapping[str, Any]

    @classmethod
    def of(cls, model: Any) -> "About":
        """What a built encoder or LLM says of itself."""
        return cls(
            model.name, model.rule, model.control, model.n_parameters(), model.weights_sha256, model.preprocessing
        )
