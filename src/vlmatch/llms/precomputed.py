"""An LLM that is available only as embeddings in a file: encoders can be ranked for it, and nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from vlmatch.errors import VlmatchError
from vlmatch.objects import Buildable
from vlmatch.packages.availability import Availability, at_path
from vlmatch.probes.array_file import read_rows


class PrecomputedLanguageModel(Buildable):
    """Embeddings of a probe's captions that were computed elsewhere.

    path: the file with them; `probes.array_file.read_rows` says what it holds. layer, pooling: which states they are,
    as for a model; they choose which rankings these embeddings belong to. licence: of the LLM.
    """

    kind: ClassVar[str] = "llm"
    version: ClassVar[int] = 1
    control: ClassVar[bool] = False
    rule: ClassVar[str] = "precomputed"
    weights_sha256: ClassVar[None] = None

    def __init__(
        self,
        name: str,
        path: str,
        *,
        layer: int = -2,
        pooling: str = "last",
        licence: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.licence = name, licence
        self.layer, self.pooling = layer, pooling
        self.path = Path(path).expanduser()
        self.preprocessing: dict[str, Any] = {}

    @classmethod
    def availability(cls, settings: Mapping[str, Any]) -> Availability:
        """At `path`: the embeddings take the place of weights."""
        return at_path(str(settings["path"]))

    def stored_rows(self, ids: Sequence[str]) -> Any:
        """The embeddings of the pairs with these ids, (n, d) float32. Raises VlmatchError if they don't fit."""
        return read_rows(f"llm '{self.name}'", self.path, ids)

    def n_parameters(self) -> None:
        """Not known here."""

    def prepare(self, caption: str) -> str:
        """Raises VlmatchError: there is no model."""
        self._refuse()

    @property
    def causal_lm(self) -> Any:
        """Raises VlmatchError: there is no model."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise VlmatchError(
            f"llm '{self.name}' has only embeddings ({self.path.name}) and no model, so it can't embed other captions "
            "or be trained; choose an LLM with weights"
        )
