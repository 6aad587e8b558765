"""Settings of how and where work is done: Lightning's trainer, MLflow, and the files of the answer."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from vlmatch.settings.node import Count, Node, Place, of_types

Precision = Literal[
    "32-true", "16-true", "bf16-true", "64-true", "16-mixed", "bf16-mixed", "transformer-engine",
    "transformer-engine-float16", "64", "32", "16", "bf16", 64, 32, 16,
]  # fmt: skip
"""Lightning's names of number formats."""

Fed = Literal["pooled", "patches"]
"""What a VLM's projector is fed: one pooled feature of an image, or all its patches."""

_DEVICES = "a number of devices, 'auto' or a list of numbers"


def _auto_or_numbers(devices: int | str | list[int]) -> int | str | list[int]:
    """Refuse an empty list, and other texts than 'auto', such as Lightning's "0,1": a list says the same."""
    if devices == [] or (isinstance(devices, str) and devices != "auto"):
        raise PydanticCustomError("wanted", "{wanted}", {"wanted": _DEVICES})
    return devices


class TrainerSettings(Node):
    """Lightning's trainer, and the batches of embedding.

    batch_size: images or captions at once. shard_size: how many a killed run may lose. num_workers: threads that decode
    and preprocess. compile: whether torch.compile is used.
    """

    accelerator: str
    devices: Annotated[
        int | str | list[int], of_types(_DEVICES, int, str, list, items=int), AfterValidator(_auto_or_numbers)
    ]
    strategy: str
    precision: Precision
    batch_size: Count
    shard_size: Count
    num_workers: int = Field(ge=0)
    compile: bool = False
    profiler: str | None = None

    def lightning(self) -> Mapping[str, Any]:
        """The arguments of Lightning's Trainer among them."""
        return self.model_dump(include={"accelerator", "devices", "strategy", "precision", "profiler"})


class TrackingSettings(Node):
    """Where MLflow writes. uri: a server or database; null: the one that the environment names, else `folder`."""

    experiment: str
    folder: Place
    uri: str | None


class AnswerSettings(Node):
    """What the answer is about, and where it is written; null: no file.

    fed: what a VLM's projector will be fed, one pooled feature of an image or all its patches. against: the encoder
    that the user has now. by: 'label' ranks the encoders within each label too. full: whether the terminal shows every
    score. truth: the version of the truth that scores are compared with.
    """

    table: Place | None
    report: Place | None
    fed: Fed
    against: str | None
    by: Literal["label"] | None
    full: bool
    truth: Literal[2, 3]


class StudySettings(Node):
    """The user's own truth, which scores are compared with; null: none.

    truth: a table (encoder, llm, benchmark, score[, seed, recipe]), or result files of lmms-eval or VLMEvalKit. scores:
    a table (encoder[, llm, family], one column for each score); null: the scores in the store. names: a table
    (their_name, encoder[, llm, seed]) that says what the truth's names stand for.
    """

    truth: Place | None = None
    scores: Place | None = None
    names: Place | None = None
