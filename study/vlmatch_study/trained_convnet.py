"""Encoders that were trained here: small convolutional networks of timm's architectures with weights of ours."""

from collections.abc import Mapping
from typing import Any

from vlmatch.encoders.convnets import TimmMapEncoder, timm_convnet
from vlmatch.encoders.weights import checked_sha256, load_strictly, local_path, read_state_dict


class TrainedConvnet(TimmMapEncoder):
    """A timm architecture that ends in a map, with the weights that `task=pretrain` made.

    architecture, options: of `timm.create_model`. checkpoint: the .safetensors file, in half precision.
    sha256: that of the file. Raises VlmatchError where the file is another or doesn't fit, NotHereError where it is
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
        feature: str = "paper",
        licence: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, preprocessing, feature=feature, licence=licence)
        path = local_path(name, checkpoint)
        self.weights_sha256 = checked_sha256(name, path, sha256)
        self.trunk = timm_convnet(name, architecture, options or {})
        load_strictly(name, self.trunk, read_state_dict(name, path), path)
        self.eval()
