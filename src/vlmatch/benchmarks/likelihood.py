"""Log-likelihoods of many candidate answers for each picture: all candidates of a picture are computed in one row."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vlmatch.errors import VlmatchError
from vlmatch.vlm.model import VLM
from vlmatch.vlm.tokens import IMAGE


@dataclass(frozen=True)
class _Prompt:
    """A question as the LLM reads it.

    cache: keys and values of the `cached` tokens in front of the picture; None if there are none. shared: the picture's
    tokens and the text after them.
    """

    cache: Any
    cached: int
    shared: tuple[int, ...]


@dataclass(frozen=True)
class _Packed:
    """The candidates of b pictures, one row for each picture, in which its candidates follow each other.

    The last token of a candidate is left out, because it predicts nothing.

    tokens, owners, depths (b, m): each token, the number of its candidate in the row (-1: padding), and its place in
    the candidate. The other four have one entry for each of the r tokens that are scored, (r,): the logits in row
    `rows` at place `places` (0: the shared part's last token, k: the k-th token after it) predict the token `answers`,
    which belongs to the candidate number `candidates`, counted over all rows.
    """

    tokens: Tensor
    owners: Tensor
    depths: Tensor
    rows: Tensor
    places: Tensor
    answers: Tensor
    candidates: Tensor


def log_likelihoods(
    vlm: VLM, visual: Tensor, prompt: Sequence[int], candidates: Sequence[Sequence[Sequence[int]]], batch_size: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield (number of the picture, log-likelihoods of its c candidates in nats, (c,) float64 on the CPU).

    visual: n pictures, as `VLM.visual_tokens` takes them. prompt: token ids with `IMAGE` once. candidates: for each
    picture, c token sequences that may follow the prompt; no end-of-text token is added. Pictures with short rows are
    yielded first. The model must be in evaluation mode.

    A row is: prompt | candidate | candidate ... A 4-D attention mask lets each candidate see only the prompt and
    itself, and its positions continue those of the prompt. So its likelihood is as if it were the only candidate.

    Raises VlmatchError if the LLM has a sliding window that is shorter than prompt and candidate.
    """
    device = vlm.causal_lm.get_input_embeddings().weight.device
    read = _read(vlm, prompt, device)
    _check_window(vlm, read, max(len(ids) for found in candidates for ids in found))
    lengths = [sum(len(ids) - 1 for ids in found) for found in candidates]
    order = sorted(range(len(candidates)), key=lambda number: lengths[number])
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        counts = [len(candidates[number]) for number in chosen]
        packed = _pack([candidates[number] for number in chosen], device)
        found = _scored(vlm, read, packed, visual[chosen].to(device), sum(counts))
        yield from zip(chosen, torch.split(found.cpu(), counts), strict=True)


@torch.inference_mode()
def _read(vlm: VLM, prompt: Sequence[int], device: torch.device) -> _Prompt:
    """Cut the prompt at its picture, and compute the keys and values of the text in front of the picture."""
    at = list(prompt).index(IMAGE)
    shared = (*[IMAGE] * vlm.tokens_per_image, *prompt[at + 1 :])
    if at == 0:
        return _Prompt(None, 0, shared)
    output = vlm.causal_lm.base_model(input_ids=torch.tensor([prompt[:at]], device=device), use_cache=True)
    return _Prompt(output.past_key_values, at, shared)


def _pack(candidates: Sequence[Sequence[Sequence[int]]], device: torch.device) -> _Packed:
    """Put the candidates of each picture side by side."""
    fed: list[list[tuple[int, int, int]]] = []
    read: list[tuple[int, int, int, int]] = []
    total = 0
    for row, found in enumerate(candidates):
        line: list[tuple[int, int, int]] = []
        for owner, ids in enumerate(found):
            places = [0, *range(len(line) + 1, len(line) + len(ids))]
            read += [(row, place, answer, total + owner) for place, answer in zip(places, ids, strict=True)]
            line += [(token, owner, depth) for depth, token in enumerate(ids[:-1])]
        total += len(found)
        fed.append(line)
    longest = max(map(len, fed))
    padded = [[*line, *[(0, -1, 0)] * (longest - len(line))] for line in fed]
    tokens, owners, depths = torch.tensor(padded, dtype=torch.long, device=device).view(len(fed), longest, 3).unbind(2)
    rows, places_, answers, numbers = torch.tensor(read, device=device).unbind(1)
    return _Packed(tokens, owners, depths, rows, places_, answers, numbers)


@torch.inference_mode()
def _scored(vlm: VLM, prompt: _Prompt, packed: _Packed, visual: Tensor, n_candidates: int) -> Tensor:
    """The log-likelihoods of all candidates of a batch, (n_candidates,) float64."""
    b, m = packed.tokens.shape
    s = len(prompt.shared)
    shared = torch.tensor(prompt.shared, device=visual.device)
    embedded = vlm.embed(torch.cat([shared.expand(b, s), packed.tokens], dim=1), visual)
    steps = torch.arange(s, device=visual.device).expand(b, s)
    cache = copy.deepcopy(prompt.cache)  # the LLM appends to the cache that it is given
    if cache is not None:
        cache.batch_repeat_interleave(b)
    output = vlm.causal_lm(
        inputs_embeds=embedded,
        attention_mask=_mask(packed.owners, prompt, embedded.dtype),
        position_ids=prompt.cached + torch.cat([steps, s + packed.depths], dim=1),
        past_key_values=cache,
        use_cache=cache is not None,
        logits_to_keep=m + 1,
    )
    logits = output.logits.float()
    normalisers = logits.logsumexp(dim=2)
    rows, places = packed.rows, packed.places
    values = (logits[rows, places, packed.answers] - normalisers[rows, places]).double()
    return values.new_zeros(n_candidates).index_add_(0, packed.candidates, values)


def _mask(owners: Tensor, prompt: _Prompt, dtype: torch.dtype) -> Tensor:
    """The mask that is added to attention, (b, 1, s + m, cached + s + m): 0 where a token sees, else the least number.

    s: the number of tokens of the shared part. m: the number of tokens of the longest row of candidates.
    """
    b, m = owners.shape
    s, cached = len(prompt.shared), prompt.cached
    unseen = torch.ones(s + m, s + m, dtype=torch.bool, device=owners.device).triu(1).repeat(b, 1, 1)
    unseen[:, s:, s:] |= owners[:, :, None] != owners[:, None, :]
    mask = torch.zeros(b, 1, s + m, cached + s + m, dtype=dtype, device=owners.device)
    mask[:, 0, :, cached:].masked_fill_(unseen, torch.finfo(dtype).min)
    return mask


def _check_window(vlm: VLM, prompt: _Prompt, longest: int) -> None:
    window = getattr(vlm.causal_lm.config.get_text_config(), "sliding_window", None)
    length = prompt.cached + len(prompt.shared) + longest
    if window is not None and length > window:
        raise VlmatchError(
            f"llm '{vlm.llm.name}' looks back over {window} tokens (sliding_window), but prompt, picture and answer "
            f"have {length}; give a recipe with fewer visual tokens, or another LLM"
        )
