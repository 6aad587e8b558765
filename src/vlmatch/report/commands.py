"""The commands that compute a ranking again."""

import shlex
from collections.abc import Sequence

from vlmatch import paths
from vlmatch.ranking import Ranking


def as_given(overrides: Sequence[str], *, sweep: bool) -> str:
    """The command line of these overrides, quoted for a shell. sweep: whether it runs a job for each choice."""
    return " ".join([paths.program(), *map(shlex.quote, overrides), *(["multirun"] if sweep else [])])


def by_name(rankings: Sequence[Ranking]) -> list[str]:
    """For each ranking a line of Python with its encoders, LLMs and question; own models appear by their names."""
    return [_call(ranking) for ranking in rankings]


def _call(ranking: Ranking) -> str:
    question, probe = ranking.question, ranking.probe.rpartition("-")[0] or ranking.probe
    encoders = sorted({each.row.encoder for llm in ranking.llms for each in llm.encoders})
    arguments = [repr(probe), repr(encoders), repr([llm.llm for llm in ranking.llms])]
    arguments += [f"selection={question.selection!r}", f"fed={question.fed!r}"]
    arguments += [f"against={question.against!r}"] if question.against else []
    return f"vlmatch.rank({', '.join(arguments)})  # {ranking.n_pairs} pairs, {ranking.probe}"
