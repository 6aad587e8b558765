"""Count parameters and FLOPs of the catalogue's encoders on torch's meta device: `python perf/catalogue.py [--write]`.

Nothing is downloaded and no weights are allocated. The libraries build their own architectures at full size, without
the parts that our encoder classes cut off, and process one image of the right size. A multiplication and an addition
are two operations, as in `torch.utils.flop_counter`. The program prints every figure that differs from catalogue.csv.
With `--write` it also replaces these figures there. It changes only the counted columns.
"""

import argparse
import csv
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vlmatch.configs import yaml_path
from vlmatch.encoders import catalogue, openclip, timm_models
from vlmatch.encoders.maps import torchvision_model

META = torch.device("meta")
# Settings in each repository's config.json that differ from the defaults of its config class.
WEB = {"image_size": 224, "patch_size": 14}
WEB_300M = WEB | {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
WEB_1B = WEB | {"hidden_size": 1536, "num_hidden_layers": 40, "num_attention_heads": 24}
MLCD = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
REPOSITORIES: dict[str, tuple[str, dict[str, Any], int]] = {
    "facebook/dinov2-base": ("Dinov2Config", {"image_size": 518, "patch_size": 14}, 224),
    "facebook/ijepa_vith14_1k": ("IJepaConfig", {}, 224),
    "facebook/ijepa_vith14_22k": ("IJepaConfig", {}, 224),
    "Intel/dpt-large": ("DPTConfig", {}, 384),
    "DeepGlint-AI/mlcd-vit-large-patch14-336": ("MLCDVisionConfig", {}, 336),
    "facebook/webssl-dino300m-full2b-224": ("Dinov2Config", WEB_300M, 224),
    "facebook/webssl-dino1b-full2b-224": ("Dinov2Config", WEB_1B, 224),
}
IJEPA = {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "intermediate_size": 5120}
DPT = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
SIZES = {
    "IJepaConfig": IJEPA | {"patch_size": 14},
    "DPTConfig": DPT | {"image_size": 384},
    "MLCDVisionConfig": MLCD | {"image_size": 336, "patch_size": 14},
}


@dataclass(frozen=True)
class Figures:
    """The counted figures: parameters, billions of operations per image, side of the image in pixels, tokens."""

    image_parameters: int
    total_parameters: int
    gflops: float
    resolution: int
    visual_tokens: int


def main(arguments: list[str] | None = None) -> None:
    """Count every row whose model can be built; print the differences, and write them if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="replace the counted columns of catalogue.csv")
    parser.add_argument("names", nargs="*", help="encoders to count; default: all")
    options = parser.parse_args(arguments)
    with catalogue.FILE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if unknown := sorted(set(options.names) - {row["name"] for row in rows}):
        parser.error(f"{catalogue.FILE.name} has no row for {unknown[0]}; add it first, with 0 in the counted columns")
    for row in rows:
        if not options.names or row["name"] in options.names:
            recount(row)
    if options.write:
        with catalogue.FILE.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def recount(row: dict[str, str]) -> None:
    """Put the counted figures into a row of the catalogue, and print those that change."""
    counted = count(row["name"])
    for column, value in asdict(counted).items() if counted else ():
        if row[column] != str(value):
            print(f"{row['name']}, {column}: {row[column] or 'empty'} -> {value}", flush=True)
            row[column] = str(value)


def count(name: str) -> Figures | None:
    """Count the model of an encoder's yaml; None if only its class or its checkpoint defines the model."""
    config = yaml.safe_load(yaml_path("encoder", name).read_text())
    counter = COUNTERS.get(config["_target_"].rpartition(".")[2])
    if counter is None or config.get("checkpoint") or config.get("layer"):
        return None
    with warnings.catch_warnings(), torch.inference_mode(False), torch.enable_grad():  # fused kernels are not counted
        warnings.simplefilter("ignore")
        return counter(config)


def of_open_clip(config: dict[str, Any]) -> Figures:
    """Count a vision tower of open_clip. The total includes the text tower and the projections."""
    import open_clip

    size = config.get("image_size")
    with META:
        model = open_clip.create_model(config["architecture"], device=META, force_image_size=size).eval()
    total = parameters(model)
    side = first(model.visual.image_size)
    openclip.drop_projection(config["name"], model.visual)
    encoder = openclip.OpenClipEncoder.__new__(openclip.OpenClipEncoder)
    nn.Module.__init__(encoder)
    encoder.visual = model.visual
    return figures(encoder.visual, total, side, encoder.paper_feature, encoder.tokens)


def of_timm(config: dict[str, Any]) -> Figures:
    """Count a timm model. The total includes the classifier."""
    import timm

    size = {"img_size": config["image_size"]} if config.get("image_size") else {}
    with META:
        trunk = timm.create_model(config["model"], **size).eval()
    total = parameters(trunk)
    trunk.reset_classifier(0)
    timm_models.repool(config["name"], trunk, config.get("pool"))
    side = config.get("image_size") or trunk.pretrained_cfg["input_size"][1]
    pooled = lambda images: timm_models.pooled(trunk, images)  # noqa: E731
    return figures(trunk, total, side, pooled, lambda images: timm_models.patch_tokens(trunk, images))


def of_transformers(config: dict[str, Any]) -> Figures:
    """Count a vision model of transformers, built by the repository's config."""
    import transformers

    kind, changes, side = REPOSITORIES[config["repository"]]
    settings = getattr(transformers, kind)(**SIZES.get(kind, {}), **changes)
    options = {"add_pooling_layer": False} if kind == "DPTConfig" else {}
    with META:
        model = transformers.AutoModel.from_config(settings, **options).eval()
    n_patches = (side // settings.patch_size) ** 2
    hidden = lambda images: model(pixel_values=images).last_hidden_state  # noqa: E731
    return figures(model, parameters(model), side, hidden, lambda images: hidden(images)[:, -n_patches:])


def of_torchvision(config: dict[str, Any]) -> Figures:
    """Count a torchvision trunk. The total includes the classifier."""
    from torchvision.models import get_model, get_model_weights
    from torchvision.models.feature_extraction import create_feature_extractor

    model = torchvision_model(config["name"], config["architecture"], config["node"])
    trunk = create_feature_extractor(model, {config["node"]: "map"}).to(META)
    total = parameters(get_model(config["architecture"]))
    if "preprocessing" in config:
        side = config["preprocessing"]["size"]
    else:
        side = first(get_model_weights(config["architecture"])[config["weights"]].transforms().crop_size)
    last = lambda images: trunk(images)["map"]  # noqa: E731
    return figures(trunk, total, side, last, lambda images: last(images).flatten(2).transpose(1, 2))


def of_efficientnet_lite(config: dict[str, Any]) -> Figures:
    """Count an EfficientNet-Lite as timm builds it."""
    import timm

    with META:
        total = parameters(timm.create_model(config["architecture"]))
        trunk = timm.create_model(config["architecture"], num_classes=0).eval()
    tokens = lambda images: trunk.forward_features(images).flatten(2).transpose(1, 2)  # noqa: E731
    return figures(trunk, total, config["preprocessing"]["size"], trunk.forward_features, tokens)


def figures(
    module: nn.Module,
    total: int,
    side: int,
    feature: Callable[[Tensor], Tensor],
    tokens: Callable[[Tensor], Tensor],
) -> Figures:
    """Count the operations of `feature` on one image of `side` x `side` pixels, and the parameters of `module`."""
    image = torch.empty(1, 3, side, side, device=META)
    with FlopCounterMode(display=False) as counter:
        feature(image)
    gflops = float(f"{counter.get_total_flops() / 1e9:.4g}")
    return Figures(parameters(module), total, gflops, side, tokens(image).shape[1])


def parameters(module: nn.Module) -> int:
    """The number of parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def first(size: int | tuple[int, ...] | list[int]) -> int:
    """The side of a square size."""
    return size if isinstance(size, int) else size[0]


COUNTERS: dict[str, Callable[[dict[str, Any]], Figures]] = {
    "OpenClipEncoder": of_open_clip,
    "TimmEncoder": of_timm,
    "TransformersEncoder": of_transformers,
    "TorchvisionHubEncoder": of_torchvision,
    "TorchvisionEncoder": of_torchvision,
    "RandomConvnet": of_torchvision,
    "EfficientNetLite": of_efficientnet_lite,
}

if __name__ == "__main__":
    main()
