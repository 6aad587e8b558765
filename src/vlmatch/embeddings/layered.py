"""The layers that a model has: kept beside its embeddings, so that the model need not be loaded to know them."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Self

from vlmatch.embeddings.beside import read_beside, write_beside
from vlmatch.embeddings.header import EmbeddingSpec
from vlmatch.embeddings.store import Store


@dataclass(frozen=True)
class Layers:
    """n: how many layers can be chosen from; 0: none. has_cls: whether each of them has a CLS token."""

    n: int
    has_cls: bool

    @classmethod
    def of(cls, model: Any) -> Self:
        """The layers of a built encoder or LLM."""
        return cls(getattr(model, "n_layers", 0), getattr(model, "paper_rule", None) == "cls")


def layers_of(store: Store, spec: EmbeddingSpec, make: Callable[[], Any]) -> Layers:
    """The layers of the model that `make` gives; it is called only if the store does not keep them for `spec` yet."""
    try:
        return Layers(**read_beside(store, spec, "layers"))
    except TypeError:
        found = Layers.of(make())
    write_beside(store, spec, "layers", asdict(found))
    return found
