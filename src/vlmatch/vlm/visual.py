"""What the projector is fed: an encoder's one feature, a pooled grid, or all its tokens."""

from torch import Tensor, nn

from vlmatch.encoders.base import Encoder


class VisualInput(nn.Module):
    """Runs an encoder for a VLM: (n, c, h, w) prepared images -> (n, t, d) features.

    what: 'patches', all tokens of the layer that the encoder's yaml names for VLMs; or the encoder's own feature
    (its yaml's `feature`: 'paper', 'vlm_input' or 'gridK', K x K means of its tokens), t being 1 or K x K.
    """

    def __init__(self, encoder: Encoder, what: str) -> None:
        super().__init__()
        self.encoder = encoder
        self.what = what

    def forward(self, images: Tensor) -> Tensor:
        """Features of n prepared images, (n, t, d)."""
        if self.what == "patches":
            return self.encoder.tokens(images)
        return self.encoder.feature(images).reshape(len(images), self.encoder.features_per_image, -1)
