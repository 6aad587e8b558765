"""What the tests of the tasks that train and measure share: a tiny LLM, and a split of drawn pictures."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import made_vlms
from vlmatch.objects import admitted


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a tiny LLM and a place for drawings; configs may name the split that is made of them."""
    folder = tmp_path_factory.mktemp("home")
    made_vlms.tiny_llm(folder / "llm")
    (folder / "drawn").mkdir()
    with admitted("vlm.made_split"):
        yield folder
