"""Encoders that were trained here: small convolutional networks of timm's architectures with weights of ours."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vlmatch.encoders.convnets import FeatureMapEncoder
from vlmatch.encoders.weights import checked_sha256, load_strictly, local_path, read_state_dict
from vlmatch.errors import VlmatchError, one_line


class TrainedConvnet(FeatureMapEncoder):
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

    def feature_map(self, images: Tensor) -> Tensor:
        """The last feature map: (n, d, h, w)."""
        features: Tensor = self.trunk.forward_features(images)
        return features


def timm_convnet(name: str, architecture: str, options: Mapping[str, Any]) -> Any:
    """An untrained timm model without classifier; VlmatchError on a name or option that it does not know."""
    import timm

    if not timm.is_model(architecture):
        raise VlmatchError(
            f"encoder '{name}': architecture='{architecture}' is unknown to timm; see timm.list_models()"
        )
    given = {key: value if isinstance(value, str | int | float) else list(value) for key, value in options.items()}
    try:
        return timm.create_model(architecture, pretrained=False, num_classes=0, **given)
    except TypeError as error:
        raise VlmatchError(
            f"encoder '{name}': timm's {architecture} does not take options={given} ({one_line(error)[:120]})"
        ) from error
