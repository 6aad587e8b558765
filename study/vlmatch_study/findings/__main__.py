"""Write docs/findings.md anew from committed results: `python -m vlmatch_study.findings` (a minute, no training)."""

from pathlib import Path

from vlmatch import paths
from vlmatch_study.findings import confound, new_members, repeated, stronger_truth, tokens
from vlmatch_study.findings.block import Block
from vlmatch_study.marked import replaced

MODULE = "vlmatch_study.findings"


def main() -> None:
    """Replace the generated parts of the document."""
    document = paths.root() / "docs" / "findings.md"
    document.write_text(written(document, paths.root()), encoding="utf-8")


def written(document: Path, root: Path) -> str:
    """The document with its generated parts made from the results below `root`."""
    return replaced(document.read_text(encoding="utf-8"), parts(root), MODULE)


def parts(root: Path) -> dict[str, str]:
    """Every generated part by its name."""
    return {
        **stronger_truth.parts(Block(0, stronger_truth.RECIPES, root)),
        **confound.parts(Block.of(1, root)),
        **tokens.parts(Block.of(2, root)),
        **new_members.parts(Block.of(3, root)),
        **repeated.parts([Block.of(4, root), Block.of("4_others", root)]),
    }


if __name__ == "__main__":
    main()
