"""Builds the VLM of a recipe before its training; the projector's weights are drawn by the seed."""

import torch

from vlmatch.encoders.base import Encoder
from vlmatch.foreign import model_faults
from vlmatch.llms.language_model import LanguageModel
from vlmatch.settings.recipe import RecipeSettings, What
from vlmatch.vlm.model import VLM
from vlmatch.vlm.projector import Projector
from vlmatch.vlm.visual import VisualInput


def build_vlm(recipe: RecipeSettings, llm: LanguageModel, encoder: Encoder | None, shape: tuple[int, int]) -> VLM:
    """The VLM of a recipe before its training.

    encoder: None if its features are cached. shape: the number of features of an image, and their width. Raises
    VlmatchError if the LLM does not read embeddings in place of token ids.
    """
    # Fused attention is faster on a GPU. On a CPU, its backward pass would take half of a step's time.
    if not torch.cuda.is_available():
        llm.causal_lm.set_attn_implementation("eager")
    require_reads_embeddings(llm)
    torch.manual_seed(recipe.seed)
    projector = Projector(
        shape[1],
        llm.causal_lm.get_input_embeddings().weight.shape[1],
        scale=embedding_scale(llm),
        **recipe.projector.model_dump(),
    )
    return VLM(llm, projector, None if encoder is None else VisualInput(encoder, recipe.visual.what), shape[0])


def feature_shape(encoder: Encoder, what: What) -> tuple[int, int]:
    """The number of features of an image, and their width, found by running the encoder on a grey image."""
    from PIL import Image

    remedy = f"try it: task=check encoder={encoder.name}"
    with torch.inference_mode(), model_faults("encoder", encoder.name, "running one image", remedy):
        prepared = encoder.prepare(Image.new("RGB", (336, 336), "grey"))
        found = VisualInput(encoder, what)(encoder.collate([prepared]))
    return int(found.shape[1]), int(found.shape[2])


@torch.inference_mode()
def require_reads_embeddings(llm: LanguageModel) -> None:
    """Raise VlmatchError if the LLM can't read an embedding that no token has, as visual tokens are."""
    weight = llm.causal_lm.get_input_embeddings().weight
    remedy = "a VLM can't be trained with it, but it can be used to rank encoders; choose another LLM for training"
    with model_faults("llm", llm.name, "reading an embedding that no token has", remedy):
        embedding = torch.full((1, 1, weight.shape[1]), 0.5, dtype=weight.dtype, device=weight.device)
        llm.causal_lm(inputs_embeds=embedding)


@torch.inference_mode()
def embedding_scale(llm: LanguageModel) -> float:
    """The standard deviation of the LLM's token embeddings, over about 4,000 tokens."""
    table = llm.causal_lm.get_input_embeddings()
    vocabulary = int(table.weight.shape[0])
    ids = torch.arange(0, vocabulary, max(1, vocabulary // 4096), device=table.weight.device)
    return float(table(ids).float().std())
