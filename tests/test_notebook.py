"""The tour runs from top to bottom, and is stored without outputs."""

import nbformat
import pytest
from nbclient import NotebookClient

from vlmatch import paths

TOUR = paths.root() / "notebooks" / "tour.ipynb"


@pytest.mark.slow
def test_the_tour_runs_from_top_to_bottom() -> None:
    notebook = nbformat.read(TOUR, as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": TOUR.parent}}
    ).execute()
    printed = "".join(str(output) for cell in notebook.cells for output in cell.get("outputs", []))
    for part in ("efficientnet_lite0", "mean_colour", "colours", "smollm2", "MutualNN"):
        assert part in printed


def test_the_tour_is_stored_without_outputs() -> None:
    cells = [cell for cell in nbformat.read(TOUR, as_version=4).cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
