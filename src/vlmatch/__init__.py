"""vlmatch: choose the vision encoder before you train the vision-language model.

`score` compares two arrays of embeddings, `embed` makes such arrays, `rank` ranks a pool of encoders. Everything is
imported at first use, so `import vlmatch` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmatch.api.embedding import embed as embed
    from vlmatch.api.evidence import evidence_of as evidence_of
    from vlmatch.api.models import own_encoder as own_encoder
    from vlmatch.api.models import own_llm as own_llm
    from vlmatch.api.models import precomputed as precomputed
    from vlmatch.api.probes import probe as probe
    from vlmatch.api.ranking import rank as rank
    from vlmatch.api.ranking import rank_stored as rank_stored
    from vlmatch.api.scores import Scores as Scores
    from vlmatch.api.scores import score as score
    from vlmatch.api.settings import encoder as encoder
    from vlmatch.api.settings import llm as llm
    from vlmatch.costs.budget import Budget as Budget
    from vlmatch.embeddings.store import Embeddings as Embeddings
    from vlmatch.encoders.spec_sheet import SpecSheet as SpecSheet
    from vlmatch.errors import NotHereError as NotHereError
    from vlmatch.errors import VlmatchError as VlmatchError
    from vlmatch.gromov import gromov_wasserstein as gromov_wasserstein
    from vlmatch.probes.pairs import ProbeSet as ProbeSet
    from vlmatch.report.answer import PoolRanking as PoolRanking

__version__ = "0.2.0"

_MODULES = {
    "Budget": "vlmatch.costs.budget",
    "Embeddings": "vlmatch.embeddings.store",
    "NotHereError": "vlmatch.errors",
    "PoolRanking": "vlmatch.report.answer",
    "ProbeSet": "vlmatch.probes.pairs",
    "Scores": "vlmatch.api.scores",
    "SpecSheet": "vlmatch.encoders.spec_sheet",
    "VlmatchError": "vlmatch.errors",
    "embed": "vlmatch.api.embedding",
    "encoder": "vlmatch.api.settings",
    "evidence_of": "vlmatch.api.evidence",
    "gromov_wasserstein": "vlmatch.gromov",
    "llm": "vlmatch.api.settings",
    "own_encoder": "vlmatch.api.models",
    "own_llm": "vlmatch.api.models",
    "precomputed": "vlmatch.api.models",
    "probe": "vlmatch.api.probes",
    "rank": "vlmatch.api.ranking",
    "rank_stored": "vlmatch.api.ranking",
    "score": "vlmatch.api.scores",
}

__all__ = [
    "Budget",
    "Embeddings",
    "NotHereError",
    "PoolRanking",
    "ProbeSet",
    "Scores",
    "SpecSheet",
    "VlmatchError",
    "embed",
    "encoder",
    "evidence_of",
    "gromov_wasserstein",
    "llm",
    "own_encoder",
    "own_llm",
    "precomputed",
    "probe",
    "rank",
    "rank_stored",
    "score",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'vlmatch' has no attribute '{name}'")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
