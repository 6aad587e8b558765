"""Encoders from timm by the tag of their weights, which says where the weights are and how images are preprocessed."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from PIL import Image
from torch import Tensor

from vlmatch.encoders.hub import HubEncoder, HubOptions
from vlmatch.encoders.layers import LayerOutput, n_timm_layers, timm_layers
from vlmatch.encoders.preprocessing import plain
from vlmatch.encoders.towers import DoesNotFitError, Taken, fitted, say, tower_in
from vlmatch.encoders.weights import files_of_weights, read_tensors
from vlmatch.errors import VlmatchError, one_line
from vlmatch.machine.disk import faults_as
from vlmatch.packages.availability import Availability, on_hub
from vlmatch.packages.hub import Wanted, fetch_again, hub_file, weights_sha256
from vlmatch.pickles import refuse_code

WEIGHT_NAMES = ("model.safetensors", "pytorch_model.bin")
_WRAPPERS = ("state_dict", "model", "model_state_dict", "teacher", "student")  # entries of authors' checkpoints
_POSITIONS = re.compile(r"pos_embed|position|rel_pos|attn_mask")  # tables that timm resamples to another image size
_POOL_NORM = re.compile(r"(^|\.)fc_norm\.weight$")


class TimmEncoder(HubEncoder):
    """A timm model without its classifier.

    model: architecture and tag, e.g. 'vit_large_patch14_dinov2.lvd142m': the tag fixes weights and preprocessing.
    pool: 'token' (the CLS) or 'avg' (the mean patch), if timm's own pooling is not the paper's rule; null: timm's.
    image_size: pixels of the square input, if other than the tag's; timm resamples the position embedding.
    checkpoint: a weight file, or a folder as timm saves it for the hub, whose config.json then fixes preprocessing.
    """

    def __init__(
        self,
        name: str,
        model: str,
        *,
        pool: str | None = None,
        image_size: int | None = None,
        **options: Unpack[HubOptions],
    ) -> None:
        from timm.data import create_transform, resolve_model_data_config

        super().__init__(name, **options)
        stated: dict[str, Any] = {}
        if self.checkpoint is None:
            path = tag_weights(name, model)
            self.trunk = timm_trunk(name, model, path, image_size)
        else:
            path = self.checkpoint
            stated = stated_preprocessing(name, model, path)
            self.trunk, taken = own_trunk(name, model, path, image_size, self.entry)
            if image_size is None and "input_size" in stated and (taken.resampled or stated.get("fixed_input_size")):
                image_size = int(stated["input_size"][-1])
                self.trunk, taken = own_trunk(name, model, path, image_size, self.entry)
            self.taken = say(name, path, taken)
        repool(name, self.trunk, pool)
        self.weights_sha256 = weights_sha256("encoder", name, files_of_weights(name, path))
        size = {} if image_size is None else {"input_size": (3, image_size, image_size)}
        self._data_config = resolve_model_data_config(self.trunk, args=stated | size)
        self._transform = create_transform(**self._data_config, is_training=False)
        self.eval()

    @classmethod
    def hub_availability(cls, settings: Mapping[str, Any]) -> Availability:
        """Whether the weights of the tag are in the hub's cache, or only on the hub."""
        return on_hub(str(settings["model"]), lambda: tag_weights(settings["name"], settings["model"]))

    def prepare(self, image: Image.Image) -> Tensor:
        """One RGB image as the model's input: (3, h, w)."""
        prepared: Tensor = self._transform(image)
        return prepared

    def tokens(self, images: Tensor) -> Tensor:
        """The patches after the last block but one, or the cells of the last map: (n, t, d)."""
        return patch_tokens(self.trunk, images)

    def last_patches(self, images: Tensor) -> Tensor:
        """The patches after the last block and its norm, or the cells of the last map: (n, t, d)."""
        return last_patches(self.trunk, images)

    def paper_feature(self, images: Tensor) -> Tensor:
        """The feature as this model pools it, before any projection: (n, d)."""
        return pooled(self.trunk, images)

    @property
    def paper_rule(self) -> str:
        """The feature rule in words."""
        return pooling_rule(self.trunk)

    @property
    def n_layers(self) -> int:
        """The number of its blocks or stages."""
        return n_timm_layers(self.trunk)

    def layer_outputs(self, images: Tensor, numbers: Sequence[int]) -> list[LayerOutput]:
        """The outputs of blocks or stages, from timm's `forward_intermediates`."""
        return timm_layers(self.trunk, images, numbers)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What `prepare` does, as plain values."""
        return plain(self._data_config)


def tag_weights(name: str, model: str) -> Path:
    """The weight file of a timm tag, from the hub's cache or the hub; VlmatchError on an unknown tag."""
    import timm

    if not timm.is_model_pretrained(model):
        architecture = model.partition(".")[0]
        tags = timm.list_pretrained(f"{architecture}.*") or timm.list_pretrained("*dinov2*")
        raise VlmatchError(
            f"encoder '{name}': model='{model}' is not a timm model with weights; choose e.g. {', '.join(tags[:6])}"
        )
    config = timm.get_pretrained_cfg(model)
    wanted = Wanted("encoder", name, model, config.hf_hub_id or "")
    if not config.hf_hub_id:
        raise wanted.not_here("timm names no place on the hub for them")
    return hub_file(wanted, (config.hf_hub_filename,) if config.hf_hub_filename else WEIGHT_NAMES)


def timm_trunk(name: str, model: str, path: Path, image_size: int | None = None) -> Any:
    """The timm model with the tensors of `path`, loaded strictly and converted as timm does for this architecture.

    The classifier is loaded too and removed afterwards, because timm does not check the names of tensors if it builds a
    model without a classifier.
    `image_size` is for models that are built for one size (those with position embeddings).
    """
    refuse_code(f"encoder '{name}'", path)
    place = {"file": str(path), "custom_load": False, "state_dict": None}
    return _built(name, model, path, image_size, pretrained=True, pretrained_cfg_overlay=place)


def own_trunk(
    name: str, model: str, path: Path, image_size: int | None = None, entry: str | None = None
) -> tuple[Any, Taken]:
    """The timm model with a user's own tower, and what was taken from the checkpoint, which is never a classifier.

    entry: see `towers.tower_in`. If the checkpoint does not use timm's names, timm's own conversion of other authors'
    names is tried. If the checkpoint's last norm follows the pool (fc_norm), as in a fine-tuned MAE, the model pools
    the patches, because it was trained in this way. Raises VlmatchError if a tensor is missing, has another shape, or
    belongs to a deeper model. Position embeddings of another image size are resampled by timm.
    """
    tensors = read_tensors(name, path)
    trunk = _built(name, model, path, image_size)
    own = trunk.state_dict()
    pool = {}
    if "norm.weight" in own and any(_POOL_NORM.search(key) for key in tensors):
        pool = {"global_pool": "avg"}
        trunk = _built(name, model, path, image_size, **pool)
        own = trunk.state_dict()
    try:
        taken = fitted(name, path, tower_in(name, path, tensors, own, entry), own, _POSITIONS)
    except DoesNotFitError as error:
        return _converted(name, model, path, image_size, tensors, error)
    if taken.resampled:
        return _loaded_by_timm(name, model, path, image_size, dict(taken.state), 0, **pool), taken
    trunk.load_state_dict(taken.state)
    return trunk, taken


def stated_preprocessing(name: str, model: str, path: Path) -> dict[str, Any]:
    """What the config.json in a folder that timm saved says about preprocessing; empty if there is no config.json.

    Raises VlmatchError if it can't be read, or describes another architecture.
    """
    file = path / "config.json"
    if not file.is_file():
        return {}
    try:
        config = dict(json.loads(file.read_text(encoding="utf-8")))
        stated = dict(config.get("pretrained_cfg") or {})
    except (OSError, ValueError, TypeError) as error:
        raise VlmatchError(
            f"encoder '{name}': '{file}' can't be read ({one_line(error)[:120]}); {fetch_again(path)}"
        ) from error
    own, given = config.get("architecture"), model.partition(".")[0]
    if own not in (None, given):
        raise VlmatchError(f"encoder '{name}': '{file}' describes timm's {own}, not {given}; give encoder.model={own}")
    keys = ("input_size", "fixed_input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")
    return {key: stated[key] for key in keys if stated.get(key) is not None}


def _converted(
    name: str, model: str, path: Path, image_size: int | None, tensors: Mapping[str, Tensor], misfit: DoesNotFitError
) -> tuple[Any, Taken]:
    """The model with tensors that have other authors' names, which timm converts; raises `misfit` if it can't."""
    entry = next((each for each in _WRAPPERS if any(key.startswith(f"{each}.") for key in tensors)), "")
    start = f"{entry}." if entry else ""
    state = {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
    state = {key.removeprefix("module."): value for key, value in state.items()}
    heads = [state[key] for key in ("head.weight", "fc.weight", "classifier.weight", "head.fc.weight") if key in state]
    try:
        trunk = _loaded_by_timm(name, model, path, image_size, state, len(heads[0]) if heads else 0)
    except VlmatchError as error:
        raise misfit from error
    return trunk, Taken(state, entry, [key for key in tensors if not key.startswith(start)])


def _loaded_by_timm(
    name: str, model: str, path: Path, image_size: int | None, state: dict[str, Tensor], n_classes: int, **pool: str
) -> Any:
    """The model with a state dict that timm converts for this architecture and loads strictly."""
    place = {"state_dict": state, "num_classes": n_classes, "custom_load": False}
    if n_classes == 0:
        place["classifier"] = None
    options = {"pretrained": True, "pretrained_cfg_overlay": place, "num_classes": n_classes, **pool}
    trunk = _built(name, model, path, image_size, **options)
    trunk.pretrained_cfg.pop("state_dict", None)
    return trunk


def _built(name: str, model: str, path: Path, image_size: int | None, **options: Any) -> Any:
    """A timm model without its classifier; VlmatchError on an unknown name, a wrong size, or weights that don't fit."""
    import timm

    if not timm.is_model(model):
        raise VlmatchError(f"encoder '{name}': model='{model}' is unknown to timm; see timm.list_models()")

    def unbuildable(error: Exception) -> VlmatchError:
        if image_size is not None and (isinstance(error, TypeError) or "pretrained" not in options):
            return VlmatchError(
                f"encoder '{name}': timm's {model} does not take image_size={image_size} ({one_line(error)[:99]}); "
                "give another size, or leave it null"
            )
        return VlmatchError(
            f"encoder '{name}': weights '{path}' can't be loaded into timm's {model} ({one_line(error)[:200]}); "
            f"give a .safetensors or .pth file of exactly this model, or {fetch_again(path)}"
        )

    size = {} if image_size is None else {"img_size": image_size}
    with faults_as(unbuildable):
        trunk: Any = timm.create_model(model, **options, **size)
    trunk.reset_classifier(0)
    return trunk


def repool(name: str, trunk: Any, pool: str | None) -> None:
    """Make a timm model without classifier pool by 'token' or 'avg'; None keeps its own pooling."""
    if pool is None:
        return
    has_token = getattr(trunk, "cls_token", None) is not None
    allowed = ([*(["token"] if has_token else []), "avg"]) if is_token_model(trunk) else []
    if pool not in allowed:
        choices = f"choose {' or '.join(allowed)}, or null" if allowed else "it has only its own pooling: give null"
        raise VlmatchError(
            f"encoder '{name}': pool='{pool}' is not possible for timm's {type(trunk).__name__}; {choices}"
        )
    trunk.reset_classifier(0, pool)


def is_token_model(trunk: Any) -> bool:
    """Whether a timm model works on a sequence of prefix and patch tokens, as a ViT does, and not on maps."""
    return hasattr(trunk, "num_prefix_tokens")


def pooling_rule(trunk: Any) -> str:
    """The feature rule of a timm model, in words: how it pools before its classifier."""
    if not is_token_model(trunk):
        return "global average"
    rules = {"token": "cls", "map": "attention pool", "avg": "mean patch"}
    pool = str(trunk.global_pool)
    return rules.get(pool, f"{pool} pool of the patches")


def pooled(trunk: Any, images: Tensor) -> Tensor:
    """The model's own pooled feature, after its final norm and before its classifier or projection: (n, d)."""
    features: Tensor = trunk.forward_head(trunk.forward_features(images), pre_logits=True)
    return features


def patch_tokens(trunk: Any, images: Tensor) -> Tensor:
    """What a VLM's projector is fed, (n, t, d): the patches after the last block but one, or the last map's cells."""
    if is_token_model(trunk):
        layers = trunk.forward_intermediates(
            images, indices=[-2], output_fmt="NLC", intermediates_only=True, stop_early=True
        )
        tokens: Tensor = layers[0]
        return tokens
    return last_patches(trunk, images)


def last_patches(trunk: Any, images: Tensor) -> Tensor:
    """The patches after the last block and the model's own norm, or the last map's cells: (n, t, d)."""
    features: Tensor = trunk.forward_features(images)
    if features.ndim == 3:
        return features[:, getattr(trunk, "num_prefix_tokens", 0) :]
    cells_last = getattr(trunk, "output_fmt", "NCHW") == "NCHW"
    return features.flatten(2).transpose(1, 2) if cells_last else features.flatten(1, 2)
