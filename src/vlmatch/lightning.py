"""Lightning without its hints, because our settings are deliberate, and with errors of one line."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from vlmatch.errors import VlmatchError, one_line


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Inside the block, Lightning logs only errors and gives no warnings; afterwards all is as it was before.

    The warning filters are restored even if threads change them in the meantime, as our threads that open images do.
    """
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", module="pytorch_lightning|lightning_fabric"
            )  # fabric recommends SLURM's srun
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def trainer_faults() -> Iterator[None]:
    """Turn whatever Lightning raises in the block into VlmatchError: the block makes a trainer from wrong settings."""
    try:
        yield
    except VlmatchError:
        raise
    except Exception as error:
        raise VlmatchError(f"trainer: {one_line(error)}; give other values for its keys, or trainer=cpu") from error
