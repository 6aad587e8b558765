"""Where things lie: the checkout (or the working folder of an installed wheel), configs, data, cache and outputs."""

import os
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CONF = "VLMATCH_CONF"  # the environment variable that names further folders of yamls
_CHECKOUT = PACKAGE.parents[1]


def in_checkout() -> bool:
    """Whether this package runs from a source checkout rather than from an installed wheel."""
    return (_CHECKOUT / "src" / "run.py").is_file() and (_CHECKOUT / "conf").is_dir()


def program() -> str:
    """How the command line is called, for commands in messages."""
    return "python src/run.py" if in_checkout() else "vlmatch"


def root() -> Path:
    """The folder with data, cache and outputs: the checkout's root, else the working folder."""
    return _CHECKOUT if in_checkout() else Path.cwd()


def commit() -> str | None:
    """The commit of the checkout that this package runs from, with '+' if files were changed; None without git."""
    if not in_checkout():
        return None
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            cwd=_CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # no git
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def conf() -> Path:
    """The tool's own Hydra configuration: the checkout's `conf/`, else the copy inside the wheel."""
    return _CHECKOUT / "conf" if in_checkout() else PACKAGE / "conf"


def tables() -> Path:
    """The published tables that come with vlmatch."""
    return PACKAGE / "evidence" / "tables"


def conf_folders() -> list[Path]:
    """The folders in which yamls are searched, in order: the first folder that has a yaml wins.

    The tool's own folder comes first, then the folders that the environment variable VLMATCH_CONF names (separated as
    in PATH), then `study/conf` of a checkout.
    """
    named = [Path(each).expanduser().absolute() for each in os.environ.get(CONF, "").split(os.pathsep) if each]
    study = [_CHECKOUT / "study" / "conf"] if in_checkout() else []
    return [conf(), *named, *study]


def cache() -> Path:
    """The folder of downloads and computed caches; the environment variable VLMATCH_CACHE moves it to another disk."""
    return Path(os.environ.get("VLMATCH_CACHE") or root() / "cache").expanduser().absolute()


def results(given: str | Path | None = None) -> Path:
    """Where results of finished trainings are written: `given`, else the default folder.

    The default is `study/results/` in a checkout, and `results/` of the working folder with an installed wheel.
    """
    if given is not None:
        return Path(given)
    return _CHECKOUT / "study" / "results" if in_checkout() else root() / "results"


def result_folders(given: str | Path | None = None) -> list[Path]:
    """The folders with the results that scores are compared with.

    This is the folder `given`, or the default folder. An installed wheel has results of its own: with the default
    folder they are read too, and first.
    """
    if in_checkout() or results(given).absolute() != results().absolute():
        return [results(given)]
    return [PACKAGE / "evidence" / "results", results(given)]
