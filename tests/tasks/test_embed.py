"""The task embed: what it stores, and the record that the pipeline depends on."""

import json
from pathlib import Path

from vlmatch.cli import run_task
from vlmatch.configs import composed
from vlmatch.embeddings.store import FILE, read_file


def test_the_record_changes_with_the_embeddings_alone(picture_folder: Path, tmp_path: Path) -> None:
    def record(*overrides: str) -> str:
        path = tmp_path / "records" / "pixels.json"
        common = [
            "task=embed",
            "task.side=encoder",
            f"task.record={path}",
            "probe=folder",
            f"probe.path={picture_folder}",
        ]
        run_task(composed(*common, f"store={tmp_path}/store", "encoder=pixels16", *overrides))
        return path.read_text()

    first = record()
    assert record() == first, "read from the store"
    (stored,) = (tmp_path / "store").rglob(FILE)
    found = read_file(stored)
    assert found is not None
    (held,) = json.loads(first)
    assert held["model"] == "pixels16"
    assert held["array_sha256"] == found.header.array_sha256
    assert record("encoder.size=8") != first
