"""The ledger of a search: a file that this version can't read is refused."""

import json
from pathlib import Path

import pytest

from vlmatch.errors import VlmatchError
from vlmatch.search import ledger as ledgers


def test_a_ledger_of_a_later_format_is_not_read_as_one_of_today(tmp_path: Path) -> None:
    ledgers.Ledger({}, ("a", "b"), ("a",)).write(tmp_path)
    path = tmp_path / "ledger.json"
    known = ledgers.read(tmp_path)
    assert known is not None
    later = {**json.loads(path.read_text()), "format": 2}
    for written in (later, {"format": 2, "arms": 5}):
        path.write_text(json.dumps(written))
        with pytest.raises(VlmatchError, match=r"ledger\.json' has format=2, .* reads format 1; use the version"):
            ledgers.read(tmp_path)
