"""An encoder without a model, only with embeddings in a file: it can be ranked, but it can't embed other images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Unpack

from PIL import Image
from torch import Tensor

from vlmatch.encoders.base import Encoder, EncoderOptions
from vlmatch.errors import VlmatchError
from vlmatch.packages.availability import Availability, at_path
from vlmatch.probes.array_file import read_rows


class PrecomputedEncoder(Encoder):
    """Embeddings of a probe's images that were computed elsewhere.

    path: the file with them; `probes.array_file.read_rows` says what it holds. n_parameters: the size of the encoder,
    for the baseline that ranks by size; None: not known, so the baseline is left out. feature, layer: which feature the
    embeddings are, if a whole pool is asked for it; they choose which encoders these embeddings are ranked with.
    """

    def __init__(
        self, name: str, path: str, n_parameters: int | None = None, **options: Unpack[EncoderOptions]
    ) -> None:
        super().__init__(name, **options)
        self.path = Path(path).expanduser()
        self._n_parameters = n_parameters

    @classmethod
    def availability(cls, settings: Mapping[str, Any]) -> Availability:
        """At `path`: the embeddings take the place of weights."""
        return at_path(str(settings["path"]))

    def stored_rows(self, ids: Sequence[str]) -> Any:
        """The embeddings of the pairs with these ids, (n, d) float32. Raises VlmatchError if they don't fit."""
        return read_rows(f"encoder '{self.name}'", self.path, ids)

    def n_parameters(self) -> int | None:
        """The number that the yaml states; None if it states none."""
        return self._n_parameters

    def prepare(self, image: Image.Image) -> Tensor:
        """Raises VlmatchError: there is no model."""
        self._refuse()

    def tokens(self, images: Tensor) -> Tensor:
        """Raises VlmatchError: there is no model."""
        self._refuse()

    def paper_feature(self, images: Tensor) -> Tensor:
        """Raises VlmatchError: there is no model."""
        self._refuse()

    @property
    def paper_rule(self) -> str:
        """The word that stands for the rule, which is not known."""
        return "precomputed"

    @property
    def rule(self) -> str:
        """The same, whatever feature is asked for."""
        return self.paper_rule

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Empty: it is not known."""
        return {}

    def _refuse(self) -> NoReturn:
        raise VlmatchError(
            f"encoder '{self.name}' has only embeddings ({self.path.name}) and no model, so it can't embed other "
            "images or be trained; choose an encoder with weights"
        )
