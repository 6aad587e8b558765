"""Every encoder that a yaml takes from a hub: a tiny stand-in of its class, through its loader, against the library."""

import re
from collections import Counter
from typing import Any

import open_clip
import pytest
import timm
import torch
from hydra.utils import instantiate
from torch import Tensor, nn
from torchvision.models import get_model_weights

from encoders import stand_ins
from encoders.conftest import counting, encoder_configs
from vlmatch.configs import yaml_path
from vlmatch.encoders.catalogue import catalogue

HUB_LOADERS = ("OpenClipEncoder", "TimmEncoder", "TransformersEncoder", "TorchvisionHubEncoder")
RULES = {
    "CLS": "cls",
    "Attention pool": "attention pool",
    "Mean patch": "mean patch",
    "Global average": "global average",
}


def hub_configs() -> dict[str, dict[str, Any]]:
    """The yamls whose weights come from a hub by the name of a tag, entry or repository."""
    named = encoder_configs().items()
    hub = {name: config for name, config in named if config["_target_"].rpartition(".")[2] in HUB_LOADERS}
    return {name: config for name, config in hub.items() if not config["checkpoint"]}


def first_line(name: str) -> tuple[int, str]:
    """What the first line of a yaml promises: the tokens of a side of the grid, and the feature rule."""
    line = yaml_path("encoder", name).read_text().splitlines()[0]
    found = re.search(rf", (\d+) x \1 tokens of (?:its neck's )?\d+(?:: .*)?\. ({'|'.join(RULES)})", line)
    assert found, f"{name}: {line}"
    return int(found[1]), found[2].lower()


def by_family() -> list[Any]:
    """The encoders; the first of each family runs in `make test`, its siblings in `make test-full`."""
    seen: Counter[str] = Counter()
    found = []
    for name in hub_configs():
        family = catalogue()[name].family
        seen[family] += 1
        found.append(pytest.param(name, marks=[pytest.mark.slow] if seen[family] > 1 else []))
    return found


@pytest.mark.parametrize("name", by_family())
@torch.inference_mode()
def test_a_stand_in_gives_the_librarys_own_feature_and_tokens_without_prefix(name, tmp_path, photos, monkeypatch):
    config = hub_configs()[name]
    library, checkpoint = stand_ins.build(config, tmp_path, monkeypatch)
    ours = instantiate(config | {"checkpoint": str(checkpoint)})
    side, rule = first_line(name)
    images = torch.stack([ours.prepare(photo) for photo in photos[:2]])
    feature = ours(images)
    torch.testing.assert_close(feature, own_feature(library, images, rule, side**2), rtol=1e-5, atol=1e-5)
    assert ours.rule == rule
    assert feature.ndim == 2
    assert feature.std() > 1e-2
    assert (feature[0] - feature[1]).abs().max() > 1e-4
    tokens = ours.tokens(images)
    assert tokens.shape[:2] == (2, side**2)
    torch.testing.assert_close(tokens, own_tokens(library, images, side**2), rtol=1e-5, atol=1e-5)
    last = ours.last_patches(images)
    assert last.shape == tokens.shape
    torch.testing.assert_close(last, own_last_patches(library, images, side**2), rtol=1e-5, atol=1e-5)
    ours.choose(None, "mean_patch")
    torch.testing.assert_close(ours(images), last.mean(dim=1))
    if "repository" not in config:  # there the counting script says the size itself
        counted = counting().count(name)
        assert (counted.image_parameters, counted.resolution) == (ours.n_parameters(), images.shape[-1])


def own_feature(library: Any, images: Tensor, rule: str, n_patches: int) -> Tensor:
    """The feature by `rule`, computed by nothing but the library's own modules."""
    if isinstance(library, open_clip.CLIP | open_clip.CustomTextCLIP | open_clip.CoCa):
        return open_clip_feature(library, images, rule, n_patches)
    if hasattr(library, "forward_features"):
        return timm_feature(library, images, rule, n_patches)
    if hasattr(library, "config"):
        last = library(pixel_values=images).last_hidden_state
        if rule == "cls" and hasattr(library, "post_layernorm"):
            return library.post_layernorm(last[:, 0])
        return last[:, 0] if rule == "cls" else last[:, -n_patches:].mean(dim=1)
    classifier = [module for module in library.modules() if isinstance(module, nn.Linear)][-1]
    return stand_ins.caught(classifier, lambda: library(images), inputs=True)


def timm_feature(trunk: Any, images: Tensor, rule: str, n_patches: int) -> Tensor:
    """What a timm model makes of its features by `rule`, its norm after pooling included."""
    features = trunk.forward_features(images)
    if rule == "global average":
        return trunk.forward_head(features, pre_logits=True)
    if rule == "attention pool":
        return trunk.fc_norm(trunk.attn_pool(features))
    return trunk.fc_norm(features[:, 0] if rule == "cls" else features[:, -n_patches:].mean(dim=1))


def open_clip_feature(library: Any, images: Tensor, rule: str, n_patches: int) -> Tensor:
    """The feature by `rule`, and that the library's projection makes its embedding of it."""
    visual, embedding = library.visual, library.encode_image(images, normalize=False)
    if hasattr(visual, "trunk"):
        feature = timm_feature(visual.trunk, images, rule, n_patches)
        head = visual.head if len(visual.head) else final_layer(visual.trunk)
        torch.testing.assert_close(head(feature), embedding, rtol=1e-4, atol=1e-5)
        return feature
    if not hasattr(visual, "transformer"):
        return embedding  # a ResNet's attention pool ends in the projection
    last = stand_ins.caught(visual.ln_post, lambda: visual(images))
    if rule == "mean patch":
        before = stand_ins.caught(visual.ln_post, lambda: visual(images), inputs=True)
        output = stand_ins.caught(visual.transformer, lambda: visual(images))
        torch.testing.assert_close(before, output[:, -n_patches:].mean(dim=1))
    feature = last if last.ndim == 2 else last[:, 0]
    torch.testing.assert_close(feature @ visual.proj, embedding, rtol=1e-4, atol=1e-5)
    return feature


def final_layer(trunk: Any) -> nn.Module:
    """The classifier of a timm model, in which open_clip keeps the projection of some."""
    classifier: nn.Module = trunk.get_classifier()
    return classifier


def own_tokens(library: Any, images: Tensor, n_patches: int) -> Tensor:
    """The last patches out of the library's last block but one; of a model of maps, the cells of its last map."""
    if hasattr(library, "config"):
        return library(pixel_values=images, output_hidden_states=True).hidden_states[-2][:, -n_patches:]
    visual = getattr(library, "visual", library)
    trunk = getattr(visual, "trunk", visual)
    transformer = getattr(trunk, "transformer", trunk)
    blocks = getattr(transformer, "resblocks", getattr(trunk, "blocks", None))
    if blocks is not None and not hasattr(trunk, "neck"):
        return stand_ins.caught(blocks[-2], lambda: visual(images))[:, -n_patches:]
    if hasattr(trunk, "forward_features"):
        cells = trunk.forward_features(images)
    else:
        last = "layer4" if hasattr(trunk, "layer4") else "features" if hasattr(trunk, "features") else "trunk_output"
        cells = stand_ins.caught(trunk.get_submodule(last), lambda: visual(images))
    channels_last = cells.shape[1] == cells.shape[2]
    return cells.flatten(1, 2) if channels_last else cells.flatten(2).transpose(1, 2)


def own_last_patches(library: Any, images: Tensor, n_patches: int) -> Tensor:
    """The last patches after the library's own final norm; of a model of maps, the cells of its last map."""
    if hasattr(library, "config"):
        last = library(pixel_values=images).last_hidden_state
        inner = getattr(library, "vision_model", library)
        return (inner.post_layernorm(last) if hasattr(inner, "post_layernorm") else last)[:, -n_patches:]
    visual = getattr(library, "visual", library)
    trunk = getattr(visual, "trunk", visual)
    if hasattr(trunk, "transformer"):
        before = stand_ins.caught(trunk.transformer, lambda: visual(images))
        pools = getattr(trunk, "attn_pool", None) is not None  # CoCa's norm stands behind its attention pool
        return (before if pools else trunk.ln_post(before))[:, -n_patches:]
    if hasattr(trunk, "blocks") and not hasattr(trunk, "neck"):
        before = stand_ins.caught(trunk.blocks[-1], lambda: visual(images))
        return trunk.norm(before)[:, -n_patches:]
    return own_tokens(library, images, n_patches)


def test_every_name_is_in_the_librarys_own_list():
    tags = set(open_clip.list_pretrained())
    timms = set(timm.list_pretrained())
    for name, config in hub_configs().items():
        if "pretrained" in config:
            tag = (config["architecture"], config["pretrained"])
            assert tag in tags, name
            assert open_clip.get_pretrained_cfg(*tag)["hf_hub"], f"{name}: its weights are not on the hub"
        elif "model" in config:
            assert config["model"] in timms, name
            assert timm.get_pretrained_cfg(config["model"]).hf_hub_id, f"{name}: its weights are not on the hub"
        elif "weights" in config:
            assert config["weights"] in get_model_weights(config["architecture"]).__members__, name
        else:
            assert config["repository"] in stand_ins.REPOSITORIES, f"{name}: stand_ins.py needs its class"


def test_there_are_at_least_thirty_and_each_states_its_licence():
    configs = hub_configs()
    assert len(configs) >= 30
    for name, config in configs.items():
        assert config["name"] == name
        assert config["licence"]["name"], name
        assert config["licence"]["source"].startswith("https://"), name
