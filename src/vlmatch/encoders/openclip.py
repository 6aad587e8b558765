"""Encoders from open_clip: the tag fixes preprocessing and activation, wherever the weights come from."""

import logging
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from PIL import Image
from torch import Tensor, nn

from vlmatch.encoders import timm_models
from vlmatch.encoders.hub import HubEncoder, HubOptions
from vlmatch.encoders.layers import LayerOutput, n_open_clip_layers, open_clip_layers
from vlmatch.encoders.preprocessing import plain
from vlmatch.encoders.towers import Taken, fitted, say, tower_in
from vlmatch.encoders.weights import checked_sha256, local_path, read_tensors
from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.machine.disk import faults_as
from vlmatch.packages.availability import Availability, on_hub
from vlmatch.packages.hub import Wanted, fetch_again, hub_file, weights_sha256

# The order in which open_clip itself looks for weights in a folder.
WEIGHT_NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
_NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 1, "heads": 1, "layers": 1}
_POSITIONS = re.compile(r"^positional_embedding$")  # the table that open_clip resamples to another image size


class OpenClipEncoder(HubEncoder):
    """The vision tower of an open_clip model, without the projection into the shared space.

    architecture, pretrained: open_clip's names, e.g. 'ViT-SO400M-14-SigLIP-384' and 'webli'. The tag fixes
    preprocessing and activation (QuickGELU), wherever the weights come from.
    checkpoint: if architecture and pretrained are null, a folder with an `open_clip_config.json`, which then fixes
    preprocessing and activation.
    sha256: the SHA-256 of the weight file; if given, it is checked.
    image_size: pixels of the square input, if other than the tag's.
    """

    def __init__(
        self,
        name: str,
        architecture: str | None,
        pretrained: str | None,
        *,
        sha256: str | None = None,
        image_size: int | None = None,
        **options: Unpack[HubOptions],
    ) -> None:
        from open_clip.transform import PreprocessCfg, image_transform_v2

        super().__init__(name, **options)
        if architecture is None and pretrained is None and self.checkpoint is not None:
            model, path = folder_model(name, self.checkpoint, image_size)
        elif architecture is not None and pretrained is not None:
            model, path = tag_model(name, architecture, pretrained, self.checkpoint, image_size)
        else:
            raise VlmatchError(
                f"encoder '{name}': architecture='{architecture}', pretrained='{pretrained}'; give both (the tag fixes "
                "preprocessing and activation), or neither and a checkpoint folder with open_clip_config.json"
            )
        own = partial(weights_sha256, "encoder", name, [path])
        self.weights_sha256 = own() if sha256 is None else checked_sha256(name, path, sha256)
        self.visual: Any = model.visual
        self._rule = drop_projection(name, self.visual)  # before loading, so the file's projection may have any size
        taken = load_vision(name, model, path, self.entry)
        self.taken = say(name, path, taken) if self.checkpoint is not None else ""
        if image_size is not None and hasattr(self.visual, "set_input_size"):
            self.visual.set_input_size(image_size)
        self._preprocess_config = dict(model.visual.preprocess_cfg)
        self._transform = image_transform_v2(PreprocessCfg(**self._preprocess_config), is_train=False)
        self.eval()

    @classmethod
    def hub_availability(cls, settings: Mapping[str, Any]) -> Availability:
        """Whether the weights of the tag are in the hub's cache, or only on the hub."""
        architecture, pretrained = str(settings["architecture"]), str(settings["pretrained"])

        def find() -> Path:
            import open_clip

            return tag_weights(settings["name"], pretrained, open_clip.get_pretrained_cfg(architecture, pretrained))

        return on_hub(f"{architecture} {pretrained}", find)

    def prepare(self, image: Image.Image) -> Tensor:
        """One RGB image as the model's input: (3, h, w)."""
        prepared: Tensor = self._transform(image)
        return prepared

    def tokens(self, images: Tensor) -> Tensor:
        """The patches after the last block but one, or the cells of the last map: (n, t, d)."""
        if hasattr(self.visual, "trunk"):
            return timm_models.patch_tokens(self.visual.trunk, images)
        if not hasattr(self.visual, "transformer"):  # a ResNet: the cells of its last map
            layers = self.visual.forward_intermediates(images, indices=[-1], intermediates_only=True)
            feature_map: Tensor = layers["image_intermediates"][0]
            return feature_map.flatten(2).transpose(1, 2)
        layers = self.visual.forward_intermediates(
            images, indices=[-2], output_fmt="NLC", intermediates_only=True, stop_early=True
        )
        patches: Tensor = layers["image_intermediates"][0]
        return patches

    def last_patches(self, images: Tensor) -> Tensor:
        """The patches after the last block and the tower's norm, or the cells of the last map: (n, t, d)."""
        if hasattr(self.visual, "trunk"):
            return timm_models.last_patches(self.visual.trunk, images)
        if not hasattr(self.visual, "transformer"):
            return self.tokens(images)
        normed = getattr(self.visual, "attn_pool", None) is None  # CoCa's norm follows its attention pool
        layers = self.visual.forward_intermediates(
            images, indices=[-1], output_fmt="NLC", normalize_intermediates=normed, intermediates_only=True
        )
        patches: Tensor = layers["image_intermediates"][0]
        return patches

    def paper_feature(self, images: Tensor) -> Tensor:
        """The feature as this model pools it, before any projection: (n, d)."""
        if hasattr(self.visual, "trunk") and not hasattr(self.visual.head, "pool"):
            return timm_models.pooled(self.visual.trunk, images)
        features: Tensor = self.visual(images)
        return features

    @property
    def paper_rule(self) -> str:
        """The feature rule in words."""
        return self._rule

    @property
    def n_layers(self) -> int:
        """The number of its blocks or stages."""
        return n_open_clip_layers(self.visual)

    def layer_outputs(self, images: Tensor, numbers: Sequence[int]) -> list[LayerOutput]:
        """The outputs of blocks or stages, from open_clip's `forward_intermediates`."""
        return open_clip_layers(self.visual, images, numbers)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What `prepare` does, as plain values."""
        return plain(self._preprocess_config)


def tag_model(
    name: str, architecture: str, pretrained: str, checkpoint: Path | None, image_size: int | None = None
) -> tuple[Any, Path]:
    """The untrained model of a tag, and its weight file: in `checkpoint`, else from the tag's place on the hub."""
    import open_clip

    tag = open_clip.get_pretrained_cfg(architecture, pretrained)
    if not tag:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        known = f"its tags are {', '.join(tags)}" if tags else "open_clip.list_pretrained() lists all pairs"
        raise VlmatchError(
            f"encoder '{name}': architecture='{architecture}' pretrained='{pretrained}' is unknown to open_clip; "
            f"{known}"
        )
    path = tag_weights(name, pretrained, tag) if checkpoint is None else weights_in(name, checkpoint)
    preprocess_keys = ("size", "mean", "std", "interpolation", "resize_mode", "fill_color")
    preprocess = {**tag, "size": image_size or tag.get("size")}
    model = untrained(
        name,
        architecture,
        image_size,
        force_quick_gelu=bool(tag.get("quick_gelu", False)),
        force_preprocess_cfg={key: preprocess[key] for key in preprocess_keys if preprocess.get(key) is not None},
    )
    return model, path


def folder_model(name: str, folder: Path, image_size: int | None = None) -> tuple[Any, Path]:
    """The untrained model in a folder with `open_clip_config.json`, and its weight file."""
    if not (folder / "open_clip_config.json").is_file():
        raise VlmatchError(
            f"encoder '{name}': checkpoint='{folder}' holds no open_clip_config.json; give architecture and pretrained "
            "too, which fix preprocessing and activation"
        )
    size = {} if image_size is None else {"force_preprocess_cfg": {"size": image_size}}
    return untrained(name, f"local-dir:{folder}", image_size, **size), weights_in(name, folder)


def untrained(name: str, model_name: str, image_size: int | None, **options: Any) -> Any:
    """The open_clip model with random weights and a minimal text tower.

    The text tower is not used, and the original one might have to be downloaded from a hub. A timm trunk gets its
    `image_size` by `set_input_size`, after its weights were loaded.
    """
    import open_clip

    build = partial(
        open_clip.create_model, model_name, load_weights=False, pretrained_text=False, text_cfg=_NO_TEXT, **options
    )

    def unbuildable(error: Exception) -> VlmatchError:
        return VlmatchError(
            f"encoder '{name}': open_clip can't build {model_name} ({one_line(error)[:200]}); give an architecture "
            "that open_clip.list_models() lists, or a folder with its open_clip_config.json"
        )

    level, handlers = logging.root.manager.disable, list(logging.root.handlers)
    logging.disable(logging.WARNING)  # open_clip warns about random weights
    try:
        with faults_as(unbuildable):
            model = build()
            if image_size is not None and not hasattr(model.visual, "set_input_size"):
                model = build(force_image_size=image_size)
    finally:
        logging.disable(level)
        logging.root.handlers[:] = handlers  # open_clip's first message to the root logger adds one
    return model


def load_vision(name: str, model: Any, path: Path, entry: str | None = None) -> Taken:
    """Load the vision tower of an open_clip model from a checkpoint; return what was taken from it.

    entry: see `towers.tower_in`. Position embeddings of another image size are resampled by open_clip.
    Raises VlmatchError if a tensor is missing, has another shape, or belongs to a deeper model.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import resize_pos_embed

    def unloadable(error: Exception) -> VlmatchError:
        return VlmatchError(
            f"encoder '{name}': weights '{path}' can't be loaded into open_clip's {type(model.visual).__name__} "
            f"({one_line(error)[:200]}); give a .safetensors or plain tensor file of exactly this architecture, "
            f"or {fetch_again(path)}"
        )

    own = model.visual.state_dict()
    with faults_as(unloadable):
        tensors = convert_state_dict(model, read_tensors(name, path))  # Apple names MobileCLIP's tensors in its own way
        taken = fitted(name, path, tower_in(name, path, tensors, own, entry), own, _POSITIONS)
        state = {f"visual.{key}": value for key, value in taken.state.items()}
        resize_pos_embed(state, model)
        model.visual.load_state_dict({key.removeprefix("visual."): value for key, value in state.items()})
    return taken


def tag_weights(name: str, pretrained: str, tag: Mapping[str, Any]) -> Path:
    """The weight file of a tag, from the hub's cache or the hub; safetensors if the repository has them."""
    if "file" in tag:
        return local_path(name, tag["file"])
    repository, _, filename = str(tag.get("hf_hub", "")).rpartition("/")
    wanted = Wanted("encoder", name, pretrained, repository)
    if not repository:
        raise wanted.not_here("open_clip names no place on the hub for them")
    safe = filename.rpartition(".")[0] + ".safetensors"
    return hub_file(wanted, (safe, filename) if filename else (WEIGHT_NAMES[0], WEIGHT_NAMES[2]))


def weights_in(name: str, place: Path) -> Path:
    """The weight file at a place: the file itself, or the file that open_clip would load from the folder."""
    if place.is_file():
        return place
    found = [place / filename for filename in WEIGHT_NAMES if (place / filename).is_file()]
    if not found:
        raise NotHereError(
            f"encoder '{name}': checkpoint='{place}' holds no weights; it needs one of {', '.join(WEIGHT_NAMES)}"
        )
    return found[0]


def drop_projection(name: str, visual: Any) -> str:
    """Remove the projection into the shared space from a vision tower, and return the rule by which it pools."""
    if hasattr(visual, "trunk"):
        if hasattr(visual.head, "pool"):
            visual.head = nn.Sequential(OrderedDict(pool=visual.head.pool))
            return "attention pool"
        visual.head = nn.Sequential()
        visual.trunk.reset_classifier(0)
        return timm_models.pooling_rule(visual.trunk)
    if not hasattr(visual, "transformer"):
        return "attention pool"
    visual.proj, visual.output_tokens = None, False
    if visual.attn_pool is not None:
        return "attention pool"
    rules = {"tok": "cls", "avg": "mean patch"}
    if visual.pool_type not in rules:
        raise VlmatchError(
            f"encoder '{name}': pooling '{visual.pool_type}' gives no feature (n, d); choose another architecture"
        )
    return rules[visual.pool_type]
