"""Score two arrays of embeddings: each row of one is an image, and the same row of the other is its caption."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Self, TypeAlias

from numpy.typing import ArrayLike
from pydantic import PrivateAttr

from vlmatch.api.defaults import chosen_scores
from vlmatch.encoders.spec_sheet import SpecSheet
from vlmatch.errors import VlmatchError
from vlmatch.geometry import PairedGeometry
from vlmatch.objects import target_named
from vlmatch.scores.base import Score, ScoreResult
from vlmatch.settings.buildable import ObjectSettings

ScoreChoice: TypeAlias = Iterable[str] | Mapping[str, Score | ObjectSettings | Mapping[str, Any]]
"""Scores by their names, or a mapping from names of your own to scores or their settings (`_target_` and options)."""


class GivenScore(ObjectSettings):
    """A score object from the caller; its class and options are the settings under which its values are stored."""

    _score: Score = PrivateAttr()

    @classmethod
    def of_score(cls, name: str, score: Score) -> Self:
        """The settings of a score; `name` is the caller's. Raises VlmatchError on options that JSON can't hold."""
        options = (
            {each.name: getattr(score, each.name) for each in fields(score)} if is_dataclass(score) else vars(score)
        )
        kind = type(score)
        try:
            plain = json.loads(json.dumps(options))
        except (TypeError, ValueError) as error:
            raise VlmatchError(
                f"scores['{name}']={kind.__name__}: its options can't be stored ({error}); use plain values"
            ) from error
        found = cls.of(f"scores.{name}", {**plain, "_target_": f"{kind.__module__}.{kind.__qualname__}"})
        found._score = score
        return found

    def build(self) -> Score:
        """The object itself."""
        return self._score


@dataclass(frozen=True)
class Scores(Mapping[str, float]):
    """The values of several scores by name, as a mapping.

    results: by name, each value with its details, such as the number of iterations. scores: by name, the score itself,
    which says whether higher is better.
    """

    results: Mapping[str, ScoreResult]
    scores: Mapping[str, Score]

    def __getitem__(self, name: str) -> float:
        return self.results[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def details(self, name: str) -> Mapping[str, float | int | str]:
        """Further figures of the score `name`, such as the number of iterations."""
        return self.results[name].details

    def __repr__(self) -> str:
        width = max(map(len, self.results), default=0)
        return "\n".join(
            f"{name:{width}}  {self[name]:.6g}  ({'higher' if score.higher_is_better else 'lower'} is better)"
            for name, score in self.scores.items()
        )


def score(
    images: ArrayLike,
    captions: ArrayLike,
    scores: ScoreChoice | None = None,
    *,
    labels: Sequence[str | None] | None = None,
    spec: SpecSheet | None = None,
) -> Scores:
    """How well an encoder's embeddings fit an LLM's, by every score.

    Parameters
    ----------
    images
        (n, d1) array of image embeddings, NumPy or torch, of any number type.
    captions
        (n, d2) array of caption embeddings; row i is the caption of image i.
    scores
        Names of scores, or a mapping from names to scores or their settings. Default: those of the command line.
    labels
        The category of each pair, or None for a pair without one, for scores that use labels.
    spec
        What is known of the encoder, for scores that use it: `vlmatch.SpecSheet(parameters=86_000_000, tokens=576)`.

    Returns
    -------
    Scores
        A mapping from the name of each score to its value; `details(name)` says more. If `scores` is None, scores that
        need labels or facts that are not given are left out.

    Raises
    ------
    VlmatchError
        If the arrays are not two (n, d) arrays of finite numbers with as many rows, if a score is unknown, or if it is
        not defined for these arrays, such as for too few pairs.

    Examples
    --------
    >>> import numpy as np
    >>> import vlmatch
    >>> random = np.random.default_rng(0)
    >>> captions = random.normal(size=(60, 8))
    >>> rotation = np.linalg.qr(random.normal(size=(8, 8)))[0]
    >>> same = vlmatch.score(captions @ rotation, captions, ["gw_paired", "cka"])
    >>> f"{same['gw_paired']:.3f} {same['cka']:.3f}"
    '0.000 1.000'
    >>> other = vlmatch.score(random.normal(size=(60, 8)), captions, ["gw_paired", "cka"])
    >>> other["gw_paired"] > same["gw_paired"] and other["cka"] < same["cka"]
    True
    >>> list(vlmatch.score(captions @ rotation, captions))[:4]
    ['gw', 'gw_centred', 'gw_paired', 'rsa']
    """
    chosen = {name: _built(name, each) for name, each in chosen_scores(scores).items()}
    pair = PairedGeometry.angular(as_array(images), as_array(captions), spec=spec, labels=labels)
    if scores is None:
        labelled = pair.labels is not None
        chosen = {name: each for name, each in chosen.items() if each.unknown(pair.spec, labelled=labelled) is None}
    return Scores({name: each(pair) for name, each in chosen.items()}, chosen)


def as_array(embeddings: Any) -> ArrayLike:
    """Embeddings as NumPy takes them: a torch tensor is detached, and brought to the CPU in single precision at least.

    This module does not import torch: a caller who passes a tensor has imported it already.
    """
    if not hasattr(embeddings, "detach"):
        return embeddings
    tensor = embeddings.detach().cpu()
    return (tensor.float() if tensor.element_size() < 4 else tensor).numpy()


def _built(name: str, chosen: Score | ObjectSettings | Mapping[str, Any]) -> Score:
    if isinstance(chosen, Score):
        return chosen
    if isinstance(chosen, ObjectSettings):
        built: Score = chosen.build()
        return built
    try:
        options = dict(chosen)
        built = target_named(options.pop("_target_"))(**options)
    except VlmatchError:  # this is a ValueError too, and its message already names the option at fault
        raise
    except (TypeError, ValueError, KeyError) as error:
        raise VlmatchError(
            f"scores: '{name}'={chosen!r} is not a score ({error}); give a name, a Score, or settings with a _target_"
        ) from error
    return built
