"""Export of a trained VLM as a LLaVA checkpoint, which transformers loads without this package.

LLaVA calls the encoder the tower.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vlmatch.encoders.transformers_models import TransformersEncoder
from vlmatch.errors import VlmatchError
from vlmatch.files import unused_name
from vlmatch.machine.quiet import quiet_transformers
from vlmatch.probes.llava_format import PLACE
from vlmatch.vlm.conversations import Conversations, adds_bos
from vlmatch.vlm.llava_model import LAYER, llava_config, llava_model
from vlmatch.vlm.model import VLM
from vlmatch.vlm.processor import example_picture, image_token, prepared_example, processor_of
from vlmatch.vlm.projector import Projector
from vlmatch.vlm.tokens import IMAGE, Tokenised, encode, expanded

PROMPT = f"A picture:{PLACE}\nIt shows"
TOLERANCE = 1e-4  # largest difference allowed, as a part of the largest logit: sums may have another order
TOLERANCE_OF_HALF = 0.05  # the same for an LLM in 16 bits; LLaVA's logits are then computed in 32 bits


def export_llava(vlm: VLM, folder: Path, *, template: str | None = None, pad: Sequence[int] | None = None) -> list[str]:
    """Write `vlm` to `folder` for `LlavaForConditionalGeneration.from_pretrained` and `AutoProcessor`.

    The checkpoint is written beside `folder` and loaded by transformers. It is moved to `folder` if its logits equal
    the VLM's. LoRA is merged into the weights, but `vlm` itself does not change. Weights keep their dtypes. If
    encoder and LLM have different ones, transformers loads all weights in the encoder's dtype, unless you name another.

    template, pad: the template of the conversations and the colour of the squares in training (`LlavaJson`); the
    processor uses the same. Returns notes: one line for each difference between the processor and the training.
    Raises VlmatchError if LLaVA's classes can't compute what the VLM computes, or if `folder` is not empty.
    """
    tower = exportable_tower(vlm)
    activation, projector = llava_projector(vlm.projector)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VlmatchError(f"task.to='{folder}' exists already; give a new folder")
    prefix = prefix_tokens(tower)
    tokenizer, image_id = image_token(vlm.tokenizer, template)
    config = llava_config(vlm, tower, activation, image_id, prefix)
    ends = vlm.end_ids(() if template is None else Conversations(template, vlm.tokenizer).ends)
    llava = llava_model(config, vlm, tower, projector, ends)
    processor = processor_of(tower, tokenizer, prefix, template, pad)
    working = unused_name(folder)
    working.mkdir(parents=True)
    try:
        with quiet_transformers():
            llava.save_pretrained(working)
        processor.save_pretrained(working)
        notes = compare(vlm, tower, working, template, pad)
        os.replace(working, folder)
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return notes


def exportable_tower(vlm: VLM) -> TransformersEncoder:
    """The VLM's encoder. Raises VlmatchError if it can't be LLaVA's tower, or if the projector gets no patches."""
    if vlm.visual is None:
        raise VlmatchError(
            "this VLM was trained on cached features and has no encoder; to export a VLM, train it with "
            "recipe.visual.what=patches and recipe.visual.cached=false"
        )
    encoder = vlm.visual.encoder
    if not isinstance(encoder, TransformersEncoder):
        raise VlmatchError(
            f"encoder '{encoder.name}' is a {type(encoder).__name__}, but a LLaVA checkpoint can only have an encoder "
            "of transformers; train with a TransformersEncoder (the hub has many models in its format)"
        )
    if vlm.visual.what != "patches":
        raise VlmatchError(
            f"recipe.visual.what='{vlm.visual.what}', but LLaVA's projector gets all patches; train with "
            "recipe.visual.what=patches to export it"
        )
    return encoder


def llava_projector(projector: Projector) -> tuple[str, dict[str, Tensor]]:
    """The activation, and the weights of LLaVA's two linear layers, that compute the same as `projector`.

    A linear projector becomes the first layer, without activation; the second is the identity. Raises VlmatchError if
    LLaVA's projector can't compute the same.
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
    """How many tokens (CLS) the encoder puts in front of its patches: 0 or 1, since LLaVA can leave out only one.

    Raises VlmatchError if there are more, or if the encoder's output is a feature map.
    """
    if tower.paper_rule == "global average":
        raise VlmatchError(
            f"encoder '{tower.name}' ({tower.model.config.model_type}) gives a feature map, but LLaVA reads the "
            "penultimate hidden state of a vision transformer; train with a vision transformer to export it"
        )
    images = prepared_example(tower, None).to(next(tower.parameters()).device)
    hidden = tower.model(pixel_values=images, output_hidden_states=True).hidden_states[LAYER]
    prefix = int(hidden.shape[1] - tower.tokens(images).shape[1])
    if prefix > 1:
        raise VlmatchError(
            f"encoder '{tower.name}' has {prefix} tokens in front of its patches (CLS, registers), but LLaVA can leave "
            "out only one; train with an encoder without registers to export it"
        )
    return prefix


@torch.inference_mode()
def compare(
    vlm: VLM, tower: TransformersEncoder, folder: Path, template: str | None, pad: Sequence[int] | None
) -> list[str]:
    """Load the checkpoint in `folder` with transformers, and compare its logits with the VLM's on one picture and text.

    Returns the notes of `export_llava`. Raises VlmatchError if the logits differ.
    """
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    with quiet_transformers():
        llava = LlavaForConditionalGeneration.from_pretrained(folder, local_files_only=True).eval()
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    inputs = processor(images=example_picture(), text=PROMPT, return_tensors="pt")
    pixels = prepared_example(tower, pad)
    sample = Tokenised(*[tuple(encode(vlm.tokenizer, PROMPT, special=adds_bos(template)))] * 2)
    ids = torch.tensor([expanded(sample, vlm.tokens_per_image).ids])
    device = vlm.causal_lm.get_input_embeddings().weight.device
    wanted = vlm.causal_lm(inputs_embeds=vlm.embed(ids.to(device), pixels.to(device))).logits.float().cpu()
    theirs = ids.where(ids != IMAGE, llava.config.image_token_id)
    found = llava(input_ids=theirs, pixel_values=pixels).logits.float()[..., : wanted.shape[-1]]
    difference = float((found - wanted).abs().max() / wanted.abs().max())
    if not difference <= (TOLERANCE if vlm.causal_lm.dtype == torch.float32 else TOLERANCE_OF_HALF):
        raise VlmatchError(
            f"the LLaVA checkpoint's logits differ from this VLM's by {difference:.1g} of the largest logit: LLaVA "
            f"computes {type(vlm.causal_lm).__name__} or encoder '{tower.name}' in another way; nothing was written. "
            "Choose another LLM or encoder"
        )
    notes = []
    if not torch.equal(inputs["input_ids"], theirs):
        notes.append("its tokenizer leaves out the space between a picture and the text after it; training had one")
    if inputs["pixel_values"].shape != pixels.shape or not torch.allclose(inputs["pixel_values"], pixels, atol=1e-5):
        notes.append(
            f"its image processor does not put pictures on a square of colour {list(pad or ())}, as the training did; "
            "do so before you call it"
        )
    return notes
