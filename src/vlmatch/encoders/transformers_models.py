"""Encoders from transformers: vision models from a repository on the hub or from a folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from PIL import Image
from torch import Tensor

from vlmatch.encoders.hub import HubEncoder, HubOptions
from vlmatch.encoders.layers import LayerOutput, of_map
from vlmatch.encoders.patch_inputs import QWEN, SquareImages, inputs_of, mean_of_real, same_number, size_of
from vlmatch.encoders.preprocessing import plain
from vlmatch.encoders.towers import say
from vlmatch.encoders.transformers_towers import CONFIG, PROCESSORS, vision_model
from vlmatch.encoders.weights import files_of_weights
from vlmatch.errors import VlmatchError
from vlmatch.packages.adapters import merged, named_adapter, without_adapter
from vlmatch.packages.availability import NO_WEIGHTS, Availability, at_path, on_hub, together
from vlmatch.packages.hub import Wanted, hub_folder, is_path, named_folder, weights_sha256
from vlmatch.packages.model_folders import holds_weights

# How each type's feature is made. CLIP's last hidden state is not normed, but its pooled output is the normed CLS.
# The pooled output of ViT, DeiT and DPT has a dense layer that is often untrained, but their last state is normed.
RULES = {
    "clip_vision_model": "pooled cls",
    "metaclip_2_vision_model": "pooled cls",
    "mlcd_vision_model": "pooled cls",
    "dinov2": "cls",
    "dinov2_with_registers": "cls",
    "dinov3_vit": "cls",
    "vit": "cls",
    "deit": "cls",
    "dpt": "cls",
    "ijepa": "mean patch",
    "aimv2_vision_model": "mean patch",
    "siglip_vision_model": "attention pool",
    "siglip2_vision_model": "attention pool",
    "internvl_vision": "cls",
    "qwen2_vl_vision": "mean patch",
    "qwen2_5_vl_vision": "mean patch",
    "qwen3_vl_vision": "mean patch",
    "convnext": "global average",
    "swin": "global average",
}
KNOWN_RULES = ("cls", "attention pool", "global average", "mean patch")
# Types that take only images of config.image_size; the others resample their position embedding, or have none.
FIXED_SIZE = (
    "clip_vision_model", "metaclip_2_vision_model", "mlcd_vision_model", "siglip_vision_model", "vit", "deit",
    "ijepa", "aimv2_vision_model", "internvl_vision",
)  # fmt: skip


class TransformersEncoder(HubEncoder):
    """A vision model of transformers with its own image processor.

    repository: name on the hub, e.g. 'facebook/dinov2-base', or a folder. checkpoint: a folder with the same files
    instead, or a weight file in it.
    adapter: a folder with a LoRA adapter, as peft saves it, which is merged into the weights.
    rule: how the feature is made, only for model types that `RULES` does not know: 'cls' (the first token of
    the last hidden state), 'attention pool' or 'global average' (the pooled output), 'mean patch'.
    trust_remote_code: run the repository's own Python code; only this key allows that.
    Raises NotHereError if the files are not available; VlmatchError if they are damaged or incomplete, if the folder
    holds an adapter that `adapter` does not name, or if the image processor's size is not the model's.
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
        place = self.checkpoint or model_folder(name, repository, trust_remote_code)
        files = files_of_weights(name, place)
        folder = place.parent if place.is_file() else place
        own = weights_sha256("encoder", name, files)
        self.adapter = named_adapter("encoder", name, adapter, folder)
        with without_adapter(folder) as readable:
            self.model, self._processor, taken = vision_model(name, readable, files, trust_remote_code, self.entry)
        self.taken = say(name, place, taken) if self.checkpoint is not None else ""
        if self.adapter is not None:
            self.model = merged("encoder", name, self.model, self.adapter)
        model_type = self.model.config.model_type
        self._inputs = inputs_of(model_type)
        self._rule = rule or RULES.get(model_type)
        if self._rule == "attention pool" and not getattr(self.model.config, "vision_use_head", True):
            self._rule = rule or "mean patch"  # a SigLIP whose attention pool was left out, as in LLaVA-OneVision
        if self._rule is None:
            raise VlmatchError(
                f"encoder '{name}': model type '{model_type}' has no known feature rule; give encoder.rule, one of "
                f"{', '.join(KNOWN_RULES)}"
            )
        self._check_image_size(folder)
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
        """Whether the weights are in the hub's cache, or only on the hub."""
        repository = str(settings.get("repository") or "")
        if not repository:
            return NO_WEIGHTS
        if is_path(repository):
            return at_path(repository)
        return on_hub(repository, lambda: model_folder(settings["name"], repository, False), repository)

    def prepare(self, image: Image.Image) -> Any:
        """One RGB image, prepared by the image processor: (3, h, w), or patches as `patch_inputs` describes them."""
        return self._inputs.prepare(self._processor, image)

    def collate(self, items: list[Any]) -> Any:
        """Prepared images as a batch."""
        return self._inputs.collate(items)

    def tokens(self, images: Any) -> Tensor:
        """The patches after the last layer but one, or the cells of the last map: (n, t, d).

        For Qwen2-VL: the patches after the last layer.
        """
        if self._rule == "global average":
            last = self._inputs.outputs(self.model, images, False).last
            return last.flatten(2).transpose(1, 2) if last.ndim == 4 else last
        outputs = self._inputs.outputs(self.model, images, True)
        state = outputs.states[-2] if outputs.states else outputs.last
        return same_number(self.name, self._patches(state, images), outputs.real)

    def last_patches(self, images: Any) -> Tensor:
        """The patches after the last layer and its norm, or the cells of the last map: (n, t, d)."""
        if self._rule == "global average":
            return self.tokens(images)
        outputs = self._inputs.outputs(self.model, images, False)
        last = outputs.last
        if self._rule == "pooled cls":  # CLIP and its relatives, whose last hidden state is not normed
            last = getattr(self.model, "vision_model", self.model).post_layernorm(last)
        return same_number(self.name, self._patches(last, images), outputs.real)

    def paper_feature(self, images: Any) -> Tensor:
        """The feature by the rule of this model type: (n, d)."""
        outputs = self._inputs.outputs(self.model, images, False)
        if self._rule == "cls":
            return outputs.last[:, 0]
        if self._rule == "mean patch":
            return mean_of_real(self._patches(outputs.last, images), outputs.real)
        if outputs.pooled is None:
            raise VlmatchError(
                f"encoder '{self.name}': {type(self.model).__name__} has no pooled output, which rule='{self._rule}' "
                "needs; give encoder.rule, one of cls, mean patch"
            )
        return outputs.pooled.flatten(1)

    @property
    def n_layers(self) -> int:
        """The number of its blocks or stages; 0 for Qwen2-VL, which gives only the last one."""
        config = self.model.config
        if config.model_type in QWEN:
            return 0
        return len(config.depths) if hasattr(config, "depths") else int(config.num_hidden_layers)

    def layer_outputs(self, images: Any, numbers: Sequence[int]) -> list[LayerOutput]:
        """transformers' hidden states. State 0, the embeddings, does not count as a layer."""
        outputs = self._inputs.outputs(self.model, images, True)
        states = [outputs.states[number] for number in numbers]
        if self._rule == "global average":
            return [of_map(each) if each.ndim == 4 else LayerOutput(each) for each in states]
        has_cls = self.paper_rule == "cls"
        patches = [same_number(self.name, self._patches(each, images), outputs.real) for each in states]
        return [
            LayerOutput(each, state[:, 0] if has_cls else None) for each, state in zip(patches, states, strict=True)
        ]

    def _patches(self, hidden: Tensor, images: Any) -> Tensor:
        """A hidden state (n, prefix + patches, d) without its prefix: the last tokens, one for each patch."""
        size = size_of(images)
        if size is None:
            return hidden
        side = self.model.config.patch_size
        height, width = side if isinstance(side, list | tuple) else (side, side)
        n_patches = (size[0] // height) * (size[1] // width)
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
        """Raise VlmatchError unless all images are prepared at one size: the model's, if it takes no other."""
        if not isinstance(self._inputs, SquareImages):
            return
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
    """The folder with config, image processor and weights: a path, or a hub repository in its cache or downloaded."""
    if repository is None:
        raise VlmatchError(f"encoder '{name}': no weights named; give encoder.repository or encoder.checkpoint")
    wanted = Wanted("encoder", name, repository, repository, "/path/of/its/folder")
    if folder := named_folder(wanted, "encoder.repository"):
        return folder
    files = ["*.json", *(["*.py"] if with_code else [])]
    return hub_folder(wanted, files, ["model*.safetensors", "pytorch_model*.bin"], _is_whole)


def _is_whole(folder: Path) -> bool:
    """Whether a folder of the cache has all that is needed, including every shard of the weights."""
    has_processor = any((folder / file).is_file() for file in PROCESSORS)
    return holds_weights(folder) and (folder / CONFIG).is_file() and has_processor
