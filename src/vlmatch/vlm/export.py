"""Export of a trained VLM as a LLaVA checkpoint, which transformers loads without this package.

LLaVA calls the encoder the tower.
"""

import copy
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlmatch.encoders.transformers_models import TransformersEncoder
from vlmatch.errors import VlmatchError, one_line
from vlmatch.llms.quiet import without_progress_bars
from vlmatch.probes.llava_format import PLACE
from vlmatch.vlm.conversations import Conversations
from vlmatch.vlm.lora import lora_state
from vlmatch.vlm.model import VLM
from vlmatch.vlm.processor import example_picture, image_token, prepared_example, processor_of
from vlmatch.vlm.projector import Projector
from vlmatch.vlm.tokens import IMAGE, Tokenised, encode, expanded

LAYER = -2  # the hidden state that `TransformersEncoder.tokens` returns
PROMPT = f"A picture:{PLACE}\nIt shows"
TOLERANCE = 1e-4  # largest difference, as a part of the largest logit: sums are taken in another order
TOLERANCE_OF_HALF = 0.05  # the same for an LLM in 16 bits, which the comparison computes in 32


def export_llava(vlm: VLM, folder: Path, *, template: str | None = None, pad: Sequence[int] | None = None) -> list[str]:
    """Write `vlm` to `folder` for `LlavaForConditionalGeneration.from_pretrained` and `AutoProcessor`.

    Before `folder` gets its name, transformers loads the checkpoint back, and its logits must be the VLM's. LoRA is
    merged into the weights; `vlm` itself does not change. Weights keep their dtypes; if these differ, transformers
    loads all weights in the encoder's, unless it is given another.

    template, pad: the template of the conversations and the colour of the squares in training (`LlavaJson`), which the
    processor takes over. Returns notes, a line for each thing that the processor does in another way than the training.
    Raises VlmatchError if LLaVA's classes can't compute what the VLM computes, or if `folder` is not empty.
    """
    tower = exportable_tower(vlm)
    activation, projector = llava_projector(vlm.projector)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VlmatchError(f"task.to='{folder}' exists already; give a new folder")
    prefix = prefix_tokens(tower)
    tokenizer, image_id = image_token(vlm.tokenizer)
    config = _config(vlm, tower, activation, image_id, prefix)
    ends = vlm.end_ids(() if template is None else Conversations(template, vlm.tokenizer).ends)
    llava = _llava(config, vlm, tower, projector, ends)
    processor = processor_of(tower, tokenizer, prefix, template, pad)
    working = folder.with_name(f".{folder.name}.{os.getpid()}")
    working.mkdir(parents=True)
    try:
        with without_progress_bars():
            llava.save_pretrained(working)
        processor.save_pretrained(working)
        notes = compare(vlm, tower, working, pad)
        os.replace(working, folder)
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return notes


def exportable_tower(vlm: VLM) -> TransformersEncoder:
    """The VLM's encoder. Raises VlmatchError if LLaVA can't have it as its tower, or is given other features."""
    if vlm.visual is None:
        raise VlmatchError(
            "this VLM was trained on cached features and has no encoder; train one with recipe.visual.what=patches and "
            "recipe.visual.cached=false to export it"
        )
    encoder = vlm.visual.encoder
    if not isinstance(encoder, TransformersEncoder):
        raise VlmatchError(
            f"encoder '{encoder.name}' is a {type(encoder).__name__}, and a LLaVA checkpoint can only have an encoder "
            "of transformers; train with a TransformersEncoder (the hub has many models in its format)"
        )
    if vlm.visual.what != "patches":
        raise VlmatchError(
            f"recipe.visual.what='{vlm.visual.what}': LLaVA's projector is given all patches; train with "
            "recipe.visual.what=patches to export it"
        )
    return encoder


def llava_projector(projector: Projector) -> tuple[str, dict[str, Tensor]]:
    """The activation, and the weights of LLaVA's two linear layers, that compute the same as `projector`.

    A linear projector becomes the first layer, without activation; the second is the identity. Raises VlmatchError on
    a projector that LLaVA's can't equal.
    """
    if projector.standardised or projector.norm is not None or projector.tokens != 1:
        found = [
            *(["standardised input"] if projector.standardised else []),
            *(["a normalised output"] if projector.norm is not None else []),
            *([f"{projector.tokens} tokens a feature"] if projector.tokens != 1 else []),
        ]
        raise VlmatchError(
            f"the projector has {' and '.join(found)}, which LLaVA's doesn't have; train with recipe.projector.kind="
            "mlp2x_gelu or linear, tokens=1 and standardised=false to export it"
        )
    layers = projector.layers
    if isinstance(layers, nn.Sequential):
        return "gelu", {
            f"linear_{number}.{name}": value
            for number, place in ((1, 0), (2, 2))
            for name, value in layers[place].state_dict().items()
        }
    first = layers.state_dict()
    identity = torch.eye(len(first["bias"]), dtype=first["bias"].dtype, device=first["bias"].device)
    return "linear", {
        "linear_1.weight": first["weight"],
        "linear_1.bias": first["bias"],
        "linear_2.weight": identity,
        "linear_2.bias": torch.zeros_like(first["bias"]),
    }


@torch.inference_mode()
def prefix_tokens(tower: TransformersEncoder) -> int:
    """How many tokens (CLS) the encoder puts in front of its patches: 0 or 1, since LLaVA can leave out one.

    Raises VlmatchError if there are more, or if the encoder ends in a map.
    """
    if tower.paper_rule == "global average":
        raise VlmatchError(
            f"encoder '{tower.name}' ends in a map ({tower.model.config.model_type}), and LLaVA reads the last but one "
            "hidden state of a vision transformer; train with a vision transformer to export it"
        )
    images = prepared_example(tower, None).to(next(tower.parameters()).device)
    hidden = tower.model(pixel_values=images, output_hidden_states=True).hidden_states[LAYER]
    prefix = int(hidden.shape[1] - tower.tokens(images).shape[1])
    if prefix > 1:
        raise VlmatchError(
            f"encoder '{tower.name}' has {prefix} tokens in front of its patches (CLS, registers), and LLaVA can leave "
            "out only one; train with an encoder without registers to export it"
        )
    return prefix


@torch.inference_mode()
def compare(vlm: VLM, tower: TransformersEncoder, folder: Path, pad: Sequence[int] | None) -> list[str]:
    """Load the checkpoint in `folder` by transformers, and compare its logits with the VLM's on a picture and a text.

    Returns the notes of `export_llava`. Raises VlmatchError if the logits differ.
    """
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    with without_progress_bars():
        llava = LlavaForConditionalGeneration.from_pretrained(folder, local_files_only=True).eval()
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    inputs = processor(images=example_picture(), text=PROMPT, return_tensors="pt")
    pixels = prepared_example(tower, pad)
    sample = Tokenised(*[tuple(encode(vlm.tokenizer, PROMPT, special=True))] * 2)
    ids = torch.tensor([expanded(sample, vlm.tokens_per_image).ids])
    device = vlm.causal_lm.get_input_embeddings().weight.device
    wanted = vlm.causal_lm(inputs_embeds=vlm.embed(ids.to(device), pixels.to(device))).logits.float().cpu()
    theirs = ids.where(ids != IMAGE, llava.config.image_token_id)
    found = llava(input_ids=theirs, pixel_values=pixels).logits.float()[..., : wanted.shape[-1]]
    difference = float((found - wanted).abs().max() / wanted.abs().max())
    if not difference <= (TOLERANCE if vlm.causal_lm.dtype == torch.float32 else TOLERANCE_OF_HALF):
        raise VlmatchError(
            f"the LLaVA checkpoint's logits differ from this VLM's by {difference:.1g} of the largest: LLaVA computes "
            f"{type(vlm.causal_lm).__name__} or encoder '{tower.name}' in another way; nothing was written. Choose "
            "another LLM or encoder"
        )
    notes = []
    if not torch.equal(inputs["input_ids"], theirs):
        notes.append("its tokenizer leaves out a space that was between a picture and the text after it in training")
    if inputs["pixel_values"].shape != pixels.shape or not torch.allclose(inputs["pixel_values"], pixels, atol=1e-5):
        notes.append(
            f"its image processor does not put pictures on a square of colour {list(pad or ())} as in training; do so "
            "before you call it"
        )
    return notes


def merged_state(causal_lm: Any) -> dict[str, Tensor]:
    """The LLM's tensors by name; each adapter is added to the matrix that it adapts, in the matrix's dtype."""
    state = dict(causal_lm.state_dict())
    if not lora_state(causal_lm):
        return state
    from peft.tuners.lora import LoraLayer

    layers: list[tuple[str, Any]] = [(n, m) for n, m in causal_lm.named_modules() if isinstance(m, LoraLayer)]
    for name, layer in layers:
        weight = layer.get_base_layer().weight
        (adapter,) = layer.active_adapters
        state[f"{name}.base_layer.weight"] = (weight.float() + layer.get_delta_weight(adapter).float()).to(weight.dtype)
    return {name.replace(".base_layer", ""): value for name, value in state.items() if "lora_" not in name}


def _config(vlm: VLM, tower: TransformersEncoder, activation: str, image_id: int, prefix: int) -> Any:
    """LLaVA's config. The vocabulary grows only if the embedding table has no row for the image token."""
    from transformers import LlavaConfig

    text, vision = copy.deepcopy(vlm.causal_lm.config), copy.deepcopy(tower.model.config)
    table, head = vlm.causal_lm.get_input_embeddings(), vlm.causal_lm.get_output_embeddings()
    tied = head.weight is table.weight
    text.vocab_size = max(len(table.weight), image_id + 1)
    text.tie_word_embeddings = tied
    text.name_or_path = vision.name_or_path = ""
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=image_id,
        image_seq_length=vlm.tokens_per_image,
        projector_hidden_act=activation,
        vision_feature_layer=LAYER,
        vision_feature_select_strategy="default" if prefix else "full",
        tie_word_embeddings=tied,
    )


def _llava(config: Any, vlm: VLM, tower: TransformersEncoder, projector: dict[str, Tensor], ends: list[int]) -> Any:
    """LLaVA's model with the VLM's own tensors; no memory is allocated for new ones."""
    from transformers import GenerationConfig, LlavaForConditionalGeneration

    try:
        with torch.device("meta"):
            llava = LlavaForConditionalGeneration(config)
    except (ValueError, AttributeError, TypeError) as error:
        raise VlmatchError(
            f"LLaVA can't have a {config.vision_config.model_type} as encoder or a {config.text_config.model_type} as "
            f"LLM ({one_line(error)[:160]}); choose another"
        ) from error
    base, head = vlm.causal_lm.base_model, vlm.causal_lm.get_output_embeddings()
    if type(llava.model.language_model) is not type(base) or head.bias is not None:
        raise VlmatchError(
            f"LLaVA can't have a {type(vlm.causal_lm).__name__} as LLM: wanted a class of transformers, with an output "
            "layer without bias; train with another LLM to export it"
        )
    if type(llava.model.vision_tower) is not type(tower.model):
        raise VlmatchError(
            f"LLaVA can't have encoder '{tower.name}', a {type(tower.model).__name__}: wanted a class of transformers; "
            "train with another encoder to export it"
        )
    state = _state(llava, vlm, tower, projector)
    llava.load_state_dict(state, strict=True, assign=True)
    llava.tie_weights()
    llava.generation_config = GenerationConfig(
        bos_token_id=vlm.tokenizer.bos_token_id,
        eos_token_id=ends or None,
        pad_token_id=vlm.tokenizer.pad_token_id,
        suppress_tokens=[config.image_token_id],
    )
    return llava


def _state(llava: Any, vlm: VLM, tower: TransformersEncoder, projector: dict[str, Tensor]) -> dict[str, Tensor]:
    """All tensors under LLaVA's names.

    A pooler (of a ViT) is filled with zeros: our encoders don't load one, and LLaVA doesn't read its output.
    """
    prefix = f"{vlm.causal_lm.base_model_prefix}."
    llm = merged_state(vlm.causal_lm)
    state = {f"model.vision_tower.{name}": value for name, value in tower.model.state_dict().items()}
    state |= {f"model.multi_modal_projector.{name}": value for name, value in projector.items()}
    state |= {f"model.language_model.{n.removeprefix(prefix)}": v for n, v in llm.items() if n.startswith(prefix)}
    table, head = llava.get_input_embeddings(), llava.get_output_embeddings()
    names = {module: name for name, module in llava.named_modules()}
    state[f"{names[head]}.weight"] = vlm.causal_lm.get_output_embeddings().weight
    for module in (table, head):
        name = f"{names[module]}.weight"
        state[name] = grown(state[name], llava.config.text_config.vocab_size)
    for name, value in llava.state_dict().items():
        if name.startswith("model.vision_tower.pooler."):
            state.setdefault(name, torch.zeros(value.shape))
    return state


def grown(weight: Tensor, rows: int) -> Tensor:
    """`weight` (V, D) with further rows up to (rows, D), each the mean of the V.

    The logit of such a token is the mean of the others, so the token is never the likeliest: its probability is at most
    1 / (V + 1) (Jensen's inequality).
    """
    missing = rows - len(weight)
    mean = weight.float().mean(dim=0, keepdim=True).to(weight.dtype)
    return torch.cat([weight.detach(), mean.expand(missing, -1)]) if missing else weight.detach()
