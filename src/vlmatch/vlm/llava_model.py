"""LLaVA's model for an exported VLM: its config, and the VLM's own tensors under LLaVA's names."""

import copy
from typing import Any

import torch
from torch import Tensor

from vlmatch.encoders.transformers_models import TransformersEncoder
from vlmatch.errors import VlmatchError, one_line
from vlmatch.vlm.lora import lora_state
from vlmatch.vlm.model import VLM

LAYER = -2  # the hidden state that `TransformersEncoder.tokens` returns


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


def llava_config(vlm: VLM, tower: TransformersEncoder, activation: str, image_id: int, prefix: int) -> Any:
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


def llava_model(
    config: Any, vlm: VLM, tower: TransformersEncoder, projector: dict[str, Tensor], ends: list[int]
) -> Any:
    """LLaVA's model with the VLM's own tensors; no memory is allocated for new ones."""
    from transformers import GenerationConfig, LlavaForConditionalGeneration

    try:
        with torch.device("meta"):
            llava = LlavaForConditionalGeneration(config)
    except (ValueError, AttributeError, TypeError) as error:
        raise VlmatchError(
            f"LLaVA can't use a {config.vision_config.model_type} as encoder or a {config.text_config.model_type} as "
            f"LLM ({one_line(error)[:160]}); choose another"
        ) from error
    base, head = vlm.causal_lm.base_model, vlm.causal_lm.get_output_embeddings()
    if type(llava.model.language_model) is not type(base) or head.bias is not None:
        raise VlmatchError(
            f"LLaVA can't use a {type(vlm.causal_lm).__name__} as LLM: wanted a class of transformers, with an output "
            "layer without bias; train with another LLM to export it"
        )
    if type(llava.model.vision_tower) is not type(tower.model):
        raise VlmatchError(
            f"LLaVA can't use encoder '{tower.name}', a {type(tower.model).__name__}: wanted a class of transformers; "
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
    """`weight` (V, D), grown to (rows, D): each new row is the mean of the V rows.

    The logit of a new token is the mean of the V logits, so the token is never the likeliest: its probability is at
    most 1 / (V + 1) (Jensen's inequality).
    """
    missing = rows - len(weight)
    mean = weight.float().mean(dim=0, keepdim=True).to(weight.dtype)
    return torch.cat([weight.detach(), mean.expand(missing, -1)]) if missing else weight.detach()
