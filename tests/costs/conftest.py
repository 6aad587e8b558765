"""The header of an encoder that the catalogue does not know."""

from dataclasses import replace

import pytest

from made_rows import header
from vlmatch.embeddings.header import Header


@pytest.fixture
def own_header() -> Header:
    """As an own encoder in Python leaves it: no size, no licence."""
    none = {"name": "none stated", "source": "", "how": "none stated"}
    return replace(header("encoder", "mine"), n_parameters=None, licence=none)
