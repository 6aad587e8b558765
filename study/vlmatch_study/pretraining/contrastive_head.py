"""Locked-image tuning (Zhai et al., 2022) on a small scale: a contrastive head over a frozen backbone's features."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vlmatch.errors import VlmatchError
from vlmatch_study.pretraining.data import PretrainingData
from vlmatch_study.pretraining.kept import WEIGHTS, write_halves
from vlmatch_study.pretraining.measures import retrieval, zero_shot
from vlmatch_study.pretraining.objective import Objective

LOSSES = ("softmax", "sigmoid")


class ContrastiveHead(Objective):
    """Maps a backbone's feature and a frozen sentence embedding of the caption into one space.

    The image head is a stack of linear layers with GELU between them, on the standardised feature. It is kept, and
    `vlmatch_study.trained_head.HeadEncoder` loads it. The text head is one linear layer and is not kept.

    data: its inputs are features (n, d). text: a function from n sentences to embeddings (n, e).
    hidden, dimension: widths of the image head's hidden layers and of its output.
    contrast: 'softmax' (CLIP's loss) or 'sigmoid' (SigLIP's).
    noise: standard deviation of the Gaussian noise that is added to the standardised features in training.
    """

    def __init__(
        self,
        data: PretrainingData,
        *,
        text: Callable[[Sequence[str]], Tensor],
        hidden: Sequence[int],
        dimension: int,
        contrast: str,
        noise: float,
        **training: Any,
    ) -> None:
        from open_clip.loss import ClipLoss, SigLipLoss

        super().__init__(data, **training)
        if contrast not in LOSSES:
            raise VlmatchError(
                f"pretrain.objective.contrast='{contrast}' is unknown; choose one of {', '.join(LOSSES)}"
            )
        self.contrast: Any = ClipLoss() if contrast == "softmax" else SigLipLoss()
        self.noise = noise
        self.text = text
        self.sentences = text(data.captions)
        mean, std = standardisation(data.inputs)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        widths = [data.inputs.shape[1], *hidden, dimension]
        pairs = list(pairwise(widths))
        self.layers = nn.ModuleList(nn.Linear(d, h) for d, h in pairs)
        self.text_layer = nn.Linear(self.sentences.shape[1], dimension)
        # As in the two papers: CLIP starts at temperature 0.07; SigLIP at 0.1, with a bias against wrong pairs.
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07 if contrast == "softmax" else 10.0).log())
        self.logit_bias = None if contrast == "softmax" else nn.Parameter(torch.tensor(-10.0))

    def loss(self, rows: list[int]) -> Tensor:
        """The contrastive loss of images and captions within the batch."""
        standardised = (self.data.inputs[rows].to(self.device) - self.mean) / self.std
        images = self._head(standardised + self.noise * torch.randn_like(standardised))
        texts = self.text_layer(self.sentences[rows].to(self.device))
        bias = {} if self.logit_bias is None else {"logit_bias": self.logit_bias}
        loss: Tensor = self.contrast(normalize(images), normalize(texts), self.logit_scale.exp(), **bias)
        return loss

    @torch.inference_mode()
    def measures(self, held_out: PretrainingData) -> Mapping[str, float]:
        """Zero-shot accuracy on the held-out categories, and retrieval of captions."""
        images = self._embed(held_out.inputs)
        texts = self._embed_text(held_out.captions)
        known, asked = held_out.labelled(), sorted({c for c in held_out.categories if c is not None})
        labels = [asked.index(str(category)) for category in known.categories]
        return {
            **zero_shot(self._embed(known.inputs), self._embed_text(asked), labels),
            **retrieval(images, texts, held_out.captions),
        }

    def write(self, folder: Path) -> None:
        """Write the image head."""
        state = {f"layers.{key}": value for key, value in self.layers.state_dict().items()}
        write_halves(folder / WEIGHTS, {"mean": self.mean, "std": self.std, **state})

    def _head(self, values: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            values = nn.functional.gelu(layer(values))
        found: Tensor = self.layers[-1](values)
        return found

    def _embed(self, features: Tensor) -> Tensor:
        return self._head((features.to(self.device) - self.mean) / self.std).cpu()

    def _embed_text(self, sentences: Sequence[str]) -> Tensor:
        found: Tensor = self.text_layer(self.text(list(sentences)).to(self.device))
        return found.cpu()


def standardisation(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of (n, d) features, each (d,).

    No deviation is below a tenth of the median, so that a feature that hardly varies here is not scaled up elsewhere.
    """
    std = features.std(dim=0)
    return features.mean(dim=0), std.clamp(min=float(std.median()) / 10)
