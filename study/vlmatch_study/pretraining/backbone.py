"""The frozen backbone under a head: a check of its licence, and its features from the store."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlmatch.embeddings.embed import embed
from vlmatch.embeddings.store import Store
from vlmatch.errors import VlmatchError
from vlmatch.packages.licences import licence_of
from vlmatch.probes.items import Item
from vlmatch.probes.shares import probe_set_of
from vlmatch.settings.buildable import EncoderSettings
from vlmatch.settings.work import TrainerSettings

PERMISSIVE = ("Apache-2.0", "MIT", "BSD", "BSD-2-Clause", "BSD-3-Clause")


def backbone_features(
    items: Sequence[Item], backbone: EncoderSettings, store: Store, trainer: TrainerSettings
) -> Tensor:
    """Features (n, d) of the items by this backbone. They are computed once for each source, and stored for all heads.

    Raises VlmatchError if the backbone's licence is not permissive, because weights of heads are published.
    """
    licence = licence_of(backbone.plain())
    if not set(licence.name.split(" AND ")) <= set(PERMISSIVE):
        raise VlmatchError(
            f"encoder '{backbone.name}' has the licence '{licence.name}'; a backbone of a head must have "
            f"one of {', '.join(PERMISSIVE)}"
        )
    rows: dict[str, Tensor] = {}
    for source in sorted({item.source for item in items}):
        of_source = [item for item in items if item.source == source]
        probe = probe_set_of(of_source, f"training_{source}", drop_duplicates=False)
        embeddings, _ = embed(backbone, probe, store, trainer)
        rows |= zip((pair.id for pair in probe.pairs), torch.from_numpy(embeddings.array), strict=True)
    return torch.stack([rows[item.id] for item in items])
