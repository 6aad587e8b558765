"""The projector: a small network that turns visual features into tokens that the LLM reads."""

import torch
from torch import Tensor, nn

from vlmatch.settings.recipe import Kind

CLAMP = 6.0


class Projector(nn.Module):
    """Maps (n, t, d) visual features to (n, t * tokens, D) embeddings of the LLM.

    kind: 'linear' is one linear layer. 'mlp2x_gelu' is two linear layers with a GELU between them (LLaVA-1.5, Liu et
    al., 2024). 'mlp2x_gelu_normalised' also normalises each token to the scale of the LLM's token embeddings, so
    that a short training need not learn that scale, and adds a learned position.
    tokens: how many visual tokens are made of each feature. scale: standard deviation of the LLM's token embeddings.
    standardised: standardise the inputs by the mean and standard deviation that `standardise` computed, and clamp them
    to 6 standard deviations, because the scales of encoders' features differ by orders of magnitude.
    """

    def __init__(
        self, width: int, llm_width: int, *, kind: Kind, tokens: int, scale: float, standardised: bool = False
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.standardised = standardised
        out = tokens * llm_width
        self.layers: nn.Module = (
            nn.Linear(width, out)
            if kind == "linear"
            else nn.Sequential(nn.Linear(width, llm_width), nn.GELU(), nn.Linear(llm_width, out))
        )
        self.norm = nn.LayerNorm(llm_width) if kind == "mlp2x_gelu_normalised" else None
        self.position = nn.Parameter(torch.zeros(tokens, llm_width)) if self.norm is not None else None
        if self.norm is not None:
            nn.init.constant_(self.norm.weight, scale)
        if standardised:
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("std", torch.ones(width))

    def standardise(self, features: Tensor) -> None:
        """Compute mean and standard deviation of training features (n, t, d).

        A dimension that never varies is only centred.
        """
        values = features.reshape(-1, features.shape[-1]).float()
        std = values.std(dim=0)
        self.mean, self.std = values.mean(dim=0), torch.where(std > 0, std, torch.ones_like(std))

    def forward(self, features: Tensor) -> Tensor:
        """Project (n, t, d) features to (n, t * tokens, D) visual tokens, in the dtype of the projector's weights."""
        values = features.to(next(self.parameters()).dtype)
        if self.standardised:
            values = ((values - self.mean) / self.std).clamp(-CLAMP, CLAMP)
        found = self.layers(values).unflatten(-1, (self.tokens, -1))
        if self.norm is not None:
            found = self.norm(found) + self.position
        return found.flatten(1, 2)
