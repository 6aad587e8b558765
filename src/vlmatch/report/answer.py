"""The answer: a ranked pool, compared with the truth, as one value to be printed, tabulated and reported."""

import html
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from vlmatch.costs.candidate import CandidateCost, costs_of
from vlmatch.embeddings.embed import Cost
from vlmatch.embeddings.measured import read_measured
from vlmatch.embeddings.store import Store
from vlmatch.evidence.definitions import LATEST
from vlmatch.evidence.truths import comparisons_in
from vlmatch.files import write_text
from vlmatch.jobs import DAMAGED, PairStatus
from vlmatch.machine.waiting import waiting
from vlmatch.probes.pairs import ProbeSet
from vlmatch.ranking import LlmRanking, Question, Ranking, rank_rows
from vlmatch.report.commands import by_name
from vlmatch.report.evidence import RankingEvidence, ranking_evidence, terminal_line
from vlmatch.report.first_screen import first_screen
from vlmatch.report.html import rendered_page
from vlmatch.report.markdown import write_markdown
from vlmatch.report.own import OwnEvidence
from vlmatch.report.pairs import Health, ReadEmbeddings, none_kept, pool_health, values_by_label
from vlmatch.report.paper import paper_table
from vlmatch.report.spreadsheet import frame, write_table
from vlmatch.report.table import MINIMUM_WIDTH, answer_lines, health_lines, label_table, number, say, show, terminal
from vlmatch.scores.rows import Row, damaged_rows, stored_rows
from vlmatch.settings.budget import CostSettings
from vlmatch.settings.buildable import ObjectSettings
from vlmatch.settings.selection import PAPER_RULE

if TYPE_CHECKING:
    import pandas as pd

Group = tuple[str, str, str]


def _damaged(store: Store, probe: str) -> Iterator[PairStatus]:
    """What a ranking of the store lacks because a file is damaged."""
    for path in store.damaged(probe):
        yield PairStatus(path.parent.parent.name, "all", DAMAGED, f"{path}; remove its folder and embed again")
    for path in damaged_rows(store, probe):
        message = f"{path} is not as it was written; task=rank pool=store computes these scores again"
        encoder, _, llm = path.stem.partition("--")
        yield PairStatus(encoder, llm or "all", DAMAGED, message)


@dataclass(frozen=True)
class PoolRanking:
    """The encoders of a pool ranked for each LLM, with the pick and the warnings about it.

    rankings: one for each probe and pair of embedding recipes. failures: pairs that could not be scored, each with the
    reason. results: folders of finished trainings, which the report compares with the scores. embeddings: reads the
    embeddings that a report draws. costs: by the fingerprint of embeddings, what they took. truth: the version of the
    truth (`evidence.definitions`). probe: its pictures and labels, which the report shows; None: it shows none.
    command: the command line that asked; None: there was none. own: the scores against a truth of the user's.
    """

    rankings: tuple[Ranking, ...]
    failures: tuple[PairStatus, ...] = ()
    results: tuple[Path, ...] = ()
    embeddings: ReadEmbeddings = field(default=none_kept, repr=False)
    costs: Mapping[str, Cost] = field(default_factory=dict, repr=False)
    truth: int = LATEST
    probe: ProbeSet | None = field(default=None, repr=False)
    command: str | None = None
    own: OwnEvidence | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        rows: Sequence[Row],
        question: Question,
        *,
        failures: Sequence[PairStatus] = (),
        results: Sequence[Path] = (),
        embeddings: ReadEmbeddings = none_kept,
        costs: Mapping[str, Cost] | None = None,
        prices: Mapping[str, CandidateCost] | None = None,
        probe: ProbeSet | None = None,
        command: str | None = None,
    ) -> "PoolRanking":
        """Rank `rows` by the rule that `question` names.

        prices: what encoders cost, by name; None: what the catalogue and the embeddings say.
        """
        captions = () if probe is None else probe.captions
        ranked = tuple(rank_rows(rows, question, costs_of(rows) if prices is None else prices, captions))
        return cls(
            rankings=ranked,
            failures=tuple(failures),
            results=tuple(results),
            embeddings=embeddings,
            costs=costs or {},
            probe=probe,
            command=command,
        )

    @classmethod
    def in_store(
        cls,
        store: Store,
        groups: Collection[Group],
        scores: Mapping[str, ObjectSettings],
        question: Question,
        *,
        failures: Sequence[PairStatus] = (),
        results: Sequence[Path] = (),
        stated: Mapping[str, CostSettings] | None = None,
        probe: ProbeSet | None = None,
        command: str | None = None,
    ) -> "PoolRanking":
        """Rank the stored rows of these groups that hold all of `scores` (name -> settings).

        stated: what encoders cost by the user's word, by name. probe: scores of other labels than its own don't count.
        """
        keys = sorted({group[0] for group in groups})
        labels = {} if probe is None else {probe.key: probe.labels}
        rows = [row for key in keys for row in stored_rows(store, key, scores, labels.get(key)) if row.group in groups]
        return cls.of(
            rows,
            question,
            failures=[*failures, *(each for key in keys for each in _damaged(store, key))],
            results=results,
            embeddings=store.read_ranked,
            prices=costs_of(rows, partial(read_measured, store), stated),
            probe=probe,
            command=command,
        )

    @property
    def rows(self) -> tuple[Row, ...]:
        """The scores of every encoder and LLM, best first within an LLM."""
        return tuple(ranked.row for llm in self._llms for ranked in llm.encoders)

    @property
    def picks(self) -> dict[str, str | None]:
        """By LLM, the first encoder of the shortlist; None without one. The first ranking of an LLM counts."""
        found: dict[str, str | None] = {}
        for llm in self._llms:
            found.setdefault(llm.llm, llm.pick)
        return found

    @property
    def shortlists(self) -> dict[str, tuple[str, ...]]:
        """By LLM, the encoders to train, best first; empty where there is no recommendation."""
        found: dict[str, tuple[str, ...]] = {}
        for llm in self._llms:
            found.setdefault(llm.llm, llm.shortlist.encoders if llm.shortlist else ())
        return found

    def to_frame(self) -> "pd.DataFrame":
        """One row for each encoder and LLM: what is known of the encoder, every score, and its rank by each."""
        return frame(self.rankings)

    def to_csv(self, path: str | Path) -> Path:
        """Write the rows of `to_frame` as CSV; equal rankings give equal bytes. Returns the path."""
        return write_table(Path(path), self.rankings)

    def report(self, path: str | Path) -> Path:
        """Write the report, one self-contained HTML page, and return its path; beside it, the same as Markdown (.md).

        Raises VlmatchError on a damaged result of a training.
        """
        page = rendered_page(
            self.rankings,
            embeddings=self.embeddings,
            failures=self.failures,
            evidence=self.evidence,
            probe=self.probe,
            commands=self._commands,
            own=self.own,
            health=self.health,
        )
        path = Path(path)
        write_text(path, page)
        self.to_markdown(path.with_suffix(".md"))
        return path

    def to_markdown(self, path: str | Path) -> Path:
        """Write the answer as Markdown, for a pull request, and return the path."""
        return write_markdown(Path(path), self.rankings, self.failures, self._commands)

    @cached_property
    def evidence(self) -> list[RankingEvidence]:
        """The rankings compared with finished trainings, computed once; VlmatchError on a damaged result."""
        return ranking_evidence(self.rankings, comparisons_in(self.results, self.truth))

    @cached_property
    def health(self) -> list[Health]:
        """The findings on the embeddings of each ranking, computed once."""
        with waiting("the health checks", "they go through all embeddings of this ranking once"):
            return [pool_health(one, self.embeddings, self.probe) for one in self.rankings]

    def show(self, console: Console | None = None, *, full: bool = False) -> None:
        """Print the answer and a short table for each LLM; `full`: the table of every score too."""
        show(self.rankings, self.failures, console, full=full)

    def __str__(self) -> str:
        text = io.StringIO()
        self.show(Console(file=text, width=MINIMUM_WIDTH))
        return text.getvalue().strip("\n")

    def _repr_html_(self) -> str:
        """What a notebook shows: a table for each LLM, with warnings and pick."""
        parts = [_html_table(ranking, llm) for ranking in self.rankings for llm in ranking.llms]
        failed = [f"{failure.encoder} x {failure.llm}: {failure.message}" for failure in self.failures]
        return "\n".join([*parts, *(f"<p>{html.escape(line)}</p>" for line in failed)])

    @property
    def _commands(self) -> list[str]:
        return [*([self.command] if self.command else []), *by_name(self.rankings)]

    @property
    def _llms(self) -> tuple[LlmRanking, ...]:
        return tuple(llm for ranking in self.rankings for llm in ranking.llms)


def answer(
    ranking: PoolRanking,
    *,
    table: str | Path | None = None,
    report: str | Path | None = None,
    full: bool = False,
    by: str | None = None,
) -> Path | None:
    """Print the ranking, and write it to `table` (CSV) and `report` (HTML) where these are given.

    full: the table of every score too. by: 'label' prints the order within each label too. Where GW orders the pool, as
    in the paper, the paper's baselines are printed beside it. Returns the report's path, or None if none was written.
    Raises VlmatchError on a damaged result of a training, after the ranking was printed.
    """
    console = terminal()
    ranking.show(console, full=full)
    if not ranking.rankings:
        return None
    if table is not None:
        ranking.to_csv(table)
    for each in ranking.evidence:
        say(terminal_line(each), console=console)
    if ranking.own is not None:
        ranking.own.show(console)
    for one, checks in zip(ranking.rankings, ranking.health, strict=True):
        for line in health_lines(checks or ()):
            console.print(line)
        for llm in one.llms:
            if one.question.selection == PAPER_RULE:
                console.print(paper_table(llm, ranking.evidence))
            if by == "label":
                console.print(_labels(ranking, llm))
    if report is None:
        return None
    with waiting("the report", f"it is being written to '{report}'"):
        written = ranking.report(report)
    say(f"report: {written}", console=console)
    return written


def _labels(ranking: PoolRanking, llm: LlmRanking) -> Table | str:
    """The order of the candidates within each label, or why there is none."""
    labels = None if ranking.probe is None else ranking.probe.labels
    if labels is None or not any(label is not None for label in labels):
        return "answer.by=label: the pairs have no labels; give them in a column `label`"
    values = values_by_label(llm, ranking.embeddings, labels)
    if values is None:
        return f"answer.by=label: no label has enough pairs with embeddings for {llm.llm}"
    return label_table(values, llm.llm)


def _html_table(ranking: Ranking, llm: LlmRanking) -> str:
    import pandas as pd

    shown = pd.DataFrame(
        [
            {
                "encoder": ranked.row.encoder + (" (control)" if ranked.row.image.control else ""),
                **{
                    ranked.row.scores[name].title: f"{number(ranked.row.scores[name].value)} ({rank})"
                    for name, rank in ranked.ranks.items()
                },
            }
            for ranked in llm.encoders
        ]
    )
    shown.index += 1
    head = f"{ranking.probe}, {ranking.n_pairs} pairs, for {llm.llm}: each score with its rank"
    screen = first_screen(llm, ranking.question)
    lines = "<br>".join(html.escape(line.plain) for line in answer_lines(screen))
    choices = pd.DataFrame(screen.rows, columns=screen.heads)
    others = f"{choices.to_html(index=False)}\n<p>{html.escape(screen.measured)}</p>\n" if screen.choices else ""
    return f"<p>{lines}</p>\n{others}<p><b>{html.escape(head)}</b></p>\n{shown.to_html()}"
