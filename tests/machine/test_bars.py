"""The bar of a long piece of work, on a terminal and away from one."""

import io

import pytest
from rich.console import Console

from vlmatch.machine.bars import bar


@pytest.mark.parametrize(("terminal", "shown"), [(True, True), (True, False), (False, True)])
def test_a_bar_counts_on_a_terminal_and_is_silent_elsewhere(terminal: bool, shown: bool) -> None:
    output = io.StringIO()
    with bar(Console(file=output, force_terminal=terminal, width=120), shown=shown) as progress:
        list(progress.track(range(3), total=3, description="cells"))
    assert ("cells" in output.getvalue(), "3/3" in output.getvalue()) == (terminal and shown, terminal and shown)
