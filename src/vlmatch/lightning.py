"""Lightning without its hints, which are meant as they are here, and with errors of one line."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from vlmatch.errors import VlmatchError, one_line


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Inside the block, Lightning logs errors alone and warns of nothing; afterwards all is as it was before.

    The warnings filters are restored even where threads have changed them meanwhile, as Pillow's callers do.
    """
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", module="pytorch_lightning|lightning_fabric"
            )  # fabric hints at SLURM's srun
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def trainer_faults() -> Iterator[None]:
    """Turn whatever Lightning raises in the block, which makes a trainer, into VlmatchError: its settings are wrong."""
    try:
        yield
    except VlmatchError:
        raise
    except Exception as error:
        raise VlmatchError(f"trainer: {one_line(error)}; give other values for its keys, or trainer=cpu") from error
