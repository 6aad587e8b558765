"""Write docs/findings.md anew from committed results: `python -m vlmatch_study.findings` (a minute, no training).

It also writes the runs behind each section as CSV files (study/findings), and the page
outputs/evidence/findings/findings.html.
"""

from collections.abc import Sequence
from pathlib import Path

from vlmatch import paths
from vlmatch_study.findings import confound, dtypes, new_members, page, repeated, runs, stronger_truth, tokens
from vlmatch_study.findings.block import Block
from vlmatch_study.findings.section import Made, of_blocks
from vlmatch_study.marked import replaced

MODULE = "vlmatch_study.findings"
SECTIONS: dict[int, Made] = {
    0: lambda blocks: stronger_truth.section(blocks[0]),
    1: lambda blocks: confound.section(blocks[0]),
    2: lambda blocks: tokens.section(blocks[0]),
    3: lambda blocks: new_members.section(blocks[0]),
    4: repeated.section,
}
"""By number, what makes a section from its blocks."""


def main() -> None:
    """Replace the generated parts of the document; write the runs of each section, and the page."""
    root = paths.root()
    document = root / "docs" / "findings.md"
    text = written(document, root)
    document.write_text(text, encoding="utf-8")
    for number, blocks in blocks_of(root).items():
        runs.write(
            root / "study" / "findings" / f"block{number}.csv", [c for block in blocks for c in block.comparisons]
        )
    page.write(root / "outputs" / "evidence" / "findings" / "findings.html", text)


def written(document: Path, root: Path) -> str:
    """The document with its generated parts made from the results below `root`."""
    return replaced(document.read_text(encoding="utf-8"), parts(root), MODULE)


def parts(root: Path) -> dict[str, str]:
    """The generated part of every section by the name that its mark has."""
    found = {}
    for number, blocks in blocks_of(root).items():
        made = SECTIONS[number]
        found[f"block {number}"] = dtypes.with_dtypes(of_blocks(blocks, made), blocks, made).text
    return found


def blocks_of(root: Path) -> dict[int, Sequence[Block]]:
    """The blocks that each section is about."""
    alone = {number: [Block.of(number, root)] for number in (1, 2, 3)}
    return {
        0: [Block(0, stronger_truth.RECIPES, root)],
        **alone,
        4: [Block.of(4, root), Block.of("4_others", root)],
    }


if __name__ == "__main__":
    main()
