"""Rows with chosen scores, for the tests of ranking and report."""

from collections.abc import Iterable

from vlmatch.costs.candidate import CandidateCost
from vlmatch.embeddings.header import EmbeddingSpec, Header
from vlmatch.encoders.catalogue import catalogue
from vlmatch.ranking import Question, Ranking, rank_rows
from vlmatch.scores.rows import Row
from vlmatch.scores.scored import Scored


def header(
    kind: str,
    model: str,
    *,
    control: bool = False,
    rule: str = "cls",
    probe: str = "p-0",
    shape: tuple[int, ...] = (10, 4),
) -> Header:
    spec = EmbeddingSpec(kind, model, {}, 1, probe, "f" * 64, shape[0], "32-true")
    licence = {"name": "MIT", "source": "", "how": "catalogue"}
    size = catalogue()[model].image_parameters if model in catalogue() else 1_000_000
    return Header(spec, spec.fingerprint, shape[1], rule, control, size, None, {}, licence, "0" * 64)


def row(
    encoder: str, llm: str = "llm", *, control: bool = False, rule: str = "cls", probe: str = "p-0", **scores: float
) -> Row:
    """A row of `gw` (lower is better, not paired) and any others (higher is better, paired)."""
    scored = {
        name: Scored(
            value,
            {"gw_relative": value, "lower_bound": 0.9 * value} if name == "gw" else {},
            name.upper(),
            name != "gw",
            ("images", "captions") if name == "gw" else ("images", "captions", "pairing"),
            1,
            {},
        )
        for name, value in scores.items()
    }
    image = header("encoder", encoder, control=control, rule=rule, probe=probe)
    return Row(image, header("llm", llm, probe=probe), scored)


QUESTION = Question(selection="gw")


def ranked(rows: Iterable[Row], question: Question = QUESTION) -> list[Ranking]:
    """The rows ranked, with nothing known of what encoders cost."""
    rows = list(rows)
    return rank_rows(rows, question, {row.encoder: CandidateCost(row.encoder) for row in rows})
