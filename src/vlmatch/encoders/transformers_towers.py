"""The vision tower of a transformers folder: a vision model, a model of both towers, or a VLM that holds one."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, float32

from vlmatch.encoders.intern_vit import INTERN_VIT, intern_vit_config, intern_vit_state
from vlmatch.encoders.towers import DoesNotFitError, Taken, fitted, tower_in
from vlmatch.encoders.weights import names_in, tensors_of
from vlmatch.errors import VlmatchError, one_line
from vlmatch.machine.disk import is_refused
from vlmatch.machine.memory import is_out_of_memory
from vlmatch.machine.quiet import quiet_transformers
from vlmatch.packages.hub import fetch_again
from vlmatch.packages.model_folders import refuse_deeper, refuse_unmerged, weight_files, why_unloadable
from vlmatch.pickles import refuse_code

CONFIG = "config.json"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")  # either describes the image processor
# Types of models with both towers, and the class that loads the vision tower alone.
_OF_BOTH = {
    "clip": "CLIPVisionModel",
    "metaclip_2": "MetaClip2VisionModel",
    "siglip": "SiglipVisionModel",
    "siglip2": "Siglip2VisionModel",
}

log = logging.getLogger(__name__)


class Loaded(NamedTuple):
    """A vision model in float32, its image processor, and what was taken of the weights."""

    model: Any
    processor: Any
    taken: Taken


@quiet_transformers()
def vision_model(
    name: str,
    folder: Path,
    files: Sequence[Path],
    trust_remote_code: bool,
    entry: str | None = None,
) -> Loaded:
    """The vision model of a folder; every tensor of it comes from `files`: the folder's weights, or one file there.

    entry: see `towers.tower_in`.
    Raises VlmatchError if transformers can't read the folder or does not know its model, if the weights lack a tensor,
    or if they belong to a deeper model than config.json says.
    """
    import transformers

    if trust_remote_code:
        log.warning("encoder '%s': trust_remote_code=true, the code in '%s' will run", name, folder)
    for file in files:
        refuse_code(f"encoder '{name}'", file)
    stated = _stated(name, folder)
    if not any((folder / file).is_file() for file in PROCESSORS):
        raise VlmatchError(
            f"encoder '{name}': '{files[0].parent}' holds no {PROCESSORS[0]}, which says how images are prepared; copy "
            "this file from the base model (the one before fine-tuning) into the folder"
        )
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(folder, trust_remote_code=trust_remote_code)
        inner = None if trust_remote_code else _inner_config(name, folder, stated)
        if inner is None and entry is None and _names(files) == _names(weight_files(folder)):
            model, taken = _of_folder(name, folder, files, trust_remote_code)
        else:
            config = inner or transformers.AutoConfig.from_pretrained(folder)
            model, taken = _of_tensors(name, files, config, entry)
    except VlmatchError:
        raise
    except Exception as error:  # whatever the library and its models raise
        if is_out_of_memory(error) or is_refused(error):
            raise
        raise VlmatchError(
            f"encoder '{name}': '{files[0].parent}' can't be loaded by transformers ({why_unloadable(error)}); "
            f"{_remedy(folder, stated)}"
        ) from error
    if getattr(model.config, "num_hidden_layers", None) == 0:
        raise VlmatchError(
            f"encoder '{name}': '{folder / CONFIG}' says num_hidden_layers=0; give the configuration that belongs to "
            "the weights"
        )
    return Loaded(model, _whole_images(processor), taken)


def _names(files: Sequence[Path]) -> list[str]:
    return [file.name for file in files]


def _stated(name: str, folder: Path) -> dict[str, Any]:
    """What config.json says; VlmatchError names the file if it can't be read."""
    path = folder / CONFIG
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise VlmatchError(
            f"encoder '{name}': '{path}' can't be read ({one_line(error)[:120]}); give a folder with it, "
            f"{PROCESSORS[0]} and the weights, or {fetch_again(folder)}"
        ) from error


def _remedy(folder: Path, stated: Mapping[str, Any]) -> str:
    """What to do if a folder can't be loaded; the repository's code is mentioned only if config.json names some."""
    if "auto_map" in stated:
        return (
            f"its model type '{stated.get('model_type')}' has code of its own: if you trust that code, give "
            "encoder.trust_remote_code=true"
        )
    return (
        f"give a folder with {CONFIG}, {PROCESSORS[0]} and weights of a model that transformers knows, or "
        f"{fetch_again(folder)}"
    )


def _inner_config(name: str, folder: Path, stated: Mapping[str, Any]) -> Any:
    """The configuration of the tower inside a larger model; None if the folder is loaded as it is."""
    import transformers

    kind, vision = stated.get("model_type"), stated.get("vision_config")
    if kind == INTERN_VIT:
        return intern_vit_config(stated)
    if isinstance(vision, Mapping) and kind not in _OF_BOTH:
        if vision.get("model_type") == INTERN_VIT:
            return intern_vit_config(vision)
        return transformers.AutoConfig.from_pretrained(folder).vision_config
    if (tower := stated.get("mm_vision_tower")) is not None and vision is None:
        path = Path(str(tower)).expanduser()
        if not path.is_dir():
            raise VlmatchError(
                f"encoder '{name}': '{folder / CONFIG}' is LLaVA's and names its tower, mm_vision_tower='{tower}', "
                f"without describing it; put the {CONFIG} and {PROCESSORS[0]} of that tower into a folder with these "
                "weights, and give that folder as encoder.checkpoint"
            )
        config = transformers.AutoConfig.from_pretrained(path)
        return getattr(config, "vision_config", config)
    return None


def _of_folder(name: str, folder: Path, files: Sequence[Path], trust_remote_code: bool) -> tuple[Any, Taken]:
    """The model as transformers itself loads it, with its conversions of older names."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    model_class = getattr(transformers, _OF_BOTH.get(config.model_type, "AutoModel"))
    options = _options(config)
    if model_class is transformers.AutoModel:
        options["trust_remote_code"] = trust_remote_code
    model, loading = model_class.from_pretrained(folder, dtype=float32, output_loading_info=True, **options)
    absent = sorted(loading["missing_keys"]) + sorted(str(key) for key in loading["mismatched_keys"])
    unexpected = sorted(loading["unexpected_keys"])
    refuse_unmerged(f"encoder '{name}'", folder, model.state_dict(), unexpected)
    if absent and (not unexpected or 2 * len(absent) < len(model.state_dict())):
        raise _lacks(name, files, model, absent)
    if absent:  # perhaps the tower is in an entry or below a prefix that transformers does not know
        return _of_tensors(name, files, model.config, None)
    loaded = {*model.state_dict(), *(set(names_in(name, files)) - set(unexpected))}
    refuse_deeper(f"encoder '{name}'", folder, loaded, unexpected)
    return model, Taken(dict.fromkeys(model.state_dict(), Tensor()), left_out=unexpected)


def _of_tensors(name: str, files: Sequence[Path], config: Any, entry: str | None) -> tuple[Any, Taken]:
    """The model of a configuration, with its tensors from wherever they are in the files; no other tensors are read."""
    folder = files[0].parent
    model_class = _class_of(config)
    options = _options(config)
    with torch.device("meta"):
        empty = model_class(config, **options)
    own = empty.state_dict()
    places = names_in(name, files)
    try:
        own, taken = _found(name, folder, places, empty, entry)
    except DoesNotFitError as misfit:
        if config.model_type != "internvl_vision":
            raise
        state, taken = intern_vit_state(name, files, own, misfit)
    else:
        start = f"{taken.entry}." if taken.entry else ""
        wanted = {start + key for key in own if start + key in places}
        state = {key.removeprefix(start): value for key, value in tensors_of(name, files, wanted).items()}
    fitted(name, folder, Taken({**own, **state}), own)
    model, loading = model_class.from_pretrained(
        None, config=config, state_dict=state, dtype=float32, output_loading_info=True, **options
    )
    if absent := sorted(loading["missing_keys"]) + sorted(str(key) for key in loading["mismatched_keys"]):
        raise _lacks(name, files, model, absent)
    return model, taken


def _found(
    name: str, folder: Path, places: Mapping[str, Tensor], empty: Any, entry: str | None
) -> tuple[Mapping[str, Tensor], Taken]:
    """The tensors that a model needs, by their names in the files, and what was found there.

    For some models, such as ViT and DINOv2, transformers writes files with the names of its older versions.
    """
    from transformers.core_model_loading import revert_weight_conversion

    own = empty.state_dict()
    try:
        return own, tower_in(name, folder, places, own, entry)
    except DoesNotFitError:
        older = revert_weight_conversion(empty, own)
        if older.keys() == own.keys():
            raise
        return older, tower_in(name, folder, places, older, entry)


def _options(config: Any) -> dict[str, Any]:
    """The options, beside its configuration, that a model is built with: no pooling layer if the rule uses none."""
    return {"add_pooling_layer": False} if config.model_type in ("vit", "deit", "dpt") else {}


def _class_of(config: Any) -> Any:
    """The class that transformers' AutoModel takes for a configuration; it knows all but Qwen2-VL's tower."""
    from transformers import AutoModel
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

    if config.model_type == "qwen2_vl_vision":
        return Qwen2VisionTransformerPretrainedModel
    return AutoModel._model_mapping[type(config)]


def _lacks(name: str, files: Sequence[Path], model: Any, absent: Sequence[str]) -> VlmatchError:
    return VlmatchError(
        f"encoder '{name}': '{files[0]}' lacks {len(absent)} tensors of {type(model).__name__}, first '{absent[0]}'; "
        "they would stay random; give complete weights"
    )


def _whole_images(processor: Any) -> Any:
    """The image processor of a VLM, set to prepare the whole image instead of a grid of its parts."""
    for key, value in (("crop_to_patches", False), ("do_image_splitting", False), ("do_pan_and_scan", False)):
        if getattr(processor, key, None):
            setattr(processor, key, value)
    return processor
