"""Encoders whose weights come from a hub, or from a user's own checkpoint."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from vlmatch.encoders.base import Encoder, EncoderOptions
from vlmatch.encoders.weights import local_path
from vlmatch.packages.availability import Availability


class HubOptions(EncoderOptions, total=False):
    """The options of an encoder from a hub: those of every encoder, and a checkpoint that replaces the hub's weights.

    checkpoint: the path of a local file or folder with the weights; they are used instead of the hub's. entry: the part
    of that checkpoint to use, such as 'model_ema'; null: the only part that fits, see `towers.tower_in`.
    """

    checkpoint: str | None
    entry: str | None


class HubEncoder(Encoder):
    """An encoder whose weights come from a hub, unless `checkpoint` names a local file or folder of them.

    The constructor sets `checkpoint` (a path, or None) and `entry`. A subclass sets `taken`: what it took from a user's
    checkpoint and what it left out, in words. Raises NotHereError if the checkpoint does not exist.
    """

    taken: str = ""

    def __init__(
        self, name: str, *, checkpoint: str | None = None, entry: str | None = None, **options: Unpack[EncoderOptions]
    ) -> None:
        super().__init__(name, **options)
        self.checkpoint: Path | None = None if checkpoint is None else local_path(name, checkpoint)
        self.entry = entry

    @classmethod
    def availability(cls, settings: Mapping[str, Any]) -> Availability:
        """Whether the weights are at the local `checkpoint`, if one is named; else as `hub_availability` says."""
        return super().availability(settings) if settings.get("checkpoint") else cls.hub_availability(settings)

    @classmethod
    @abstractmethod
    def hub_availability(cls, settings: Mapping[str, Any]) -> Availability:
        """Whether the weights that an encoder's plain yaml names are in the library's cache, or only on its hub."""
