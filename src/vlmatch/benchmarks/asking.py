"""Asks a VLM about pictures: a matrix with the log-likelihood of each text under each picture."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from vlmatch.benchmarks.likelihood import log_likelihoods
from vlmatch.benchmarks.measurement import Array
from vlmatch.errors import VlmatchError
from vlmatch.vlm.captions import prompt_of
from vlmatch.vlm.model import VLM
from vlmatch.vlm.tokens import encode


@contextmanager
def evaluating(vlm: VLM) -> Iterator[None]:
    """Put a VLM into evaluation mode inside the block; afterwards each module is in its own mode again."""
    training = [module for module in vlm.modules() if module.training]
    vlm.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def likelihood_matrix(
    vlm: VLM,
    features: Tensor,
    prompts: Mapping[str, str],
    question: str,
    texts: Sequence[Sequence[int]],
    asked: Mapping[int, Sequence[int]],
    batch_size: int,
) -> Array:
    """Log-likelihoods of texts under each picture, (n, texts); NaN where they are not asked.

    Pictures with equal features are computed once; for a blind model, all pictures are equal.
    """
    prompt = encode(vlm.tokenizer, prompt_of(prompts, question), special=True)
    rows = _rows(features, asked)
    candidates = [[texts[text] for text in row.texts] for row in rows]
    shown = features[torch.tensor([row.pictures[0] for row in rows])]
    scored = log_likelihoods(vlm, shown, prompt, candidates, batch_size)
    found = np.full((len(features), len(texts)), np.nan)
    hidden = not Console().is_terminal
    for number, values in track(scored, f"benchmarks: {question}", total=len(rows), transient=True, disable=hidden):
        if not bool(torch.isfinite(values).all()):
            raise VlmatchError(
                "benchmarks: a likelihood is not finite, because the VLM's weights or features are not; train again"
            )
        for picture in rows[number].pictures:
            wanted = np.isin(rows[number].texts, asked[picture])
            found[picture, np.array(rows[number].texts)[wanted]] = values.numpy()[wanted]
    return found


class _Row(NamedTuple):
    """Texts that are scored together under pictures with equal features."""

    pictures: list[int]
    texts: tuple[int, ...]


def _rows(features: Tensor, asked: Mapping[int, Sequence[int]]) -> list[_Row]:
    """The rows to compute, in the order of `asked`; no row has more texts than the longest entry of `asked`."""
    alike: dict[bytes, list[int]] = {}
    for picture in asked:
        alike.setdefault(features[picture].cpu().numpy().tobytes(), []).append(picture)
    most = max(map(len, asked.values()))
    rows = []
    for pictures in alike.values():
        texts = sorted({text for picture in pictures for text in asked[picture]})
        rows += [_Row(pictures, tuple(texts[start : start + most])) for start in range(0, len(texts), most)]
    return rows
