"""Check: list the models that are here, how to get the others, and their licences; or try one model on one input."""

from collections.abc import Iterable, Sequence

from hydra.core.hydra_config import HydraConfig
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vlmatch.configs import words
from vlmatch.inventory.models import KINDS, Model, models
from vlmatch.inventory.sizes import size_on_disk, size_to_come
from vlmatch.inventory.tryout import try_model
from vlmatch.objects import task
from vlmatch.packages.availability import CACHED, HERE, HUB, LOGIN, MISSING, PACKAGED, STATUSES, UNNAMED
from vlmatch.packages.leftovers import orphaned_parts, removed
from vlmatch.report.table import terminal
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import CheckTask

PLURALS = {"encoder": "encoders", "llm": "LLMs"}
# The heading over all models of one kind that have this status; it says what to do.
HEADINGS = {
    HERE: "here",
    CACHED: "in the cache of Hugging Face or torch hub",
    PACKAGED: "at first use: pip, or npm's registry, gives the package",
    HUB: "needs the hub, or a place of yours: {key}=/path",
    LOGIN: "needs a login: accept the terms on the model's page, then 'hf auth login'; or {key}=/path",
    MISSING: "missing: the file that its yaml names; task=pretrain makes those trained here",
    UNNAMED: "yours to name: {wanted}",
}
IN_SUMMARY = {
    HERE: "here", CACHED: "in cache", PACKAGED: "at first use", HUB: "from the hub", LOGIN: "by login",
    MISSING: "missing", UNNAMED: "yours to name",
}  # fmt: skip
WIDE = 110  # the number of columns from which there is room for the weights


@task
def check(settings: Settings[CheckTask]) -> None:
    """Try the encoder and the LLM that the command line names; without any, print the table of all models.

    With the table, what interrupted downloads left behind is removed.
    """
    asked = asked_for(words(HydraConfig.get().overrides.task))
    if not asked:
        show(list(models(settings.config)), terminal())
        clear(terminal())
    for kind in asked:
        try_model(settings.encoder if kind == "encoder" else settings.llm, settings, terminal())


def clear(console: Console) -> None:
    """Remove what interrupted downloads left behind, and say so."""
    if parts := orphaned_parts():
        freed, kept = removed(parts)
        said = f"removed {len(parts) - len(kept)} parts of interrupted downloads ({_bytes(freed)})" if freed else ""
        left = f"can't remove {len(kept)} parts of interrupted downloads, such as '{kept[0]}'" if kept else ""
        console.print(Text("; ".join(filter(None, (said, left)))))


def asked_for(overrides: Iterable[str]) -> list[str]:
    """Which of 'encoder' and 'llm' these overrides are about: `encoder=x`, `llm.checkpoint=/path`."""
    keys = {override.lstrip("+~").partition("=")[0].partition(".")[0] for override in overrides}
    return [kind for kind in KINDS if kind in keys]


def show(found: Sequence[Model], console: Console) -> None:
    """Print the models by kind and status, each group under its heading, and sums; needs 80 columns."""
    for kind in KINDS:
        for status in STATUSES:
            group = [each for each in found if each.kind == kind and each.availability.status == status]
            if group:
                console.print(Text(f"\n{PLURALS[kind]}, {_heading(kind, status, group)} ({len(group)})", style="bold"))
                console.print(_table(group, found, console.width >= WIDE))
    for kind in KINDS:
        console.print(Text(summary(kind, [each for each in found if each.kind == kind])))
    console.print(Text(
        "Licences are those that the package's own files state, else those stated upstream. Commerce 'terms': allowed "
        "within limits that the licence sets. Sizes are on disk. To try one model: task=check encoder=NAME or llm=NAME"
    , style="dim"))  # fmt: skip


def summary(kind: str, found: Sequence[Model]) -> str:
    """One line: 'encoders: 15 here (1.2 GB), 6 at first use (0.1 GB), 81 from the hub'."""
    parts = []
    for status in STATUSES:
        group = [each for each in found if each.availability.status == status]
        if group:
            parts.append(f"{len(group)} {IN_SUMMARY[status]}{_total(status, group)}")
    return f"{PLURALS[kind]}: " + ", ".join(parts or ["none"])


def _total(status: str, group: Sequence[Model]) -> str:
    """The size of all these models together, in brackets; what several models share counts once."""
    if status == PACKAGED:
        return f" ({_bytes(size_to_come(tuple({package for each in group for package in each.availability.absent})))})"
    if status in {HERE, CACHED}:
        return f" ({_bytes(size_on_disk(tuple({file for each in group for file in each.availability.files})))})"
    return ""


def _heading(kind: str, status: str, group: Sequence[Model]) -> str:
    wanted = ", ".join(dict.fromkeys(each.availability.weights for each in group))
    key = "encoder.checkpoint" if kind == "encoder" else "llm.repository"
    return HEADINGS[status].format(key=key, wanted=wanted)


def _table(group: Sequence[Model], everything: Sequence[Model], wide: bool) -> Table:
    """The table of one group; its columns are as wide as in the tables of the other groups."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("name", no_wrap=True, min_width=max(len(each.name) for each in everything))
    table.add_column("size", no_wrap=True, justify="right", min_width=len("000 MB"))
    table.add_column("commerce", no_wrap=True)
    table.add_column("licence", min_width=26)
    if wide:
        table.add_column("weights", overflow="fold")
    for each in group:
        weights = [each.availability.weights] if wide else []
        cells = [each.name, _size(each), each.commercial_use, each.licence, *weights]
        table.add_row(*map(Text, cells))
    return table


def _size(model: Model) -> str:
    """The size on disk, or that of the packages to download; '' if only the hub knows it."""
    if model.availability.absent:
        return _bytes(size_to_come(model.availability.absent))
    return _bytes(size_on_disk(model.availability.files)) if model.availability.files else ""


def _bytes(size: int | None) -> str:
    if size is None:
        return "?"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size / 1e6, 0.1):.{0 if size >= 1e7 else 1}f} MB"
