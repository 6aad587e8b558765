"""Replay searches on committed results: `python -m vlmatch_study.search` writes curve.csv, the picture and the table.

`--cka` first measures the similarities of the encoders again, from the embeddings in the store.
"""

import sys
from collections.abc import Sequence

from vlmatch import paths
from vlmatch.embeddings.store import Store
from vlmatch_study.evidence.recording import OURS, THEIRS
from vlmatch_study.evidence.worlds import embedded
from vlmatch_study.marked import replaced
from vlmatch_study.rows import Row, read
from vlmatch_study.search import courses, picture, spending

PROBE = "stamps-1d0c3db0"
MODULE = "vlmatch_study.search"


def main() -> None:
    """Replay both worlds, and write the table of searches and the generated parts of the document."""
    if "--cka" in sys.argv:
        names = embedded().names
        courses.write_similarities(names, courses.measured_similarities(names, Store(paths.cache()), PROBE))
    rows = [
        (world, about.scale, each)
        for world, about in ((courses.ours(), OURS), (courses.theirs(), THEIRS))
        for each in spending.spent(world, about.fed, lambda line: print(line, flush=True))
    ]
    spending.write(spending.CURVE, rows)
    show()


def show() -> None:
    """Write the picture and the table of the document, from the committed table of searches."""
    rows, docs = read(spending.CURVE), paths.root() / "docs"
    picture.draw(rows, docs / "search.png")
    page = docs / "search.md"
    page.write_text(replaced(page.read_text(encoding="utf-8"), tables(rows), MODULE), encoding="utf-8")


def tables(rows: Sequence[Row]) -> dict[str, str]:
    """The tables of the document by their names. rows: of the committed table of searches."""
    return {"rungs": picture.rung_table(courses.ours()), "at a third": picture.at_a_third(rows)}


if __name__ == "__main__":
    main()
