"""vlmatch: choose the vision encoder before you train the vision-language model.

`score` compares two arrays of embeddings. Everything is imported at first use, so `import vlmatch` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmatch.api.scores import Scores as Scores
    from vlmatch.api.scores import score as score
    from vlmatch.errors import NotHereError as NotHereError
    from vlmatch.errors import VlmatchError as VlmatchError
    from vlmatch.gromov import gromov_wasserstein as gromov_wasserstein

__version__ = "0.1.0"

_MODULES = {
    "NotHereError": "vlmatch.errors",
    "Scores": "vlmatch.api.scores",
    "VlmatchError": "vlmatch.errors",
    "gromov_wasserstein": "vlmatch.gromov",
    "score": "vlmatch.api.scores",
}

__all__ = ["NotHereError", "Scores", "VlmatchError", "gromov_wasserstein", "score"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'vlmatch' has no attribute '{name}'")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
