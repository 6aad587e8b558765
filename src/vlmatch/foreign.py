"""Guard calls of a model's or a score's code: whatever it raises becomes one line that names it and what to do."""

import contextlib
from collections.abc import Iterator

from vlmatch.errors import VlmatchError, one_line
from vlmatch.machine.disk import faults_as
from vlmatch.machine.memory import EMBEDDING_ADVICE, is_out_of_memory


@contextlib.contextmanager
def model_faults(kind: str, name: str, doing: str, remedy: str) -> Iterator[None]:
    """Turn any other error that a model's code raises inside the block into a VlmatchError, and keep it as the cause.

    kind, name: 'encoder' or 'llm', and the model's name. doing: what fails, such as 'preparing 'a.png''. remedy: what
    the user can do. Disk errors pass through, because the command line explains them.
    """

    def fault(error: Exception) -> VlmatchError:
        if is_out_of_memory(error):
            return VlmatchError(f"{kind} '{name}': out of memory while {doing}; {EMBEDDING_ADVICE}")
        return VlmatchError(
            f"{kind} '{name}': {doing} failed ({type(error).__name__}: {one_line(error)[:200]}); {remedy}"
        )

    with faults_as(fault):
        yield


@contextlib.contextmanager
def score_faults(title: str) -> Iterator[None]:
    """Turn any other error that a score's code raises inside the block into a VlmatchError, and keep it as the cause.

    Disk and memory errors pass through, because they say nothing about the score.
    """

    def fault(error: Exception) -> VlmatchError:
        if is_out_of_memory(error):
            raise error
        return VlmatchError(
            f"score '{title}': it failed ({type(error).__name__}: {one_line(error)[:200]}); check the embeddings, or "
            "correct the score and raise its version"
        )

    with faults_as(fault):
        yield
