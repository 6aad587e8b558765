"""A vision-language model: projected visual features take the place of `<image>` in the input of a causal LM."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from vlmatch.errors import VlmatchError
from vlmatch.llms.language_model import LanguageModel
from vlmatch.vlm.projector import Projector
from vlmatch.vlm.tokens import IGNORED, IMAGE
from vlmatch.vlm.visual import VisualInput


@dataclass
class Batch:
    """b samples, padded on the right.

    It is not frozen, because Lightning sets its fields to change the dtype of its tensors.

    ids (b, t): token ids, with `IMAGE` once for each visual token. mask (b, t): False on padding. labels (b, t): the
    labels of the tokens, not shifted. visual: the pictures in the order of their placeholders, as prepared images
    (n, c, h, w), or as features (n, t', d) if the model has no encoder; None if the batch has no picture. prefix (b,):
    which of the model's cached prefixes precedes each sample; None if prefixes are not cached. names: the samples'
    names, for messages. mean_answers: the mean of `answers` over this process's micro-batches of the same step.
    """

    ids: Tensor
    mask: Tensor
    labels: Tensor
    visual: Tensor | None
    prefix: Tensor | None = None
    names: tuple[str, ...] = ()
    mean_answers: float = 0.0

    @property
    def answers(self) -> Tensor:
        """The number of tokens over which the loss is averaged."""
        return (self.labels[:, 1:] != IGNORED).sum()

    def to(self, device: torch.device) -> "Batch":
        """The batch with its tensors on `device`; Lightning calls it."""
        tensors = {key: value for key, value in vars(self).items() if isinstance(value, Tensor)}
        moved: dict[str, Any] = {key: value.to(device, non_blocking=True) for key, value in tensors.items()}
        return replace(self, **moved)


@dataclass(frozen=True)
class Prefixes:
    """The LLM's keys and values of p texts that precede samples, padded on the left to s tokens.

    states: the keys and values of each layer, (p, heads, s, d) each. mask (p, s): False on padding. lengths (p,): the
    number of tokens of each text.
    """

    states: list[tuple[Tensor, Tensor]]
    mask: Tensor
    lengths: Tensor


class VLM(nn.Module):
    """An encoder, a projector, and a causal LM of transformers.

    visual: runs the encoder; None: the model gets cached features instead of images. features: how many features of
    each image the projector gets. The LLM's own forward method computes everything after the embeddings, so every
    causal LM of transformers works.
    """

    def __init__(
        self, llm: LanguageModel, projector: Projector, visual: VisualInput | None = None, features: int = 1
    ) -> None:
        super().__init__()
        self.llm = llm
        self.projector = projector
        self.visual = visual
        self.tokens_per_image = features * projector.tokens
        self._prefixes: Prefixes | None = None

    @property
    def causal_lm(self) -> Any:
        """The LLM as an object of transformers."""
        return self.llm.causal_lm

    @property
    def tokenizer(self) -> Any:
        """The LLM's tokenizer."""
        return self.llm.tokenizer

    def visual_tokens(self, visual: Tensor) -> Tensor:
        """The pictures as (n, k, D) embeddings that the LLM reads.

        visual: prepared images (n, c, h, w), or features (n, t, d) if the model has no encoder.
        """
        features = visual if self.visual is None else self.visual(visual)
        return self.projector(features)

    def embed(self, ids: Tensor, visual: Tensor | None) -> Tensor:
        """Embeddings (b, t, D) of ids (b, t), with the pictures' visual tokens in place of `IMAGE`."""
        table = self.causal_lm.get_input_embeddings()
        embedded = table(ids.clamp(min=0))
        if visual is None:
            return embedded
        tokens = self.visual_tokens(visual).to(embedded.dtype)
        return embedded.masked_scatter((ids == IMAGE)[:, :, None], tokens)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (b, s, V) and labels (b, s) at the s positions where at least one sample has a label.

        A sample without a label at one of these positions has `IGNORED` there.
        """
        inputs, labels = self.inputs(batch)
        return self.causal_lm(**inputs).logits, labels

    def inputs(self, batch: Batch) -> tuple[dict[str, Any], Tensor]:
        """The arguments of the LLM's own forward, and the labels (b, s) of the logits that it returns.

        The last token of each sample is left out, because it predicts nothing.
        """
        mask, positions, cache = self._context(batch)
        targets = batch.labels[:, 1:]
        wanted = (targets != IGNORED).any(dim=0).nonzero()[:, 0]
        inputs = {
            "inputs_embeds": self.embed(batch.ids, batch.visual)[:, :-1],
            "attention_mask": mask[:, :-1],
            "position_ids": positions[:, :-1],
            "past_key_values": cache,
            "use_cache": cache is not None,
            "logits_to_keep": wanted,
        }
        return inputs, targets[:, wanted]

    def loss(self, batch: Batch) -> Tensor:
        """The mean cross entropy over the batch's answer tokens, in nats."""
        logits, targets = self(batch)
        return nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED)

    def cacheable(self, prefixes: Sequence[Sequence[int]]) -> bool:
        """Whether keys and values of these prefixes can be cached.

        They can't if a layer of the LLM has a state in place of keys and values (Mamba, linear attention), or a sliding
        window of attention that is no longer than the longest prefix.
        """
        from transformers.cache_utils import DynamicCache, LinearAttentionCacheLayerMixin

        config = self.causal_lm.config.get_text_config()
        layers = DynamicCache(config=config).layers
        if self.causal_lm._is_stateful or any(isinstance(each, LinearAttentionCacheLayerMixin) for each in layers):
            return False
        window = getattr(config, "sliding_window", None)
        return bool(prefixes) and (window is None or max(map(len, prefixes)) < window)

    @torch.no_grad()
    def cache_prefixes(self, prefixes: Sequence[Sequence[int]]) -> None:
        """Cache the keys and values of texts that precede samples; call it again if the LLM's weights have changed."""
        longest = max(map(len, prefixes))
        device = self.causal_lm.get_input_embeddings().weight.device
        ids = torch.tensor([[0] * (longest - len(text)) + list(text) for text in prefixes], device=device)
        lengths = torch.tensor([len(text) for text in prefixes], device=device)
        mask = torch.arange(longest, device=device) >= longest - lengths[:, None]
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        output = self.causal_lm.base_model(
            input_ids=ids, attention_mask=mask.long(), position_ids=positions, use_cache=True
        )
        states = [(layer.keys.clone(), layer.values.clone()) for layer in output.past_key_values.layers]
        self._prefixes = Prefixes(states, mask, lengths)

    @torch.inference_mode()
    def generate(
        self,
        visual: Tensor | None,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        ends: Sequence[int] = (),
        **options: Any,
    ) -> list[str]:
        """The texts that the LLM generates after prompts.

        visual: the pictures of all prompts, as in `visual_tokens`. prompts: token ids, with `IMAGE` once for each
        visual token. ends: token ids that end a text, besides the LLM's own. options: arguments of transformers'
        `generate`; decoding is greedy unless they say otherwise.

        Raises VlmatchError if transformers does not let the LLM's class generate after embeddings.
        """
        if "inputs_embeds" not in signature(self.causal_lm.prepare_inputs_for_generation).parameters:
            raise VlmatchError(
                f"llm '{self.llm.name}': transformers does not let {type(self.causal_lm).__name__} generate after "
                "embeddings; measure by a benchmark that asks no free answers, or train with another LLM (of a "
                "multimodal one, its text model alone)"
            )
        longest = max(map(len, prompts))
        device = self.causal_lm.get_input_embeddings().weight.device
        ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
        found = self.causal_lm.generate(
            inputs_embeds=self.embed(ids, visual),
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=self.end_ids(ends) or None,
            **{"do_sample": False, "repetition_penalty": 1.0, **options},
        )
        return [str(text) for text in self.tokenizer.batch_decode(found, skip_special_tokens=True)]

    def end_ids(self, further: Sequence[int] = ()) -> list[int]:
        """The token ids that end a generated text: the LLM's own, and the `further` ones of its training."""
        own = self.causal_lm.generation_config.eos_token_id
        return sorted({*(own if isinstance(own, list) else [] if own is None else [own]), *further})

    def _context(self, batch: Batch) -> tuple[Tensor, Tensor, Any]:
        """The attention mask over prefixes and samples, the samples' positions, and a cache with the prefixes."""
        mask = batch.mask.long()
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        if batch.prefix is None:
            return mask, positions, None
        if self._prefixes is None:
            raise RuntimeError("the batch has prefixes, but none are cached; call cache_prefixes first")
        chosen = batch.prefix
        return (
            torch.cat([self._prefixes.mask[chosen].long(), mask], dim=1),
            positions + self._prefixes.lengths[chosen][:, None],
            self._cache(chosen),
        )

    def _cache(self, chosen: Tensor) -> Any:
        """A cache with the chosen prefixes, made anew because the LLM appends to it."""

        from transformers import DynamicCache

        assert self._prefixes is not None  # noqa: S101 (for mypy)
        cache = DynamicCache(config=self.causal_lm.config)
        for layer, (keys, values) in enumerate(self._prefixes.states):
            cache.update(keys[chosen], values[chosen], layer)
        return cache
