"""The module of encoders that misbehave is admitted by name, as a user's own would be."""

from collections.abc import Iterator

import pytest

from vlmatch.objects import admitted


@pytest.fixture(autouse=True)
def admitted_encoders() -> Iterator[None]:
    """Let a yaml name the classes of `misbehaving`."""
    with admitted("misbehaving."):
        yield
