"""Search: screen encoders by the rule, then train the best of them by successive halving under a budget."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vlmatch import paths
from vlmatch.api import ranking as api
from vlmatch.embeddings.store import Store
from vlmatch.errors import VlmatchError, one_line
from vlmatch.files import require_folder_name
from vlmatch.machine.disk import is_refused
from vlmatch.machine.processes import launched
from vlmatch.objects import task
from vlmatch.probes.shared import probe_of
from vlmatch.ranking import Fed, LlmRanking, Question
from vlmatch.report.table import say, terminal
from vlmatch.search import ledger as ledgers
from vlmatch.search import words
from vlmatch.search.claim import Claim, claimed
from vlmatch.search.command import Command
from vlmatch.search.halving import Ladder, Part, Race, Step
from vlmatch.search.ledger import FILE, Ledger
from vlmatch.search.spending import Spending
from vlmatch.settings.search import SearchSettings
from vlmatch.tasks.rank import wanted
from vlmatch.tasks.search_recipe import ByRecipe
from vlmatch.tracking.connection import TrackingError
from vlmatch.tracking.tracker import Tracker
from vlmatch.tracking.views import SEARCHED

LONGEST = 300  # characters of the reason why a training failed

Train = Callable[[str, float, float, str], tuple[int, float]]
"""Trains one encoder; returns the steps and the value.

Its arguments: the encoder, the fraction of all steps to train up to, the fraction that it has been trained up to
before, and the id of its MLflow run.
"""


@task
def search(settings: SearchSettings) -> None:
    """Race the best encoders by the rule under the budget of `search`, or continue a race that was stopped."""
    keys = settings.search
    if launched():
        raise VlmatchError("task=search starts its trainings itself; start it as one process, without torchrun")
    recipe = None if keys.command is not None else ByRecipe.of(settings)
    about, title = _identity(settings, recipe)
    folder = ledgers.folder_of(keys.folder, about, title)
    with claimed(folder) as claim:
        tracker = Tracker.of(settings.tracking)
        found = ledgers.read(folder)
        ledger, chosen_by = (found, "the search's ledger") if found else _screened(settings, about, recipe)
        if keys.retry or all(part.value is None for part in ledger.parts):
            ledger = ledger.without_failures()
        ladder = Ladder(tuple(map(float, keys.rungs)), keys.keep, keys.continues or recipe is not None)
        race = Race(ledger.arms, ladder, keys.better == "higher")
        spending = Spending(keys.runs, keys.hours, keys.gpu_hours, keys.gpus)
        say(f"search in {folder}", *words.plan_lines(ledger, race, spending, chosen_by), words.resumed_line(ledger))
        with tracker.run(f"search {folder.name}", {"task": "search"}, again=ledger.tracked.get("")) as parent:
            ledger = ledger.with_run("", parent)
            ledger.write(folder)
            tracker.log_config(parent, settings.config)
            address = tracker.save_search(folder.name, parent, higher=race.higher)
            page = f"the race in MLflow: {paths.program()} task=ui, then {address}"
            say(page)
            train = _by_command(settings, folder, claim) if recipe is None else partial(recipe.train, tracker)
            done = _Running(race, spending, folder, tracker, parent, train, settings.llm.name).run(ledger)
            _answer(done, race, tracker, parent, folder)
            say(page)


def _answer(ledger: Ledger, race: Race, tracker: Tracker, parent: str, folder: Path) -> None:
    """Print the race and its answer. Raises VlmatchError if no training gave a value."""
    rung, order = race.standing(ledger.parts)
    if rung < 0:
        first = f"; {ledger.failures[0].encoder}: {ledger.failures[0].failure}" if ledger.failures else ""
        raise VlmatchError(f"no training of the search gave a value{first}; the same command tries again")
    terminal().print(words.race_table(race, ledger.parts))
    say(*words.answer_lines(ledger, race))
    tracker.client.set_tag(parent, "answer", order[0])
    tracker.log_file(parent, folder / FILE)


class _FailedError(Exception):
    """A training failed, so its encoder is out of the race and the search continues; the text says why."""


@contextmanager
def _telling_failures() -> Iterator[None]:
    """Turn errors of a training into _FailedError, except faults of the disk and of MLflow."""
    try:
        yield
    except Exception as error:
        if is_refused(error) or isinstance(error, TrackingError):
            raise
        raise _FailedError(one_line(error if isinstance(error, VlmatchError) else repr(error))[:LONGEST]) from error


@dataclass(frozen=True)
class _Running:
    """A race in progress: its rules, its folder, and what trains its encoders. parent: the search's run in MLflow."""

    race: Race
    spending: Spending
    folder: Path
    tracker: Tracker
    parent: str
    train: Train
    llm: str

    def run(self, ledger: Ledger) -> Ledger:
        """Train until the race is over or the budget is spent; the ledger is written after each part."""
        while step := self._next(ledger.parts):
            ledger = self._trained(ledger, step)
            self.spending.require_one_run(ledger.parts)
        return ledger

    def _next(self, parts: Sequence[Part]) -> Step | None:
        trial = self.spending.needs_trial(parts)
        return self.race.next_step(parts, partial(self.spending.affords, parts), trial=trial)

    def _trained(self, ledger: Ledger, step: Step) -> Ledger:
        """Train one part in the encoder's own run of MLflow; a training that fails becomes a part without a value."""
        tags = {"task": "search arm", "encoder": step.encoder, "llm": self.llm}
        started = time.perf_counter()
        try:
            with self.tracker.run(step.encoder, tags, self.parent, again=ledger.tracked.get(step.encoder)) as run_id:
                ledger = ledger.with_run(step.encoder, run_id)
                ledger.write(self.folder)
                rungs = self.race.ladder.rungs
                earlier = max((part.rung for part in ledger.of(step.encoder)), default=-1)
                reached = rungs[earlier] if earlier >= 0 else 0.0
                with _telling_failures():
                    steps, value = self.train(step.encoder, rungs[step.rung], reached, run_id)
                part = Part(step.encoder, step.rung, steps, value, step.cost, time.perf_counter() - started)
                ledger = self._kept(ledger, part)
                self._log_values(ledger, step.encoder, run_id)
        except _FailedError as failed:
            seconds = time.perf_counter() - started
            ledger = self._kept(ledger, Part(step.encoder, step.rung, None, None, step.cost, seconds, str(failed)))
        return ledger

    def _kept(self, ledger: Ledger, part: Part) -> Ledger:
        ledger = ledger.with_part(part)
        ledger.write(self.folder)
        say(words.part_line(part, self.race.ladder))
        return ledger

    def _log_values(self, ledger: Ledger, encoder: str, run_id: str) -> None:
        """Log the encoder's values by step, also those that a killed process had no time to log."""
        client = self.tracker.client
        there = {metric.step for metric in client.get_metric_history(run_id, SEARCHED)}
        for part in ledger.of(encoder):
            if part.steps not in there:
                client.log_metric(run_id, SEARCHED, part.value, step=part.steps)


def _identity(settings: SearchSettings, recipe: ByRecipe | None) -> tuple[Mapping[str, Any], str]:
    """The settings that identify a search, and its title. The budget is not one: it may change between starts."""
    keys = settings.search
    raced = {"rungs": list(keys.rungs), "keep": keys.keep, "better": keys.better, "arms": keys.arms}
    listed: dict[str, Any] = {"encoders": None if keys.encoders is None else list(keys.encoders)}
    if keys.encoders is None:
        fed = settings.answer.fed if recipe is None else recipe.fed
        listed |= {"selection": settings.selection, "fed": fed, "pool": settings.pool}
        listed |= {"probe": settings.probe.plain(), "budget": settings.budget.plain()}
    if recipe is not None:
        return {**raced, **listed, **recipe.about}, recipe.title
    own = {"command": keys.command, "steps": keys.steps, "value_file": keys.value_file, "continues": keys.continues}
    return {**raced, **listed, **own, "llm": settings.llm.name}, "command"


def _screened(settings: SearchSettings, about: Mapping[str, Any], recipe: ByRecipe | None) -> tuple[Ledger, str]:
    """A new ledger with the candidates in order and those that race; and what ordered them, in words.

    Raises VlmatchError if there is nothing to train.
    """
    keys = settings.search
    if keys.encoders is not None:
        for name in keys.encoders:
            require_folder_name("search.encoders", name)
        return Ledger(about, tuple(keys.encoders), tuple(keys.encoders)[: keys.arms]), "search.encoders"
    ranked = _ranked(settings, settings.answer.fed if recipe is None else recipe.fed)
    candidates = tuple(ranked.budget.inside)
    if keys.arms is None and ranked.shortlist is None:
        raise VlmatchError(
            f"search.arms=null takes the shortlist, but there is none, because {ranked.refusal}; give search.arms=8 "
            "for the first 8 candidates, or name them: search.encoders=[a,b]"
        )
    listed = candidates[: keys.arms] if ranked.shortlist is None or keys.arms else ranked.shortlist.encoders
    if not listed:
        raise VlmatchError("search.encoders=null: no candidate is left to train; give others: search.encoders=[a,b]")
    if recipe is not None:
        recipe.require_known(listed)
    return Ledger(about, candidates, listed), ranked.rule


def _ranked(settings: SearchSettings, fed: Fed) -> LlmRanking:
    """The stored encoders in the order of the rule. Raises VlmatchError if the store has none for this LLM."""
    pool = "store" if settings.pool == "auto" else settings.pool
    ranking = api.ranked_store(
        probe_of(settings.probe.plain()),
        Store(settings.store),
        settings.score,
        replace(Question.of(settings), against=None, fed=fed),
        settings.costs,
        lambda header: wanted(settings, pool, header),
    )
    found = [llm for each in ranking.rankings for llm in each.llms if llm.llm == settings.llm.name]
    if not found:
        raise VlmatchError(
            f"llm={settings.llm.name}: the store has no captions embedded by it, which screening needs; embed them by "
            "task=rank with the same llm and multirun, or name the encoders to train: search.encoders=[a,b]"
        )
    return found[0]


def _by_command(settings: SearchSettings, folder: Path, claim: Claim) -> Train:
    keys = settings.search
    assert keys.command is not None  # noqa: S101 - for mypy
    assert keys.steps is not None  # noqa: S101 - for mypy
    command = Command(keys.command, keys.steps, keys.value_file, settings.llm.name, folder, claim)
    return lambda encoder, fraction, earlier, run_id: command.train(encoder, fraction, earlier)
