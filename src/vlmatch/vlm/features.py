"""Features of the split's pictures by a frozen encoder, from the store or computed once for all trainings."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlmatch.embeddings.embed import embed
from vlmatch.embeddings.header import Header
from vlmatch.embeddings.store import Store
from vlmatch.probes.items import Item
from vlmatch.probes.shares import probe_set_of


def cached_features(
    items: Sequence[Item],
    encoder: Mapping[str, Any],
    store: Store,
    trainer: Mapping[str, Any],
) -> tuple[Tensor, Header]:
    """Features of all items of one share by the encoder of this yaml, (n, t, d), in their order, and how they came.

    t is 1, or K x K with `feature: gridK`.
    """
    (share,) = {item.share for item in items}
    probe = probe_set_of(items, share, drop_duplicates=False)
    embeddings, _ = embed("encoder", encoder, probe, store, trainer)
    rows = torch.from_numpy(embeddings.array).float()
    feature = str(encoder.get("feature", "paper"))
    cells = int(feature[4:]) ** 2 if feature.startswith("grid") else 1
    return rows.reshape(len(rows), cells, -1), embeddings.header
