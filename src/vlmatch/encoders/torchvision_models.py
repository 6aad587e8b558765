"""Encoders from torchvision with its own weights, by the name of an entry of the architecture's weights enum."""

import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from vlmatch.encoders.convnets import MapEncoder, torchvision_trunk
from vlmatch.encoders.hub import FILE, SECONDS_TO_ANSWER, not_here
from vlmatch.encoders.preprocessing import plain
from vlmatch.encoders.weights import load_strictly, local_path, read_state_dict, sha256_of
from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.network import require_network


class TorchvisionHubEncoder(MapEncoder):
    """A torchvision architecture up to the node that gives its last map, with torchvision's weights and transform.

    architecture: a name of `torchvision.models.list_models()`.
    weights: an entry of its weights enum, e.g. 'IMAGENET1K_V2': it fixes the preprocessing and names the file.
    node: the module that gives the last map, e.g. 'layer4' or 'features'; what follows it is left out.
    checkpoint: path of the weights; without it they come from torch hub's cache or from torchvision's site.
    """

    def __init__(
        self,
        name: str,
        *,
        architecture: str,
        weights: str,
        node: str,
        checkpoint: str | None = None,
        feature: str = "paper",
        licence: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, feature=feature, licence=licence)
        self.trunk = torchvision_trunk(name, architecture, node)
        entry = weights_entry(name, architecture, weights)
        path = entry_weights(name, entry) if checkpoint is None else local_path(name, checkpoint)
        own = self.trunk.state_dict()
        state = {key: value for key, value in read_state_dict(name, path).items() if key in own}
        load_strictly(name, self.trunk, state, path)
        self._transform = entry.transforms()
        self.weights_sha256 = sha256_of([path])
        self.eval()

    def prepare(self, image: Image.Image) -> Tensor:
        """One RGB image as the model's input: (3, h, w)."""
        prepared: Tensor = self._transform(image)
        return prepared

    def feature_map(self, images: Tensor) -> Tensor:
        """The last feature map of (n, 3, h, w) prepared images: (n, d, h', w')."""
        features: Tensor = self.trunk(images)["map"]
        return features

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What `prepare` does, as plain values."""
        keys = ("resize_size", "crop_size", "mean", "std", "antialias")
        values = {key: getattr(self._transform, key) for key in keys}
        return plain(values | {"interpolation": self._transform.interpolation.value})


def weights_entry(name: str, architecture: str, weights: str) -> Any:
    """The entry of torchvision's weights enum; VlmatchError lists those that the architecture has."""
    from torchvision.models import get_model_weights

    entries = get_model_weights(architecture).__members__
    if weights not in entries:
        raise VlmatchError(
            f"encoder '{name}': weights='{weights}' is none of {architecture}'s; choose one of {', '.join(entries)}"
        )
    return entries[weights]


def entry_weights(name: str, entry: Any) -> Path:
    """The weight file of an enum's entry: from torch hub's cache, else from torchvision's site into that cache.

    Its name ends in the first digits of its SHA-256, against which the download is checked.
    Raises NotHereError where it is not cached and can't be fetched.
    """
    import torch.hub
    from huggingface_hub import is_offline_mode

    filename = Path(urllib.parse.urlparse(entry.url).path).name
    path = Path(torch.hub.get_dir(), "checkpoints", filename)
    if path.is_file():
        return path
    require_network(f"encoder '{name}': weights '{filename}' are", f"give encoder.checkpoint={FILE}")
    if is_offline_mode():
        raise NotHereError(not_here(name, filename, "HF_HUB_OFFLINE is set"))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        request = urllib.request.Request(entry.url, method="HEAD")  # noqa: S310 - of torchvision's own enum
        urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER).close()  # noqa: S310
        torch.hub.download_url_to_file(entry.url, str(path), path.stem.rpartition("-")[2], progress=False)
    except (OSError, RuntimeError) as error:  # RuntimeError: the wrong SHA-256
        why = f"torchvision's site does not give them: {one_line(error)[:160]}"
        raise NotHereError(not_here(name, filename, why)) from error
    return path
