"""The problems of the comparison: stored embeddings of real pairs, their noise twins, or clouds of random points."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from scipy.linalg import helmert

import vlmatch.cli  # noqa: F401  registers the resolvers of the configuration
from vlmatch import paths
from vlmatch.embeddings.header import EmbeddingSpec
from vlmatch.embeddings.store import Embeddings, Store
from vlmatch.errors import VlmatchError
from vlmatch.geometry import Geometry, PairedGeometry
from vlmatch.objects import build, plain
from vlmatch.settings.buildable import MODELS

Array = NDArray[np.float64]

PROBE = ["probe.svg=true", "probe.drop_duplicates=false"]
"""All stamps, including SVGs and repeated captions."""

COMMAND = f"python src/run.py task=fetch && python src/run.py {' '.join(PROBE)} task=embed multirun"
WITHOUT_TWIN = ("mean_colour",)
"""It has only three numbers per image, so it gets no noise twin: 10 encoders and 9 twins make 19."""


@dataclass(frozen=True, eq=False)
class Problem:
    """The distances x between images by an encoder, scaled, and y between captions by an LLM: both (n, n).

    control: whether the encoder is a control or a noise twin, which no one would pick.
    """

    encoder: str
    llm: str
    x: Array
    y: Array
    control: bool = False

    @property
    def name(self) -> str:
        """Encoder and LLM."""
        return f"{self.encoder} x {self.llm}"

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Problems:
    """Problems of one size, and the seconds that their distances took to compute from embeddings."""

    all: list[Problem]
    seconds: float
    source: str

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    @property
    def n(self) -> int:
        """The number of points in each space."""
        return len(self.all[0])


def real(n: int, *, seed: int = 0, encoders: set[str] | None = None, llms: set[str] | None = None) -> Problems:
    """Every encoder of the experiment `embedded` and its noise twin against every LLM, on `n` of the stored pairs.

    If `n` is smaller than the number of stored pairs, the pairs are drawn at random. If it is larger, the first pairs
    are repeated, so some distances are 0. encoders, llms: use only these names. Raises VlmatchError if the store lacks
    embeddings.
    """
    images, captions = _stored()
    rows = _rows(len(captions[0].array), n, seed)
    names = [found.header.spec.model for found in images]
    twins = [f"{name} noise" for name in names if name not in WITHOUT_TWIN]
    wanted = _chosen("--encoders", encoders, names + twins)
    sides: dict[str, tuple[Array, bool]] = {}
    for position, (name, found) in enumerate(zip(names, images, strict=True)):
        array = found.array.astype(np.float64)
        if name in wanted:
            sides[name] = array[rows], found.header.control
        if f"{name} noise" in wanted:
            sides[f"{name} noise"] = noise_twin(array, np.random.default_rng([seed, position]))[rows], True
    texts = {found.header.spec.model: found.array[rows].astype(np.float64) for found in captions}
    texts = {name: texts[name] for name in _chosen("--llms", llms, list(texts))}
    return _problems(sides, texts, f"{len(captions[0].array)} stamps")


def synthetic(n: int, *, seed: int = 0, few: bool = False) -> Problems:
    """Independent Gaussian clouds: images of 4, 8 and 16 dimensions, captions of 32 and 64. few: only one problem."""
    random = np.random.default_rng(seed)
    sides = {f"gaussian{d}": (random.standard_normal((n, d)), False) for d in ((8,) if few else (4, 8, 16))}
    texts = {f"gaussian{d}": random.standard_normal((n, d)) for d in ((32,) if few else (32, 64))}
    return _problems(sides, texts, "Gaussian clouds")


def noise_twin(embeddings: Array, random: np.random.Generator) -> Array:
    """Gaussian noise (n, d) with exactly the mean and the covariance of `embeddings`: a spectrum-matched surrogate.

    Of the singular value decomposition U S V^T of the centred embeddings, S and V stay. U becomes random, with columns
    that are orthonormal and sum to 0.
    """
    n = len(embeddings)
    mean = embeddings.mean(axis=0)
    directions = random.standard_normal((n, n - 1))
    basis = np.linalg.qr(directions - directions.mean(axis=0))[0]
    return mean + basis @ (helmert(n) @ (embeddings - mean))


def _stored() -> tuple[list[Embeddings], list[Embeddings]]:
    """Read the stored embeddings of the encoders and LLMs that the configuration of the checkout sweeps over."""
    with initialize_config_dir(str(paths.conf()), version_base="1.3"):
        base = compose("config", PROBE, return_hydra_config=True)
        probe = build(plain(base.probe))
        sides = []
        for kind in ("encoder", "llm"):
            names = str(base.hydra.sweeper.params[kind]).split(",")
            configs = [compose("config", [*PROBE, f"{kind}={name.strip()}"]) for name in names]
            sides.append([_read(kind, config, probe) for config in configs])
    return sides[0], sides[1]


def _read(kind: str, config: Any, probe: Any) -> Embeddings:
    spec = EmbeddingSpec.of(MODELS[kind].of(kind, plain(config[kind])), probe, config.trainer.precision)
    found = Store(config.store).read(spec)
    if found is None:
        raise VlmatchError(
            f"the store has no embeddings of {kind} '{spec.model}' for {probe.key}; make them: {COMMAND}"
        )
    return found


def _rows(n_stored: int, n: int, seed: int) -> NDArray[np.intp]:
    if n >= n_stored:
        return np.arange(n) % n_stored
    return np.sort(np.random.default_rng(seed).choice(n_stored, n, replace=False))


def _problems(sides: dict[str, tuple[Array, bool]], texts: dict[str, Array], source: str) -> Problems:
    started = time.perf_counter()
    captions = {name: Geometry.angular(text, kind="text") for name, text in texts.items()}
    found = []
    for encoder, (array, control) in sides.items():
        images = Geometry.angular(array, kind="image")
        for llm, text in captions.items():
            pair = PairedGeometry(images, text)
            found.append(Problem(encoder, llm, pair.scaled_image_distances, text.distances, control))
    return Problems(found, time.perf_counter() - started, source)


def _chosen(option: str, wanted: set[str] | None, known: list[str]) -> list[str]:
    """The `known` names that are wanted, all by default; VlmatchError if a wanted name is not known."""
    unknown = (wanted or set()) - set(known)
    if unknown:
        raise VlmatchError(f"{option}: '{min(unknown)}' is unknown, wanted some of {', '.join(known)}")
    return [name for name in known if wanted is None or name in wanted]
