"""Print block 6's section of docs/findings.md: `python -m vlmatch_study.findings.domain_table`."""

from vlmatch import paths
from vlmatch_study.blocks.block import Block
from vlmatch_study.findings.other_domain import section
from vlmatch_study.findings.section import of_blocks


def main() -> None:
    """Print the answer and the tables that the committed results give."""
    print(of_blocks([Block.of(6, paths.root())], lambda blocks: section(blocks[0])).text)


if __name__ == "__main__":
    main()
