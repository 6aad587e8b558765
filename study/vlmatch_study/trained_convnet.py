"""Encoders trained here from random weights: convolutional networks of timm's architectures."""

from collections.abc import Mapping
from typing import Any, Unpack

from vlmatch.encoders.base import EncoderOptions
from vlmatch.encoders.maps import TimmMapEncoder, timm_convnet
from vlmatch.encoders.weights import checked_sha256, load_strictly, local_path, read_state_dict


class TrainedConvnet(TimmMapEncoder):
    """A timm architecture that ends in a feature map, with the weights that `task=pretrain` made.

    architecture, options: arguments of `timm.create_model`. checkpoint: the .safetensors file, in half precision.
    sha256: the file's. Raises VlmatchError if the file has another SHA-256 or does not fit, NotHereError if it is
    missing.
    """

    def __init__(
        self,
        name: str,
        *,
        architecture: str,
        checkpoint: str,
        sha256: str,
        preprocessing: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
        **common: Unpack[EncoderOptions],
    ) -> None:
        super().__init__(name, preprocessing, **common)
        path = local_path(name, checkpoint)
        self.weights_sha256 = checked_sha256(name, path, sha256)
        self.trunk = timm_convnet(name, architecture, options or {})
        load_strictly(name, self.trunk, read_state_dict(name, path), path)
        self.eval()
