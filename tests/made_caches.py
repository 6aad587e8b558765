"""The type of the fixtures that put files into a test's own caches."""

from collections.abc import Callable
from pathlib import Path

Put = Callable[..., Path]
