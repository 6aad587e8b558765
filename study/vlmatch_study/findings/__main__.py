"""Write docs/findings.md from committed results: `python -m vlmatch_study.findings` (a minute, no training).

It also writes tables of docs/scores.md and docs/gromov.md, the runs behind each section as CSV files (study/findings),
and the page outputs/evidence/findings/findings.html.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from vlmatch import paths
from vlmatch_study.blocks.block import Block
from vlmatch_study.findings import (
    confound,
    dtypes,
    every_score,
    from_scratch,
    new_members,
    other_domain,
    other_llm,
    page,
    picture,
    repeated,
    runs,
    stronger_truth,
    tokens,
)
from vlmatch_study.findings.section import Made, of_blocks
from vlmatch_study.findings.trained import trained
from vlmatch_study.marked import replaced
from vlmatch_study.rows import read

MODULE = "vlmatch_study.findings"
SECTIONS: dict[int, Made] = {
    0: lambda blocks: stronger_truth.section(blocks[0]),
    1: lambda blocks: confound.section(blocks[0]),
    2: lambda blocks: tokens.section(blocks[0]),
    3: lambda blocks: new_members.section(blocks[0]),
    4: repeated.section,
    5: lambda blocks: other_llm.section(blocks[0]),
    6: lambda blocks: other_domain.section(blocks[0]),
}
"""The function that makes each section from its blocks, by the section's number."""


def main() -> None:
    """Replace the generated parts of both documents; write the runs of each section, and the page."""
    root = paths.root()
    made = parts(root)
    for document in documents(root):
        document.write_text(replaced(document.read_text(encoding="utf-8"), made, MODULE), encoding="utf-8")
    folder = root / "study" / "findings"
    for number, blocks in blocks_of(root).items():
        runs.write(folder / f"block{number}.csv", [c for block in blocks for c in block.comparisons])
    runs.write(folder / "trained.csv", [each.comparison for each in trained(root)])
    picture.save(drawn(root), root / "docs" / "findings.png")
    text = documents(root)[0].read_text(encoding="utf-8")
    page.write(root / "outputs" / "evidence" / "findings" / "findings.html", text)


def drawn(root: Path) -> Figure:
    """The picture of blocks 1, 2 and 3."""
    first, second, third = (Block.of(number, root) for number in (1, 2, 3))
    encoders = [name for name in first.encoders if confound.split(name)[1] == confound.AS_IT_IS]
    scores = read(third.folder / "scores.csv")
    return picture.draw(first.comparison, encoders, second.comparison, third.comparison, scores)


def documents(root: Path) -> list[Path]:
    """The documents that have generated parts; findings.md first."""
    return [root / "docs" / name for name in ("findings.md", "scores.md", "gromov.md")]


def parts(root: Path) -> dict[str, str]:
    """The generated part of every section, by the name in its mark."""
    found = {name: section.text for name, section in every_score.sections(root).items()}
    found["repeated"] = from_scratch.section(root).text
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
        5: [Block.of(5, root)],
        6: [Block.of(6, root)],
    }


if __name__ == "__main__":
    main()
