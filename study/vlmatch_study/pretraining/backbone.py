"""The frozen backbone under a head: whether a head over it may be given away, and its features from the store."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlmatch.embeddings.embed import embed
from vlmatch.embeddings.store import Store
from vlmatch.errors import VlmatchError
from vlmatch.packages.licences import licence_of
from vlmatch.probes.items import Item
from vlmatch.probes.shares import probe_set_of

PERMISSIVE = ("Apache-2.0", "MIT", "BSD", "BSD-2-Clause", "BSD-3-Clause")


def backbone_features(
    items: Sequence[Item], backbone: Mapping[str, Any], store: Store, trainer: Mapping[str, Any]
) -> Tensor:
    """Features of the items by the backbone of this yaml, (n, d); computed once a source, for all heads over it.

    Raises VlmatchError where the backbone's licence is not a permissive one.
    """
    licence = licence_of(backbone)
    if not set(licence.name.split(" AND ")) <= set(PERMISSIVE):
        raise VlmatchError(
            f"encoder '{backbone['name']}' has the licence '{licence.name}'; a head that is committed is trained only "
            f"over {', '.join(PERMISSIVE)}"
        )
    rows: dict[str, Tensor] = {}
    for source in sorted({item.source for item in items}):
        of_source = [item for item in items if item.source == source]
        probe = probe_set_of(of_source, f"training_{source}", drop_duplicates=False)
        embeddings, _ = embed("encoder", backbone, probe, store, trainer)
        rows |= zip((pair.id for pair in probe.pairs), torch.from_numpy(embeddings.array), strict=True)
    return torch.stack([rows[item.id] for item in items])
