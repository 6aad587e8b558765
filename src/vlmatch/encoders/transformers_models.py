"""Encoders from transformers: vision models from a repository on the hub or from a folder."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from PIL import Image
from torch import Tensor, float32

from vlmatch.encoders.hub import HubEncoder, HubOptions, hub_folder
from vlmatch.encoders.layers import LayerOutput, of_map
from vlmatch.encoders.preprocessing import plain
from vlmatch.encoders.weights import UNREADABLE, files_of_weights
from vlmatch.errors import VlmatchError, one_line
from vlmatch.files import joint_sha256, sha256_of_file
from vlmatch.packages.adapters import merged, named_adapter, without_adapter
from vlmatch.packages.availability import Availability, at_path, on_hub, together
from vlmatch.pickles import refuse_code

# Repositories that hold both towers, and the class that takes the vision tower out of them.
VISION_TOWERS = {"clip": "CLIPVisionModel", "siglip": "SiglipVisionModel"}

# How each type's feature is made. CLIP's last hidden state is not normed, but its pooled output is the normed CLS.
# ViT's and DPT's pooled output has a dense layer on top that is often untrained, but their last hidden state is normed.
RULES = {
    "clip_vision_model": "pooled cls",
    "dinov2": "cls",
    "dinov2_with_registers": "cls",
    "dinov3_vit": "cls",
    "vit": "cls",
    "dpt": "cls",
    "ijepa": "mean patch",
    "aimv2_vision_model": "mean patch",
    "siglip_vision_model": "attention pool",
    "convnext": "global average",
    "swin": "global average",
}
KNOWN_RULES = ("cls", "attention pool", "global average", "mean patch")
# Types that take images of config.image_size alone; the others resample their position embedding, or have none.
FIXED_SIZE = ("clip_vision_model", "siglip_vision_model", "vit", "ijepa", "aimv2_vision_model")

log = logging.getLogger(__name__)


class TransformersEncoder(HubEncoder):
    """A vision model of transformers with its own image processor.

    repository: name on the hub, e.g. 'facebook/dinov2-base'. checkpoint: a folder with the same files instead.
    adapter: a folder with a LoRA adapter, as peft saves it, which is merged into the weights.
    rule: how the feature is made, only for model types that `RULES` does not know: 'cls' (the first token of
    the last hidden state), 'attention pool' or 'global average' (the pooled output), 'mean patch'.
    trust_remote_code: run the repository's own Python code; only this key allows that.
    Raises NotHereError if the files are not available; VlmatchError if they are damaged or incomplete, if they hold an
    adapter that is not named, or if the image processor's size is not the model's.
    """

    def __init__(
        self,
        name: str,
        *,
        repository: str | None = None,
        adapter: str | None = None,
        rule: str | None = None,
        trust_remote_code: bool = False,
        **options: Unpack[HubOptions],
    ) -> None:
        super().__init__(name, **options)
        if rule is not None and rule not in KNOWN_RULES:
            raise VlmatchError(f"encoder '{name}': rule='{rule}' is unknown; choose one of {', '.join(KNOWN_RULES)}")
        folder = self.checkpoint or model_folder(name, repository, trust_remote_code)
        files = files_of_weights(name, folder)
        self.adapter = named_adapter("encoder", name, adapter, folder)
        with without_adapter(folder) as readable:
            self.model, self._processor = vision_model(name, readable, files, trust_remote_code)
        if self.adapter is not None:
            self.model = merged("encoder", name, self.model, self.adapter)
        model_type = self.model.config.model_type
        self._rule = rule or RULES.get(model_type)
        if self._rule is None:
            raise VlmatchError(
                f"encoder '{name}': model type '{model_type}' has no known feature rule; give encoder.rule, one of "
                f"{', '.join(KNOWN_RULES)}"
            )
        self._check_image_size(folder)
        own = joint_sha256([sha256_of_file(file) for file in files])
        self.weights_sha256 = own if self.adapter is None else self.adapter.weights_sha256(own)
        self.eval()

    @classmethod
    def availability(cls, settings: Mapping[str, Any]) -> Availability:
        """As for all encoders from a hub, and an adapter at its path."""
        adapter = settings.get("adapter")
        own = super().availability(settings)
        return together([own, at_path(str(adapter))]) if adapter else own

    @classmethod
    def hub_availability(cls, settings: Mapping[str, Any]) -> Availability:
        """In the cache of the hub, or on the hub."""
        repository = str(settings["repository"])
        return on_hub(repository, lambda: model_folder(settings["name"], repository, False), repository)

    def prepare(self, image: Image.Image) -> Tensor:
        """One RGB image, prepared by the image processor: (3, h, w)."""
        pixels: Tensor = self._processor(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels

    def tokens(self, images: Tensor) -> Tensor:
        """The patches after the last layer but one, or the cells of the last map: (n, t, d)."""
        if self._rule == "global average":
            last: Tensor = self.model(pixel_values=images).last_hidden_state
            return last.flatten(2).transpose(1, 2) if last.ndim == 4 else last
        outputs = self.model(pixel_values=images, output_hidden_states=True)
        return self._patches(outputs.hidden_states[-2], images)

    def paper_feature(self, images: Tensor) -> Tensor:
        """The feature by the rule of this model type: (n, d)."""
        outputs = self.model(pixel_values=images)
        last: Tensor = outputs.last_hidden_state
        if self._rule == "cls":
            return last[:, 0]
        if self._rule == "mean patch":
            return self._patches(last, images).mean(dim=1)
        pooled: Tensor = outputs.pooler_output
        return pooled.flatten(1)

    @property
    def n_layers(self) -> int:
        """Its blocks or stages."""
        config = self.model.config
        return len(config.depths) if hasattr(config, "depths") else int(config.num_hidden_layers)

    def layer_outputs(self, images: Tensor, numbers: Sequence[int]) -> list[LayerOutput]:
        """transformers' hidden states; the state 0, the embeddings, is no layer."""
        states = self.model(pixel_values=images, output_hidden_states=True).hidden_states
        if self._rule == "global average":
            return [of_map(each) if each.ndim == 4 else LayerOutput(each) for each in (states[k] for k in numbers)]
        has_cls = self.paper_rule == "cls"
        return [LayerOutput(self._patches(states[k], images), states[k][:, 0] if has_cls else None) for k in numbers]

    def _patches(self, hidden: Tensor, images: Tensor) -> Tensor:
        """A hidden state (n, prefix + patches, d) without its prefix: the last tokens, one for each patch."""
        size = self.model.config.patch_size
        n_patches = (images.shape[-2] // size) * (images.shape[-1] // size)
        return hidden[:, hidden.shape[1] - n_patches :]

    @property
    def paper_rule(self) -> str:
        """The feature rule in words."""
        return str(self._rule).removeprefix("pooled ")

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What the image processor does, as its own config says, and which adapter was merged."""
        config = json.loads(self._processor.to_json_string())
        adapter = {} if self.adapter is None else {"adapter": self.adapter.sha256}
        return plain({key: value for key, value in config.items() if value is not None}) | adapter

    def _check_image_size(self, folder: Path) -> None:
        """Raise VlmatchError unless every image is prepared at one size, and at the model's if it takes no other."""
        wide, tall = (tuple(self.prepare(Image.new("RGB", size)).shape[1:]) for size in ((64, 48), (48, 64)))
        if wide != tall:
            raise VlmatchError(
                f"encoder '{self.name}': '{folder}/preprocessor_config.json' gives images of different sizes, such as "
                f"{wide[0]} x {wide[1]} and {tall[0]} x {tall[1]}; a batch needs one size: set crop_size, or both sides"
            )
        if self.model.config.model_type not in FIXED_SIZE:
            return
        stated = self.model.config.image_size
        height, width = stated if isinstance(stated, list | tuple) else (stated, stated)
        if wide != (height, width):
            raise VlmatchError(
                f"encoder '{self.name}': in '{folder}', preprocessor_config.json gives images of {wide[0]} x {wide[1]} "
                f"pixels, but config.json says {height} x {width}; give files of one model"
            )


def model_folder(name: str, repository: str | None, with_code: bool) -> Path:
    """The folder of a hub repository's config, image processor and weights, from the hub's cache or downloaded."""
    if repository is None:
        raise VlmatchError(f"encoder '{name}': no weights named; give encoder.repository or encoder.checkpoint")
    needed = ["config.json", "preprocessor_config.json"]
    weights = ["model*.safetensors", "pytorch_model*.bin"]
    return hub_folder(name, repository, needed, ["*.json", *(["*.py"] if with_code else [])], weights)


def vision_model(name: str, folder: Path, files: Sequence[Path], trust_remote_code: bool) -> tuple[Any, Any]:
    """Vision model, in float32, and image processor of a folder; every tensor of the model comes from `files`."""
    import transformers

    if trust_remote_code:
        log.warning("encoder '%s': trust_remote_code=true, the code in '%s' will run", name, folder)
    for file in files:
        refuse_code(f"encoder '{name}'", file)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, trust_remote_code=trust_remote_code)
        model_class = getattr(transformers, VISION_TOWERS.get(config.model_type, "AutoModel"))
        options = {"trust_remote_code": trust_remote_code} if model_class is transformers.AutoModel else {}
        if config.model_type in ("vit", "dpt"):
            options["add_pooling_layer"] = False
        model, loading = model_class.from_pretrained(folder, dtype=float32, output_loading_info=True, **options)
    except (*UNREADABLE, ImportError) as error:
        raise VlmatchError(
            f"encoder '{name}': '{files[0].parent}' can't be loaded by transformers ({one_line(error)[:200]}); give a "
            "folder with config.json, preprocessor_config.json and weights; if it has code of its own that you trust, "
            "also give encoder.trust_remote_code=true"
        ) from error
    absent = sorted(loading["missing_keys"]) + sorted(str(key) for key in loading["mismatched_keys"])
    if absent:
        raise VlmatchError(
            f"encoder '{name}': '{files[0]}' lacks {len(absent)} tensors of {type(model).__name__}, "
            f"first '{absent[0]}'; they would stay random; give complete weights"
        )
    return model, processor
