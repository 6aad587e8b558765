"""Tiny stand-ins of the hub's models: the library builds the same class at a small size, with random weights."""

import copy
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
import transformers
from safetensors.torch import save_file
from timm.models import _registry as timm_registry
from timm.models.vitamin import VitCfg, VitConvCfg
from torch import Tensor, nn
from torchvision.models import _api as torchvision_registry
from torchvision.models import efficientnet, get_model, regnet, resnet

# Arguments of timm's builders that make a family small, by the start of the architecture's name; '': ViT and its kin.
TIMM_SIZES: dict[str, dict[str, Any]] = {
    "convnext": {"depths": (1, 1, 2, 1), "dims": (8, 8, 16, 40)},
    "swin": {"embed_dim": 8, "depths": (1, 2, 1, 1), "num_heads": (1, 1, 2, 2)},
    "samvit": {"depth": 2, "embed_dim": 32, "num_heads": 2, "global_attn_indexes": ()},
    "fastvit": {"layers": (1, 1, 1, 1), "embed_dims": (8, 8, 16, 32)},
    "vitamin": {
        "depth": 3,
        "embed_dim": 96,
        "num_heads": 2,
        "embed_cfg": VitCfg(
            embed_dim=(8, 16, 96),
            depths=(1, 1, 1),
            stem_width=8,
            conv_cfg=VitConvCfg(norm_layer="layernorm2d", norm_eps=1e-6),
            head_type="1d",
        ),
    },
    "": {"depth": 3, "embed_dim": 96, "num_heads": 2},
}
TEXT = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
TOKENS = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
# What each repository's config.json says of class and input.
REPOSITORIES: dict[str, Callable[[], Any]] = {
    "facebook/dinov2-base": lambda: transformers.Dinov2Config(**TOKENS, image_size=518, patch_size=14),
    "facebook/ijepa_vith14_1k": lambda: transformers.IJepaConfig(**TOKENS, image_size=224, patch_size=14),
    "facebook/ijepa_vith14_22k": lambda: transformers.IJepaConfig(**TOKENS, image_size=224, patch_size=14),
    "facebook/webssl-dino300m-full2b-224": lambda: transformers.Dinov2Config(**TOKENS, image_size=224, patch_size=14),
    "facebook/webssl-dino1b-full2b-224": lambda: transformers.Dinov2Config(**TOKENS, image_size=224, patch_size=14),
    "DeepGlint-AI/mlcd-vit-large-patch14-336": lambda: transformers.MLCDVisionConfig(
        **TOKENS, image_size=336, patch_size=14
    ),
    "Intel/dpt-large": lambda: transformers.DPTConfig(
        **TOKENS, image_size=384, patch_size=16, backbone_out_indices=[0, 1, 1, 2], neck_hidden_sizes=[8, 8, 8, 8]
    ),
}
# What each repository's preprocessor_config.json says of the size: the smallest that gives its yaml's grid.
IMAGE_SIZES = {"facebook/dinov2-base": 224, "Intel/dpt-large": 384}
TORCHVISION: dict[str, Callable[..., nn.Module]] = {
    "resnet": lambda **_: resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], width_per_group=8),
    "efficientnet_v2": lambda **_: efficientnet.EfficientNet(
        [
            efficientnet.FusedMBConvConfig(1, 3, 2, 8, 8, 1),
            efficientnet.FusedMBConvConfig(2, 3, 2, 8, 16, 1),
            efficientnet.MBConvConfig(2, 3, 2, 16, 16, 1),
            efficientnet.MBConvConfig(2, 3, 2, 16, 24, 1),
        ],
        dropout=0.4,
        last_channel=48,
        norm_layer=partial(nn.BatchNorm2d, eps=1e-3),
    ),
    "regnet": lambda **_: regnet.RegNet(
        regnet.BlockParams.from_init_params(depth=6, w_0=16, w_a=16.0, w_m=2.0, group_width=8, se_ratio=0.25)
    ),
}


def build(config: dict[str, Any], folder: Path, monkeypatch: Any) -> tuple[Any, Path]:
    """A stand-in of an encoder's yaml, in evaluation mode, and the checkpoint that its loader will read."""
    torch.manual_seed(0)
    loader = config["_target_"].rpartition(".")[2]
    if loader == "TransformersEncoder":
        return of_transformers(config["repository"], folder)
    if loader == "OpenClipEncoder":
        shrink_open_clip(config["architecture"], monkeypatch)
        tag = open_clip.get_pretrained_cfg(config["architecture"], config["pretrained"])
        options = {"force_quick_gelu": bool(tag.get("quick_gelu")), "force_image_size": config.get("image_size")}
        model = open_clip.create_model(config["architecture"], **options)
    elif loader == "TimmEncoder":
        shrink_timm(config["model"].partition(".")[0], monkeypatch)
        size = {"img_size": config["image_size"]} if config.get("image_size") else {}
        model = timm.create_model(config["model"], **size)
    else:
        shrink_torchvision(config["architecture"], monkeypatch)
        model = get_model(config["architecture"])
    disturb(model)
    path = folder / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    return model.eval(), path


def shrink_timm(architecture: str, monkeypatch: Any) -> None:
    """Have timm build `architecture` small; `create_model`, which loads, stays as it is."""
    size = next(size for start, size in TIMM_SIZES.items() if architecture.startswith(start))
    original = timm_registry.model_entrypoint(architecture)
    small = lambda *positional, **options: original(*positional, **(size | options))  # noqa: E731
    monkeypatch.setitem(timm_registry._model_entrypoints, architecture, small)


def shrink_open_clip(architecture: str, monkeypatch: Any) -> None:
    """Have open_clip build both towers of `architecture` small."""
    config = copy.deepcopy(open_clip.get_model_config(architecture))
    vision = config["vision_cfg"]
    if "timm_model_name" in vision:
        shrink_timm(vision["timm_model_name"], monkeypatch)
    elif isinstance(vision["layers"], list):
        vision |= {"layers": [1, 1, 1, 1], "width": 8}
    else:
        vision |= {"layers": 3, "width": 32, "head_width": 16}
    if "attn_pooler_heads" in vision:
        vision["attn_pooler_heads"] = 2
    if "multimodal_cfg" in config:
        config["multimodal_cfg"] |= TEXT | {"attn_pooler_heads": 2}
    config["text_cfg"] |= TEXT
    config["embed_dim"] = 96 if vision.get("timm_proj") == "none" else 24
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, architecture, config)


def shrink_torchvision(architecture: str, monkeypatch: Any) -> None:
    """Have torchvision build `architecture` small."""
    small = next(build for start, build in TORCHVISION.items() if architecture.startswith(start))
    original = torchvision_registry.BUILTIN_MODELS[architecture]  # its signature names the weights
    monkeypatch.setitem(torchvision_registry.BUILTIN_MODELS, architecture, wraps(original)(small))


def of_transformers(repository: str, folder: Path) -> tuple[Any, Path]:
    """A stand-in of a repository on the hub, saved with an image processor as a folder that its loader reads."""
    config = REPOSITORIES[repository]()
    model = transformers.AutoModel.from_config(config)
    disturb(model)
    model.save_pretrained(folder)
    side = IMAGE_SIZES.get(repository, config.image_size)
    transformers.ViTImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)
    return model.eval(), folder


@torch.no_grad()
def disturb(model: nn.Module) -> None:
    """Move every weight off its initial value, so that no norm, scale or token is without effect."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)


def caught(module: nn.Module, run: Callable[[], Any], *, inputs: bool = False) -> Tensor:
    """What goes out of `module` (or into it) while `run` runs."""
    found: list[Tensor] = []
    if inputs:
        handle = module.register_forward_pre_hook(lambda module, given: found.append(given[0]))
    else:
        handle = module.register_forward_hook(lambda module, given, output: found.append(output))
    run()
    handle.remove()
    return found[-1]
