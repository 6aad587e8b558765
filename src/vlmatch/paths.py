"""Where things lie: the checkout (or the working folder of an installed wheel), its conf, data, cache and outputs."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = PACKAGE.parents[1]


def in_checkout() -> bool:
    """Whether this package runs from a source checkout rather than from an installed wheel."""
    return (_CHECKOUT / "src" / "run.py").is_file() and (_CHECKOUT / "conf").is_dir()


def root() -> Path:
    """The folder that data, cache and outputs lie in: the checkout's root, else the working folder."""
    return _CHECKOUT if in_checkout() else Path.cwd()


def conf() -> Path:
    """The Hydra configuration: the checkout's `conf/`, else the copy inside the wheel."""
    return _CHECKOUT / "conf" if in_checkout() else PACKAGE / "conf"


def cache() -> Path:
    """Downloads and computed caches; the environment variable VLMATCH_CACHE moves them to another disk."""
    return Path(os.environ.get("VLMATCH_CACHE") or root() / "cache").expanduser().absolute()


def truth() -> Path:
    """The published results of others: the checkout's `truth/`, else the copy inside the wheel."""
    return _CHECKOUT / "truth" if in_checkout() else PACKAGE / "truth"


def results() -> Path:
    """The results of finished trainings: the checkout's `results/`, else the copy beside the wheel's published ones."""
    return _CHECKOUT / "results" if in_checkout() else truth() / "results"
