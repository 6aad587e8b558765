"""Print the study's `evaluate` stages that have no result yet.

`dvc stage list study/dvc.yaml --name-only | python study/missing.py [key=value ...]` reads the names from standard
input and prints those without a result. A result counts if its recipe and its benchmark suite have the names and
versions of the configuration, which `key=value` changes.
"""

import re
import sys

from vlmatch import paths
from vlmatch.configs import composed
from vlmatch.results import read
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import TaskSettings

STAGE = re.compile(r".*:evaluate@(?P<seed>[0-9]+)-(?P<data>[^-]+)-(?P<llm>.+)-(?P<encoder>[^-]+)")


def main() -> None:
    """Print the names on standard input whose stage has no result."""
    settings = Settings[TaskSettings].read(composed("recipe=embedded", *sys.argv[1:]))
    recipe, suite = [(part.name, part.version) for part in (settings.recipe, settings.benchmark)]
    done = {
        (str(result.seed), result.data, result.llm, result.encoder)
        for result in read(paths.results(settings.results))
        if (result.recipe.name, result.recipe.version) == recipe and result.suite.is_of(*suite)
    }
    for name in map(str.strip, sys.stdin):
        stage = STAGE.fullmatch(name)
        if stage and stage.group("seed", "data", "llm", "encoder") not in done:
            print(name)


if __name__ == "__main__":
    main()
