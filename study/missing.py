"""Say which stages `evaluate` of training/dvc.yaml have no result: names come and go by standard input and output.

`dvc stage list training/dvc.yaml --name-only | python training/missing.py [key=value ...]`. A result counts if it is of
the recipe and the benchmarks as they are now, by name and version.
"""

import re
import sys
from pathlib import Path

from vlmatch.configs import composed
from vlmatch.results import read

STAGE = re.compile(r".*:evaluate@(?P<seed>[0-9]+)-(?P<data>[^-]+)-(?P<llm>.+)-(?P<encoder>[^-]+)")


def main() -> None:
    """Filter the names."""
    config = composed("recipe=embedded", *sys.argv[1:])
    recipe, suite = [(part.name, part.version) for part in (config.recipe, config.benchmark)]
    done = {
        (str(result.seed), result.data, result.llm, result.encoder)
        for result in read(Path(config.results))
        if (result.recipe.name, result.recipe.version) == recipe and result.suite.is_of(*suite)
    }
    for name in map(str.strip, sys.stdin):
        stage = STAGE.fullmatch(name)
        if stage and stage.group("seed", "data", "llm", "encoder") not in done:
            print(name)


if __name__ == "__main__":
    main()
