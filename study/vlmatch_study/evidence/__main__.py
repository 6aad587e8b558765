"""Freeze the record: `python -m vlmatch_study.evidence` writes record.json, the picture and the tables (6 minutes)."""

from pathlib import Path

from resvg_py import svg_to_bytes

from vlmatch import paths
from vlmatch.evidence.record import FILE, record
from vlmatch.report.record_picture import record_picture
from vlmatch_study.evidence import recording, tables


def main() -> None:
    """Replay both worlds; write the record into the package, its picture and tables into the documents."""
    recording.written(recording.whole_record(lambda world: print(f"replaying {world}", flush=True)), FILE)
    show(paths.root() / "docs")


def show(docs: Path) -> None:
    """Write the picture and the tables of the record in `docs`."""
    record.cache_clear()
    frozen = record()
    picture = record_picture(frozen)
    (docs / "record.svg").write_text(picture + "\n", encoding="utf-8")
    (docs / "record.png").write_bytes(bytes(svg_to_bytes(svg_string=picture, background="white", zoom=2)))
    tables.write(docs / "evidence.md", frozen)


if __name__ == "__main__":
    main()
