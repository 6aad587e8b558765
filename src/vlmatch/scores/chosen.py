"""A requested score: computed for a pair of embeddings, or found among the stored values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from vlmatch.scores.resampling import Resampled, subsample_size
from vlmatch.scores.scored import LeftOut, Scored
from vlmatch.settings.buildable import ObjectSettings


@dataclass(frozen=True)
class ChosenScore:
    """A score, and the settings that it was built from."""

    score: Any
    settings: ObjectSettings

    @classmethod
    def built(cls, configs: Mapping[str, ObjectSettings]) -> dict[str, Self]:
        """Build the scores of these settings, by name."""
        return {name: cls(settings.build(), settings) for name, settings in configs.items()}

    def is_settled_by(self, found: Scored | LeftOut | None, inputs: Mapping[str, str]) -> bool:
        """Whether the stored value, or reason for having none, is of this version, these settings and these inputs."""
        if found is None or found.version != self.score.version or dict(found.settings) != self.settings.plain():
            return False
        return all(found.inputs.get(key) == value for key, value in self.used(inputs).items())

    def used(self, inputs: Mapping[str, str]) -> dict[str, str]:
        """The inputs among those of `rows.inputs_of` that the score uses."""
        return {key: value for key, value in inputs.items() if key in self.score.uses}

    def scored(self, resampled: Resampled, inputs: Mapping[str, str]) -> Scored:
        """The score's value on the pairs, with its noise twin and its values on subsamples."""
        score, n_pairs = self.score, len(resampled.pair)
        result = score(resampled.pair)
        noise, subsamples = resampled.values(score)
        return Scored(
            value=result.value,
            details=dict(result.details),
            title=score.title,
            higher_is_better=score.higher_is_better,
            uses=tuple(score.uses),
            version=score.version,
            settings=self.settings.plain(),
            noise=noise,
            subsamples=subsamples,
            n_pairs=n_pairs,
            n_subsampled=subsample_size(n_pairs, score) if subsamples else 0,
            inputs=self.used(inputs),
        )

    def left_out(self, reason: str, inputs: Mapping[str, str]) -> LeftOut:
        """The record that the score has no value, with the reason."""
        return LeftOut(reason, version=self.score.version, settings=self.settings.plain(), inputs=self.used(inputs))
