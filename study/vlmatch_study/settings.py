"""Settings of the study's own tasks: task=pretrain with the training of one small encoder, and task=transform."""

from collections.abc import Sequence
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.settings.buildable import EncoderSettings, ObjectSettings
from vlmatch.settings.command import Section, Settings
from vlmatch.settings.node import Count, Name, Node, Place
from vlmatch.settings.tasks import TaskSettings


class PretrainTask(TaskSettings):
    """weights: the folder in which each encoder gets its own folder."""

    weights: Place


class EncoderTraining(Node):
    """How one small encoder is trained.

    sources: the sources of the split to train on. held_out: categories that are not trained on, for measuring.
    parts: the frozen backbone, if any. image_size: side of the pictures in pixels, for an encoder without backbone.
    """

    name: Name
    about: str
    sources: Sequence[str]
    held_out: Sequence[str]
    parts: Sequence[EncoderSettings]
    epochs: Count
    seed: int
    objective: ObjectSettings
    image_size: Count | None = None

    def model_post_init(self, context: Any) -> None:
        """Raises VlmatchError unless exactly one of `image_size` and a backbone is given."""
        if (self.image_size is None) != (len(self.parts) == 1):
            raise VlmatchError(
                f"pretrain.image_size={self.image_size} with {len(self.parts)} pretrain.parts; wanted a size, or one "
                "part (the frozen backbone)"
            )


class PretrainSettings(Settings[PretrainTask]):
    """All settings of `task=pretrain`."""

    pretrain = Section(EncoderTraining)


class TransformTask(TaskSettings):
    """encoders: the encoders whose components are fitted. folder: the folder for one file of each."""

    encoders: Sequence[EncoderSettings]
    folder: Place


class TransformSettings(Settings[TransformTask]):
    """All settings of `task=transform`."""
