"""Samples of a batch side by side in one row, each seeing its own text alone, so that nothing computes padding."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Which tokens of b padded samples (b, t) stand in the row, and whose they are.

    fed (b, t) bool: those that predict something. owners, positions (n,): the sample of each, and its place there.
    """

    fed: Tensor
    owners: Tensor
    positions: Tensor

    @classmethod
    def of(cls, mask: Tensor) -> "Packing":
        """Pack the tokens of `mask` (b, t), which is False on padding at the right; each sample's last is not fed."""
        fed = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)
        owners, positions = fed.nonzero().unbind(1)
        return cls(fed, owners, positions)

    def saves(self, width: int) -> bool:
        """Whether one row is less work than b padded ones, for an LLM of `width`.

        By the products of a layer: some 12 width^2 for each token, 2 width for each two tokens of a row.
        """
        b, t = self.fed.shape
        n, padded = len(self.owners), b * (t - 1)
        return 6 * width * (padded - n) > n * n - padded * (t - 1)

    def mask(self, prefix: Tensor | None, prefixes: Tensor | None, dtype: torch.dtype) -> Tensor:
        """What each token sees, as what is added to attention, (1, 1, n, c + n): 0 or the least number.

        prefixes (p, s): False where a prefix is padding; all p stand in front of the row, c = p * s. prefix (b,): the
        one that each sample sees.
        """
        seen = (self.owners[:, None] == self.owners).tril()
        if prefixes is not None and prefix is not None:
            own = torch.nn.functional.one_hot(prefix[self.owners], len(prefixes)).bool()
            seen = torch.cat([(own[:, :, None] & prefixes).flatten(1), seen], dim=1)
        return torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)[None, None]


def joined(states: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Keys and values (p, heads, s, d) of p prefixes as those of one text, (1, heads, p * s, d)."""
    keys, values = (each.transpose(0, 1).flatten(1, 2)[None] for each in states)
    return keys, values
