"""Features of the split's pictures by a frozen encoder: from the store, or computed once for all trainings."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlmatch.embeddings.embed import embed
from vlmatch.embeddings.header import Header
from vlmatch.embeddings.store import Store
from vlmatch.probes.items import Item
from vlmatch.probes.shares import probe_set_of
from vlmatch.settings.buildable import EncoderSettings
from vlmatch.settings.work import TrainerSettings


def cached_features(
    items: Sequence[Item],
    encoder: EncoderSettings,
    store: Store,
    trainer: TrainerSettings,
) -> tuple[Tensor, Header]:
    """The encoder's features of n items of one share, (n, t, d), in their order, and the header of their embeddings.

    t is 1, or K x K with `encoder.feature=gridK`.
    """
    (share,) = {item.share for item in items}
    probe = probe_set_of(items, share, drop_duplicates=False)
    embeddings, _ = embed(encoder, probe, store, trainer)
    rows = torch.from_numpy(embeddings.array).float()
    cells = int(encoder.feature[4:]) ** 2 if encoder.feature.startswith("grid") else 1
    return rows.reshape(len(rows), cells, -1), embeddings.header
