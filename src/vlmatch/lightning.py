"""Lightning without its hints: what it prints of devices, workers and checkpoints is meant as it is here."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


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
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            yield
    finally:
        logger.setLevel(level)
