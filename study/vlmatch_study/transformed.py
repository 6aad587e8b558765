"""Encoders of block 1: another encoder's feature, whitened or cut to its first components, or noise in its place."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlmatch.encoders.about import About
from vlmatch.encoders.base import Encoder, EncoderOptions
from vlmatch.encoders.derived import DerivedEncoder, parts_sha256
from vlmatch.errors import VlmatchError
from vlmatch.files import sha256_of_file
from vlmatch_study.principal_components import PrincipalComponents


class LinearTransform(DerivedEncoder):
    """The feature of one encoder, changed by the principal components of its training features.

    checkpoint: the components, which `task=transform` fits on the pictures of `recipe.data` alone. components: None
    whitens the feature (`PrincipalComponents.whitened`). A number keeps the coordinates on that many first components.
    Raises VlmatchError if the feature is not 'paper', on which the components were fitted, or `components` is not
    between 1 and the number in the file; NotHereError if the file is missing.
    """

    def __init__(
        self,
        name: str,
        parts: Sequence[Encoder],
        *,
        checkpoint: str,
        components: int | None,
        **options: Unpack[EncoderOptions],
    ) -> None:
        super().__init__(name, parts, **options)
        if self.feature_choice != "paper":
            raise VlmatchError(
                f"encoder '{name}': feature='{self.feature_choice}'; its components were fitted on 'paper' only; give "
                "encoder.feature=paper"
            )
        if len(parts) > 1:
            raise VlmatchError(f"encoder '{name}': {len(parts)} parts; wanted one part, the encoder to change")
        self._fitted = PrincipalComponents.read(name, checkpoint)
        self._n = components
        if components is not None and not 1 <= components <= len(self._fitted.variances):
            raise VlmatchError(
                f"encoder '{name}': components={components}; its checkpoint has {len(self._fitted.variances)}; give 1 "
                "to this number, or null to whiten"
            )
        self._sha256 = sha256_of_file(Path(checkpoint).expanduser())
        if self.parts:
            self.control, self.weights_sha256 = self.described.control, self.described.weights_sha256

    def prepare(self, image: Image.Image) -> Tensor:
        """One RGB image, prepared by the encoder that is changed."""
        return self._encoders()[0].prepare(image)

    def collate(self, items: list[Tensor]) -> Tensor:
        """One batch for the encoder that is changed."""
        return self._encoders()[0].collate(items)

    def tokens(self, images: Tensor) -> Tensor:
        """The same change of each token: (n, t, d) -> (n, t, d) or (n, t, components).

        Raises VlmatchError if the width of the tokens is not that of the components.
        """
        tokens = self._encoders()[0].tokens(images)
        return self.combine([tokens.flatten(0, 1)]).reshape(*tokens.shape[:2], -1)

    def combine(self, features: Sequence[Tensor]) -> Tensor:
        """The changed feature: (n, d) -> (n, d) or (n, components), computed in double precision, returned in single.

        Raises VlmatchError if the width of the feature is not that of the components.
        """
        (feature,) = features
        width = len(self._fitted.mean)
        if feature.shape[1] != width:
            raise VlmatchError(
                f"encoder '{self.name}': its encoder gives {feature.shape[1]} numbers, its components take {width}; "
                "give the components of this encoder"
            )
        values = feature.double().cpu().numpy()
        changed = self._fitted.whitened(values) if self._n is None else self._fitted.scores(values, self._n)
        return torch.from_numpy(changed).float().to(feature.device)

    def about(self, parts: Sequence[About]) -> About:
        """The description of the changed encoder; the components count as weights, not as parameters."""
        (encoder,) = parts
        return About(
            self.name,
            f"{encoder.rule}, " + ("whitened" if self._n is None else f"first {self._n} principal components"),
            encoder.control,
            encoder.n_parameters,
            parts_sha256([encoder.weights_sha256, self._sha256]),
            encoder.preprocessing,
        )

    def _batches(self, images: Tensor) -> list[tuple[Encoder, Any]]:
        return [(self._encoders()[0], images)]


class GaussianNoise(Encoder):
    """Noise with the mean and covariance of an encoder's training features: a control, which sees nothing.

    A picture's noise is drawn from `seed` and the SHA-256 of its pixels. So it is the same in every batch, share and
    process, and equal pictures have equal noise, but it says nothing about how a picture looks.

    checkpoint: the encoder's components, which `task=transform` fits. seed: a different one for each encoder, so that
    the noises of two encoders are independent.
    """

    control = True

    def __init__(self, name: str, *, checkpoint: str, seed: int, **options: Unpack[EncoderOptions]) -> None:
        super().__init__(name, **options)
        self._fitted = PrincipalComponents.read(name, checkpoint)
        self._seed = seed
        self.weights_sha256 = sha256_of_file(Path(checkpoint).expanduser())
        self.eval()

    def prepare(self, image: Image.Image) -> Tensor:
        """The noise of one RGB image: (1, 1, d)."""
        digest = hashlib.sha256(f"{self._seed} {image.size}".encode())
        digest.update(image.convert("RGB").tobytes())
        random = np.random.Generator(np.random.PCG64(int.from_bytes(digest.digest())))
        noise = random.standard_normal((1, 1, len(self._fitted.variances)))
        return torch.from_numpy(self._fitted.coloured(noise)).float()

    def tokens(self, images: Tensor) -> Tensor:
        """One token, the noise: (n, 1, d)."""
        return images.flatten(1)[:, None]

    def paper_feature(self, images: Tensor) -> Tensor:
        """The noise: (n, d)."""
        return images.flatten(1)

    @property
    def paper_rule(self) -> str:
        """The rule in words."""
        return "noise"

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What is done with the image."""
        return {"pixels": "SHA-256"}
