"""Settings of each task: the keys of `task`."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

from vlmatch.settings.buildable import EncoderSettings
from vlmatch.settings.node import Count, Node, Place, of_types


class TaskSettings(Node):
    """The keys of every task; `_target_` is its function."""

    target: str = Field(alias="_target_")


class AnyTask(TaskSettings):
    """A task whose own keys are not checked, such as the task of a sweep's jobs before they begin."""

    model_config = ConfigDict(extra="allow")


class EmbedTask(TaskSettings):
    """side: which side is embedded. record: the file that says what was embedded, with its SHA-256."""

    side: Literal["encoder", "llm", "both"]
    record: Place | None


class FetchTask(TaskSettings):
    """what: the probe's data, or the sources of the split."""

    what: Literal["probe", "split"]


class VerifyTask(FetchTask):
    """ok: the file that is written once the data are right."""

    ok: Place


class CheckTask(TaskSettings):
    """compare: items of the probe on which bfloat16 and single precision are compared."""

    compare: int = Field(ge=0)


class UiTask(TaskSettings):
    """port: of this machine, at which MLflow's page is served."""

    port: int = Field(ge=1, le=65535)


class RunsTask(TaskSettings):
    """runs: the folder that holds the folder of each training."""

    runs: Place


class EvaluateTask(RunsTask):
    """apart: the folder that gets the results, each at the path of its run; None: they go into the runs' folders."""

    apart: Place | None


class TrainTask(RunsTask):
    """measure: whether a finished training is measured.

    skip_collected: whether a training is left out if its result is in the folder `results`. blind: the encoder of the
    blind VLM, which is trained first; null: none is trained.
    """

    measure: bool
    skip_collected: bool = False
    blind: EncoderSettings | None = None


class CollectTask(RunsTask):
    """replace: whether a result takes the place of one that differs."""

    replace: bool


class ExportTask(TaskSettings):
    """run: the folder of a trained VLM. to: the new folder."""

    run: Place
    to: Place


class PublicTask(TaskSettings):
    """run: the folder of a trained VLM. tasks: those of lmms-eval. limit: items per task. to: the folder of results.

    max_new_tokens: of an answer, if the task doesn't say. template: how questions are written, if the recipe
    doesn't say. own_tasks: a folder of yamls; if given, tasks are taken only from it.
    """

    run: Place | None
    tasks: Annotated[str | list[str], of_types("a list of tasks", str, list, items=str)]
    limit: int | None
    batch_size: Count
    max_new_tokens: Count
    template: str | None
    own_tasks: Place | None
    to: Place

    @property
    def names(self) -> Sequence[str]:
        """The tasks as a list."""
        return [self.tasks] if isinstance(self.tasks, str) else self.tasks


class ImportTask(TaskSettings):
    """file: result files of lmms-eval, or a folder of them. The others say which VLM the results belong to."""

    file: Annotated[
        str | list[str] | None, of_types("a file, a folder or a list of files", str, list, type(None), items=str)
    ]
    encoder: str | None
    llm: str | None
    data: str | None
    recipe: str | None
    version: int | None
    seed: int | None
    control: bool | None


def _layers(value: Any) -> Any:
    if value in ("spread", "all") or (isinstance(value, list) and all(type(each) is int for each in value)):
        return value
    raise PydanticCustomError("wanted", "spread, all or a list of layers such as [-1,-2]")


Layers = Annotated[Literal["spread", "all"] | list[int], PlainValidator(_layers)]


class LayersTask(TaskSettings):
    """encoder_layers, llm_layers: 'spread', 'all' or a list. encoder_poolings, llm_poolings: how each layer is pooled.

    centring: from which sides the mean is subtracted. scores: their names. table, page: the files that are written.
    """

    encoder_layers: Layers
    encoder_poolings: Sequence[str] = Field(min_length=1)
    llm_layers: Layers
    llm_poolings: Sequence[str] = Field(min_length=1)
    centring: Sequence[Literal["none", "images", "captions", "both"]] = Field(min_length=1)
    scores: Sequence[str] = Field(min_length=1)
    table: Place | None
    page: Place | None
