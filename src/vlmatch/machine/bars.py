"""The bar that shows the progress of a long piece of work on a terminal."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn


def bar(console: Console, *more: ProgressColumn, shown: bool = True) -> Progress:
    """A bar with the number done, `more` columns and the time left; nothing unless `shown`, or away from a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *more, TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not (shown and console.is_terminal))
