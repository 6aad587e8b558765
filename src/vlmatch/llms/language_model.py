"""The language model: a causal LM with its tokenizer, which gives one embedding per caption from a hidden layer."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from vlmatch.errors import VlmatchError
from vlmatch.llms.loading import load_causal_lm
from vlmatch.llms.templates import CHAT, PLACE, chat_template
from vlmatch.llms.truncation import Truncation, longest_start
from vlmatch.llms.weights import weights_availability, weights_of
from vlmatch.objects import Buildable
from vlmatch.packages.availability import Availability

POOLINGS = {
    "last": "last token",
    "mean": "mean over the tokens",
    "mean_after_first": "mean over the tokens after the first",
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class LanguageModel(Buildable, nn.Module):
    """A frozen causal LM that embeds captions; by the paper's rule, it takes the last token of `hidden_states[-2]`.

    The weights come from `checkpoint` (a GGUF file) if it is given; else from `repository` (a folder or a hub id); else
    from a GGUF file inside weight packages: `members` are its chunks in order, `sha256` is that of the whole file.
    `adapter` is a folder with a LoRA adapter, as peft saves it; it is merged into the weights.

    `template` is the text around '{caption}', or 'chat': the tokenizer's own chat template, with the caption as the
    user's only message, up to where the model's answer would start.
    `layer` is the index of one of the n_layers + 1 hidden states (0: the embeddings, -1: after the final norm).
    `pooling` is 'last', 'mean' or 'mean_after_first', over the tokens without padding, on whichever side the padding
    is. 'mean_after_first' leaves out the first token: in most LLMs its state is many times as long as the others.
    `max_tokens` limits the tokens of a caption in its template: a longer caption loses its end, and the template stays
    whole. If the model's context is shorter, that is the limit.
    `device_map` is transformers' own: 'auto' spreads a model over all GPUs and, if they are full, the CPU's memory.

    Attributes: `causal_lm`, the transformers model; `tokenizer`; `weights_sha256`, of the GGUF or of the weight
    files; `quantisation`, such as 'Q4_1', read from the GGUF, or None; `adapter`, or None.

    Raises NotHereError if the weights are not available; VlmatchError on a wrong argument, damaged weights, or an
    adapter beside them that is not named.
    """

    kind: ClassVar[str] = "llm"
    version: ClassVar[int] = 2  # raise it when the code gives other numbers for the same yaml
    control: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        *,
        checkpoint: str | None = None,
        repository: str | None = None,
        packages: Sequence[Mapping[str, str]] = (),
        members: Sequence[str] = (),
        sha256: str | None = None,
        template: str = "{caption}",
        layer: int = -2,
        pooling: str = "last",
        max_tokens: int = 512,
        dtype: str = "float32",
        device_map: str | dict[str, Any] | None = None,
        trust_remote_code: bool = False,
        adapter: str | None = None,
        licence: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        _check_arguments(name, template, pooling, max_tokens, dtype)
        weights = weights_of(
            name,
            checkpoint=checkpoint,
            repository=repository,
            packages=packages,
            members=members,
            sha256=sha256,
            adapter=adapter,
        )
        self.name = name
        self.dtype_name = dtype
        self.licence = licence
        self.weights_sha256 = weights.sha256
        self.quantisation = weights.quantisation
        self.adapter = weights.adapter
        device_map = dict(device_map) if isinstance(device_map, Mapping) else device_map
        self.causal_lm, self.tokenizer = load_causal_lm(
            name, weights, dtype=DTYPES[dtype], device_map=device_map, trust_remote_code=trust_remote_code
        )
        self.template = chat_template(name, self.tokenizer) if template == CHAT else template
        self._special_tokens = template != CHAT  # a chat template writes its own
        text_config = self.causal_lm.config.get_text_config()
        self.choose(layer, pooling)
        self.max_tokens = min(max_tokens, getattr(text_config, "max_position_embeddings", None) or max_tokens)
        if (of_template := self._n_tokens([""])[0]) >= self.max_tokens:
            raise VlmatchError(
                f"llm '{name}': max_tokens={max_tokens}, but the template alone has {of_template} tokens; "
                "give a larger number"
            )
        self._wants_positions = "position_ids" in inspect.signature(self.causal_lm.base_model.forward).parameters
        self.eval()

    @classmethod
    def availability(cls, settings: Mapping[str, Any]) -> Availability:
        """Where the weights are that an LLM's plain yaml names; nothing is downloaded or loaded."""
        return weights_availability(settings)

    @property
    def dispatched(self) -> bool:
        """Whether the model is spread over several devices; then it must not be moved as a whole."""
        return len(set(getattr(self.causal_lm, "hf_device_map", {}).values())) > 1

    @property
    def n_layers(self) -> int:
        """How many layers it has; hidden state 0, the embeddings, does not count."""
        return int(self.causal_lm.config.get_text_config().num_hidden_layers)

    @property
    def rule(self) -> str:
        """Which hidden state becomes the embedding of a caption, in words."""
        return f"hidden_states[{self.layer}], {POOLINGS[self.pooling]}"

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How a caption becomes an embedding, as plain values, which are stored with the embeddings."""
        return {
            "template": self.template,
            "layer": self.layer,
            "pooling": self.pooling,
            "max_tokens": self.max_tokens,
            "bos": self._adds_bos(),
            "padding": str(self.tokenizer.padding_side),
            "dtype": self.dtype_name,
            "quantisation": self.quantisation,
            **({} if self.adapter is None else {"adapter": self.adapter.sha256}),
        }

    def n_parameters(self) -> int:
        """Parameters of the causal LM; tied ones count once."""
        return sum(parameter.numel() for parameter in self.causal_lm.parameters())

    def prepare(self, caption: str) -> str:
        """Put the caption into the template; if that has more than `max_tokens` tokens, cut the caption's end."""
        return self._in_template(longest_start(caption, lambda start: self._n_tokens([start])[0] <= self.max_tokens))

    def truncation(self, captions: Sequence[str]) -> Truncation:
        """How many of these captions `prepare` cuts, and the tokens of the longest."""
        return Truncation.to(self.max_tokens, self._n_tokens(captions))

    def collate(self, texts: list[str]) -> dict[str, Tensor]:
        """Tokenise n prepared captions: `input_ids` and `attention_mask`, both (n, t), padded to the longest caption.

        The tokenizer adds its special tokens, unless the template is 'chat', which contains them.
        """
        tokens = self.tokenizer(texts, padding=True, add_special_tokens=self._special_tokens, return_tensors="pt")
        return {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Embed n tokenised captions: (n, d) float32."""
        return self.variants(batch, [(self.layer, self.pooling)])[0]

    def variants(self, batch: Mapping[str, Tensor], wanted: Sequence[tuple[int, str]]) -> list[Tensor]:
        """The embeddings of several layers from one forward pass. wanted: layer and pooling of each; (n, d) each."""
        states = self.hidden_states(batch)
        return [pooled(states[layer], batch["attention_mask"], pooling) for layer, pooling in wanted]

    def choose(self, layer: int, pooling: str) -> None:
        """From now on, embed by this layer and pooling. Raises VlmatchError if it has no such layer or pooling."""
        _check_pooling(self.name, pooling)
        n_states = self.n_layers + 1
        if not -n_states <= layer < n_states:
            raise VlmatchError(
                f"llm '{self.name}': layer={layer}; it has {n_states} hidden states, 0 to {n_states - 1}"
            )
        self.layer, self.pooling = layer, pooling

    def hidden_states(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """All hidden states of n tokenised captions, (n, t, d) each; no logits are computed."""
        device = self._input_device()
        mask = batch["attention_mask"].to(device)
        inputs = {"input_ids": batch["input_ids"].to(device), "attention_mask": mask}
        if self._wants_positions:  # counted from the first real token: padding on the left must not shift them
            inputs["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)
        output = self.causal_lm.base_model(**inputs, output_hidden_states=True, use_cache=False)
        states: tuple[Tensor, ...] = output.hidden_states
        return states

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Do what `.to(device)` and the like ask, unless the model is spread over several devices."""
        return self if self.dispatched else super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def _input_device(self) -> Any:
        """The device that token ids must be on: the embedding table's, or the one that a table on disk is loaded to."""
        table = self.causal_lm.get_input_embeddings()
        return table._hf_hook.execution_device if table.weight.device.type == "meta" else table.weight.device

    def _in_template(self, caption: str) -> str:
        return self.template.replace(PLACE, caption)

    def _n_tokens(self, captions: Sequence[str]) -> list[int]:
        """The number of tokens of each caption in its template, special ones included."""
        texts = [self._in_template(caption) for caption in captions]
        tokens = self.tokenizer(texts, add_special_tokens=self._special_tokens, verbose=False)
        return [len(ids) for ids in tokens["input_ids"]]

    def _adds_bos(self) -> bool:
        first = self.collate([self.prepare("a")])["input_ids"][0, 0].item()
        return self.tokenizer.bos_token_id is not None and first == self.tokenizer.bos_token_id


def pooled(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """The states of a layer as one vector per caption, in float32: (n, t, d), (n, t) -> (n, d)."""
    mask = mask.to(states.device)
    if pooling == "last":
        return last_token(states, mask).float()
    return token_mean(states, mask if pooling == "mean" else after_first(mask))


def after_first(mask: Tensor) -> Tensor:
    """A mask (n, t) without the first token that is not padding, unless that is the only one."""
    first = (mask.cumsum(dim=1) == 1) & (mask == 1)
    return torch.where(mask.sum(dim=1, keepdim=True) > 1, mask * ~first, mask)


def last_token(states: Tensor, mask: Tensor) -> Tensor:
    """The state of the last token that is not padding, on whichever side that is: (n, t, d), (n, t) -> (n, d)."""
    steps = torch.arange(mask.shape[1], device=mask.device)
    last = (mask * steps).argmax(dim=1)
    return states[torch.arange(len(states), device=states.device), last]


def token_mean(states: Tensor, mask: Tensor) -> Tensor:
    """The mean state of the tokens that are not padding, in float32: (n, t, d), (n, t) -> (n, d)."""
    weights = mask.unsqueeze(-1).float()
    return (states.float() * weights).sum(dim=1) / weights.sum(dim=1)


def _check_pooling(name: str, pooling: str) -> None:
    if pooling not in POOLINGS:
        raise VlmatchError(f"llm '{name}': pooling='{pooling}' is unknown; choose one of {', '.join(POOLINGS)}")


def _check_arguments(name: str, template: str, pooling: str, max_tokens: int, dtype: str) -> None:
    if template != CHAT and PLACE not in template:
        raise VlmatchError(f"llm '{name}': template='{template}' lacks '{PLACE}'; put it where the caption goes")
    _check_pooling(name, pooling)
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or max_tokens < 1:
        raise VlmatchError(f"llm '{name}': max_tokens={max_tokens!r}; give a whole number of tokens, such as 512")
    if dtype not in DTYPES:
        raise VlmatchError(f"llm '{name}': dtype='{dtype}' is unknown; choose one of {', '.join(DTYPES)}")
