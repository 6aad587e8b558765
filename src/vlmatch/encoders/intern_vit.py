"""Load OpenGVLab's InternViT into transformers' InternVLVisionModel, so that the repository's code need not run."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from vlmatch.encoders.towers import DoesNotFitError, Taken
from vlmatch.encoders.weights import names_in, tensors_of
from vlmatch.packages.model_folders import refuse_deeper

INTERN_VIT = "intern_vit_6b"  # the model type of all sizes
_RENAMED = (
    (r"^embeddings\.class_embedding$", "embeddings.cls_token"),
    (r"^embeddings\.position_embedding$", "embeddings.position_embeddings"),
    (r"^embeddings\.patch_embedding\.", "embeddings.patch_embeddings.projection."),
    (r"^encoder\.layers\.", "encoder.layer."),
    (r"\.attn\.proj\.", ".attention.projection_layer."),
    (r"\.attn\.([qk]_norm)\.", r".attention.\1."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.ls1$", ".lambda_1"),
    (r"\.ls2$", ".lambda_2"),
)
_CLASS = "embeddings.class_embedding"


def intern_vit_config(stated: Mapping[str, Any]) -> Any:
    """transformers' configuration of an InternViT. stated: its config.json, or the vision part of an InternVL's."""
    from transformers import InternVLVisionConfig

    same = (
        "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "image_size",
        "patch_size", "layer_norm_eps", "norm_type",
    )  # fmt: skip
    return InternVLVisionConfig(
        **{key: stated[key] for key in same if key in stated},
        attention_bias=bool(stated.get("qkv_bias", False)),
        use_qk_norm=bool(stated.get("qk_normalization", False)),
        use_mean_pooling=True,  # so that no norm follows the last block, as in InternViT
    )


def intern_vit_state(
    name: str, files: Sequence[Path], own: Mapping[str, Tensor], misfit: DoesNotFitError
) -> tuple[dict[str, Tensor], Taken]:
    """The tensors by transformers' names, and what was taken; raises `misfit` if the files hold no InternViT.

    own: the state dict of transformers' model.
    """
    places = names_in(name, files)
    entry = next((key.removesuffix(_CLASS) for key in places if key.endswith(_CLASS)), None)
    if entry is None:
        raise misfit
    originals = {key: _renamed(key.removeprefix(entry)) for key in places if key.startswith(entry)}
    taken = {key for key, names in originals.items() if set(names) <= set(own)}
    if set(own) - {each for key in taken for each in originals[key]}:
        raise misfit
    refuse_deeper(f"encoder '{name}'", files[0].parent, taken, [key for key in places if key not in taken])
    state: dict[str, Tensor] = {}
    for key, value in tensors_of(name, files, taken).items():
        names = originals[key]
        state |= dict(zip(names, value.chunk(len(names)) if len(names) > 1 else [value], strict=True))
    return state, Taken(state, entry.rstrip("."), [key for key in places if key not in taken])


def _renamed(key: str) -> list[str]:
    """The names that transformers has for a tensor of InternViT: three for the joint queries, keys and values."""
    if found := re.fullmatch(r"encoder\.layers\.(\d+)\.attn\.qkv\.(weight|bias)", key):
        return [f"encoder.layer.{found[1]}.attention.{part}_proj.{found[2]}" for part in "qkv"]
    for pattern, replacement in _RENAMED:
        key = re.sub(pattern, replacement, key)
    return [key]
