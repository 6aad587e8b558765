"""Embed the models of a pool and score their pairs; a model that fails is reported, and the others go on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from traceback import clear_frames
from typing import Any

from vlmatch.api.embedding import embedded, is_stored
from vlmatch.embeddings.embed import Cost
from vlmatch.embeddings.store import Embeddings, Store
from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.geometry import Labels
from vlmatch.jobs import FAILED, NOT_HERE, PairStatus
from vlmatch.probes.pairs import ProbeSet
from vlmatch.scores.rows import Row, score_pair
from vlmatch.settings.buildable import ObjectSettings
from vlmatch.settings.work import TrainerSettings


@dataclass(frozen=True)
class Member:
    """A model of the pool with its embeddings, or why it has none."""

    name: str
    is_stored: bool
    embeddings: Embeddings | None = None
    cost: Cost = field(default_factory=Cost)
    error: VlmatchError | None = None

    @classmethod
    def of(cls, model: Any, pairs: ProbeSet, store: Store, trainer: TrainerSettings, *, progress: bool) -> "Member":
        """Embed these pairs with a model from `model_of`; if that fails, the member holds the error."""
        name, stored = str(model.name), is_stored(model)
        try:
            return cls(name, stored, *embedded(model, pairs, store, trainer, progress=progress))
        except VlmatchError as error:
            _release(error)
            return cls(name, stored, error=error)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the embeddings; '' if there are none."""
        return "" if self.embeddings is None else self.embeddings.header.fingerprint


@dataclass
class Scoring:
    """The rows of a pool, and why its other pairs have none. first: the first error."""

    rows: list[Row] = field(default_factory=list)
    failures: list[PairStatus] = field(default_factory=list)
    first: VlmatchError | None = None

    def score(
        self,
        images: Embeddings,
        captions: Embeddings,
        scores: Mapping[str, ObjectSettings],
        store: Store | None,
        labels: Labels | None,
    ) -> None:
        """Add the row of these embeddings, or why they can't be scored; the arguments are those of `score_pair`."""
        try:
            self.rows.append(score_pair(images, captions, scores, store, labels))
        except VlmatchError as error:
            self.fail(images.header.spec.model, captions.header.spec.model, error)

    def fail(self, encoder: str, llm: str, *errors: VlmatchError) -> None:
        """Add a pair that can't be scored, with every reason."""
        status = NOT_HERE if all(isinstance(error, NotHereError) for error in errors) else FAILED
        self.failures.append(PairStatus(encoder, llm, status, "; ".join(map(one_line, errors))))
        self.first = self.first or errors[0]

    def require_rows(self) -> None:
        """Raise the first error if no pair was scored."""
        if not self.rows and self.first is not None:
            raise self.first


def scored(
    images: Iterable[Member],
    captions: Iterable[Member],
    scores: Mapping[str, ObjectSettings],
    store: Store,
    labels: Labels | None,
) -> Scoring:
    """Score every pair of an encoder and an LLM; the scores of stored embeddings are stored too."""
    found = Scoring()
    for image, text in product(images, captions):
        if image.embeddings is None or text.embeddings is None:
            found.fail(image.name, text.name, *(each.error for each in (image, text) if each.error is not None))
        else:
            keeping = store if image.is_stored and text.is_stored else None
            found.score(image.embeddings, text.embeddings, scores, keeping, labels)
    return found


def _release(error: BaseException) -> None:
    """Drop the variables of the calls that failed: they keep the model in memory, which the next model needs."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        clear_frames(cause.__traceback__)
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
