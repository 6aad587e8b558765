"""Features of the split's pictures by a frozen encoder: from the store, or computed once for all trainings."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlmatch.embeddings.embed import embed
from vlmatch.embeddings.header import Header
from vlmatch.embeddings.store import Store
from vlmatch.encoders.grids import vectors_of
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
    """The encoder's features of n items, (n, t, d), in their order, and the header of the first share's embeddings.

    Each share is embedded separately, so that data of several shares can use the stored embeddings of each. t is 1, or
    K x K with `encoder.feature=gridK`.
    """
    numbers: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        numbers.setdefault(item.share, []).append(number)
    found = []
    for share, of_share in numbers.items():
        probe = probe_set_of([items[n] for n in of_share], share, drop_duplicates=False)
        found.append(embed(encoder, probe, store, trainer)[0])
    rows = torch.cat([torch.from_numpy(embeddings.array).float() for embeddings in found])
    order = torch.tensor([n for of_share in numbers.values() for n in of_share]).argsort()
    return rows[order].reshape(len(rows), vectors_of(encoder.feature), -1), found[0].header
