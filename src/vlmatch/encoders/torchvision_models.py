"""Encoders from torchvision with its own weights, by the name of an entry in the architecture's weights enum."""

import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from PIL import Image
from torch import Tensor

from vlmatch.encoders.hub import HubEncoder, HubOptions
from vlmatch.encoders.maps import TorchvisionMapEncoder, require_torchvision
from vlmatch.encoders.preprocessing import plain
from vlmatch.encoders.towers import fitted, say, tower_in
from vlmatch.encoders.weights import files_of_weights, read_tensors
from vlmatch.errors import VlmatchError, one_line
from vlmatch.machine.network import require_network
from vlmatch.packages.availability import CACHED, HUB, Availability, found_offline
from vlmatch.packages.hub import SECONDS_TO_ANSWER, Wanted, weights_sha256


class TorchvisionHubEncoder(TorchvisionMapEncoder, HubEncoder):
    """A torchvision architecture up to the node that gives its last map, with torchvision's weights and transform.

    architecture: a name of `torchvision.models.list_models()`.
    weights: an entry of its weights enum, e.g. 'IMAGENET1K_V2': it fixes the preprocessing and names the file, which
    comes from torch hub's cache or from torchvision's site.
    node: the module that gives the last map, e.g. 'layer4' or 'features'; what follows it is cut off.
    """

    def __init__(self, name: str, *, architecture: str, weights: str, node: str, **options: Unpack[HubOptions]) -> None:
        super().__init__(name, **options)
        self.build_trunk(architecture, node)
        listed = weights_entry(name, architecture, weights)
        path = self.checkpoint or entry_weights(name, listed)
        own = self.trunk.state_dict()
        taken = tower_in(name, path, read_tensors(name, path), own, self.entry)
        self.trunk.load_state_dict(fitted(name, path, taken, own).state)
        self.taken = say(name, path, taken) if self.checkpoint is not None else ""
        self._transform = listed.transforms()
        self.weights_sha256 = weights_sha256("encoder", name, files_of_weights(name, path))
        self.eval()

    @classmethod
    def hub_availability(cls, settings: Mapping[str, Any]) -> Availability:
        """Whether the weights are in torch hub's cache, or only on torchvision's site."""
        name, architecture, weights = (str(settings[key]) for key in ("name", "architecture", "weights"))
        cached = None
        if any(_cache().glob("*")):  # torchvision takes seconds to import
            cached = found_offline(lambda: entry_weights(name, weights_entry(name, architecture, weights)))
        return Availability(CACHED if cached else HUB, f"{architecture} {weights}", (cached,) if cached else ())

    def prepare(self, image: Image.Image) -> Tensor:
        """One RGB image as the model's input: (3, h, w)."""
        prepared: Tensor = self._transform(image)
        return prepared

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What `prepare` does, as plain values."""
        keys = ("resize_size", "crop_size", "mean", "std", "antialias")
        values = {key: getattr(self._transform, key) for key in keys}
        return plain(values | {"interpolation": self._transform.interpolation.value})


def weights_entry(name: str, architecture: str, weights: str) -> Any:
    """The entry of torchvision's weights enum; VlmatchError if the entry or the architecture is unknown."""
    from torchvision.models import get_model_weights

    require_torchvision(name, architecture)
    entries = get_model_weights(architecture).__members__
    if weights not in entries:
        raise VlmatchError(
            f"encoder '{name}': weights='{weights}' is unknown for {architecture}; choose one of {', '.join(entries)}"
        )
    return entries[weights]


def entry_weights(name: str, entry: Any) -> Path:
    """The weight file of an enum's entry: from torch hub's cache, else downloaded into it from torchvision's site.

    The file's name ends in the first digits of its SHA-256, and the download is checked against them.
    Raises NotHereError if it is not cached and can't be downloaded.
    """
    import torch.hub
    from huggingface_hub import is_offline_mode

    filename = Path(urllib.parse.urlparse(entry.url).path).name
    path = _cache() / filename
    if path.is_file():
        return path
    wanted = Wanted("encoder", name, filename, "torchvision")
    require_network(f"encoder '{name}': weights '{filename}' are", f"give encoder.checkpoint={wanted.place}")
    if is_offline_mode():
        raise wanted.not_here("HF_HUB_OFFLINE is set")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        request = urllib.request.Request(entry.url, method="HEAD")  # noqa: S310 - of torchvision's own enum
        urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER).close()  # noqa: S310
        torch.hub.download_url_to_file(entry.url, str(path), path.stem.rpartition("-")[2], progress=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: the wrong SHA-256
        why = f"torchvision's site does not give them: {one_line(error)[:160]}"
        raise wanted.not_here(why) from error
    return path


def _cache() -> Path:
    """The folder of torch hub's cache that torchvision downloads weights into."""
    import torch.hub

    return Path(torch.hub.get_dir(), "checkpoints")
