"""The projector's input: one feature of an image, a pooled grid of features, or all tokens of the encoder."""

from torch import Tensor, nn

from vlmatch.encoders.base import Encoder


class VisualInput(nn.Module):
    """Runs an encoder for a VLM: (n, c, h, w) prepared images -> (n, t, d) features.

    what: 'patches' gives all t tokens of the layer that the encoder's yaml names for VLMs. 'feature' gives the feature
    that its yaml's key `feature` chooses: 'paper' and 'vlm_input' are one vector (t = 1), 'gridK' is the means of the
    tokens over K x K cells (t = K x K).
    """

    def __init__(self, encoder: Encoder, what: str) -> None:
        super().__init__()
        self.encoder = encoder
        self.what = what

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, t, d) of n prepared images (n, c, h, w)."""
        if self.what == "patches":
            return self.encoder.fed_tokens(images)
        return self.encoder.feature(images).reshape(len(images), self.encoder.features_per_image, -1)
