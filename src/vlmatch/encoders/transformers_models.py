"""Encoders from transformers: vision towers by repository on the hub or by folder."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor, float32

from vlmatch.encoders.base import Encoder
from vlmatch.encoders.hub import hub_folder
from vlmatch.encoders.preprocessing import plain
from vlmatch.encoders.weights import UNREADABLE, local_path, sha256_of
from vlmatch.errors import NotHereError, VlmatchError, one_line
from vlmatch.pickles import refuse_code

# Repositories that hold both towers, and the class that takes the vision tower out of them.
VISION_TOWERS = {"clip": "CLIPVisionModel", "siglip": "SiglipVisionModel"}

# How each type's feature is made. CLIP's last hidden state is not normed, its pooled output is the normed CLS;
# ViT's pooled output has a dense layer on top that is often untrained, its last hidden state is normed; so DPT's.
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


log = logging.getLogger(__name__)


class TransformersEncoder(Encoder):
    """A vision model of transformers with its own image processor.

    repository: name on the hub, e.g. 'facebook/dinov2-base'. checkpoint: a folder with the same files instead.
    rule: how the feature is made, only for model types that `RULES` does not know: 'cls' (the first token of
    the last hidden state), 'attention pool' or 'global average' (the pooled output), 'mean patch'.
    trust_remote_code: run the repository's own Python code; nothing but this key turns that on.
    """

    def __init__(
        self,
        name: str,
        *,
        repository: str | None = None,
        checkpoint: str | None = None,
        rule: str | None = None,
        trust_remote_code: bool = False,
        feature: str = "paper",
        licence: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, feature=feature, licence=licence)
        if rule is not None and rule not in KNOWN_RULES:
            raise VlmatchError(f"encoder '{name}': rule='{rule}' is unknown; choose one of {', '.join(KNOWN_RULES)}")
        folder = model_folder(name, repository, checkpoint, trust_remote_code)
        self.model, self._processor = vision_model(name, folder, trust_remote_code)
        model_type = self.model.config.model_type
        self._rule = rule or RULES.get(model_type)
        if self._rule is None:
            raise VlmatchError(
                f"encoder '{name}': model type '{model_type}' has no known feature rule; give encoder.rule, one of "
                f"{', '.join(KNOWN_RULES)}"
            )
        self.weights_sha256 = sha256_of(weight_files(name, folder))
        self.eval()

    def prepare(self, image: Image.Image) -> Tensor:
        """One RGB image as the image processor makes it, (3, h, w)."""
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

    def _patches(self, hidden: Tensor, images: Tensor) -> Tensor:
        """A hidden state (n, prefix + patches, d) without its prefix: whatever is more than the grid of patches."""
        size = self.model.config.patch_size
        n_patches = (images.shape[-2] // size) * (images.shape[-1] // size)
        return hidden[:, hidden.shape[1] - n_patches :]

    @property
    def paper_rule(self) -> str:
        """The feature rule in words."""
        return str(self._rule).removeprefix("pooled ")

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What the image processor does, as its own config says."""
        config = json.loads(self._processor.to_json_string())
        return plain({key: value for key, value in config.items() if value is not None})


def model_folder(name: str, repository: str | None, checkpoint: str | None, with_code: bool) -> Path:
    """The folder of config, image processor and weights: the user's, the hub's cache, or downloaded."""
    if checkpoint is not None:
        return local_path(name, checkpoint)
    if repository is None:
        raise VlmatchError(f"encoder '{name}': no weights named; give encoder.repository or encoder.checkpoint")
    needed = ["config.json", "preprocessor_config.json"]
    weights = ["model*.safetensors", "pytorch_model*.bin"]
    return hub_folder(name, repository, needed, ["*.json", *(["*.py"] if with_code else [])], weights)


def vision_model(name: str, folder: Path, trust_remote_code: bool) -> tuple[Any, Any]:
    """Vision model, in float32, and image processor of a folder; every tensor of the model comes from its files."""
    import transformers

    if trust_remote_code:
        log.warning("encoder '%s': trust_remote_code=true, the code that '%s' brings will run", name, folder)
    for file in weight_files(name, folder):
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
            f"encoder '{name}': '{folder}' can't be loaded by transformers ({one_line(error)[:200]}); give a folder "
            "with config.json, preprocessor_config.json and weights, or encoder.trust_remote_code=true if it has code"
        ) from error
    absent = sorted(loading["missing_keys"]) + sorted(str(key) for key in loading["mismatched_keys"])
    if absent:
        raise VlmatchError(
            f"encoder '{name}': weights in '{folder}' lack {len(absent)} tensors of {type(model).__name__}, "
            f"first '{absent[0]}'; they would be random, give complete weights"
        )
    return model, processor


def weight_files(name: str, folder: Path) -> list[Path]:
    """The weight files that transformers reads from a folder, safetensors before PyTorch's, shards in order."""
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        if (folder / f"{stem}.{suffix}").is_file():
            return [folder / f"{stem}.{suffix}"]
        index = folder / f"{stem}.{suffix}.index.json"
        if index.is_file():
            return [folder / shard for shard in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    raise NotHereError(f"encoder '{name}': '{folder}' holds no model.safetensors or pytorch_model.bin; put one there")
