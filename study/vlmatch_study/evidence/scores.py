"""Score our own encoders for the record: `python -m vlmatch_study.evidence.scores` writes study/worlds/embedded.csv.

It reads the stored embeddings of the stamps, so run `dvc repro` or `experiment=embedded_all multirun` first.
"""

from collections.abc import Iterator
from pathlib import Path

import vlmatch
from vlmatch import paths
from vlmatch.embeddings.store import FILE, Embeddings, Store, read_file
from vlmatch.encoders.catalogue import catalogue
from vlmatch.errors import VlmatchError
from vlmatch.scores.resampling import gaussian_twin
from vlmatch_study.evidence.worlds import EMBEDDED, LLM
from vlmatch_study.rows import read, write

PROBE, IMAGES, CAPTIONS = "stamps-1d0c3db0", "paper", "layer-2_last"
SCORES = (
    *("gw", "gw_centred", "gw_paired", "rsa", "cca", "mutual_nn", "mutual_nn_standardised", "cka", "cka_debiased"),
    *("cknna", "ridge_r2", "ridge_retrieval", "participation_ratio", "rankme", "matrix_entropy"),
)
TWINS = ("mutual_nn", "cka", "ridge_r2")  # also computed on noise with the encoder's mean and covariance
TOKENS = 1  # tokens that the LLM is fed: one pooled feature, whatever the encoder has


def main() -> None:
    """Score every encoder of the table again and write the table; facts such as its family stay."""
    rows = list(scored(paths.cache() / "embeddings" / PROBE))
    write(EMBEDDED, rows)


def scored(store: Path) -> Iterator[dict[str, str | int]]:
    """Each encoder's row: its family, its spec sheet and its scores to 6 significant digits."""
    captions = stored(store / LLM / CAPTIONS)
    for row in read(EMBEDDED):
        images = stored(store / row["encoder"] / IMAGES)
        made = row_of(row["encoder"], row["family"], row["parameters"], images, captions)
        yield made | {"photo_classifier": row["photo_classifier"]}


def row_of(
    encoder: str, family: str, parameters: str | int, images: Embeddings, captions: Embeddings
) -> dict[str, str | int]:
    """The row of one encoder in a table of scores. images, captions: embeddings of the same n pairs."""
    values = vlmatch.score(images, captions, SCORES)
    noise = vlmatch.score(gaussian_twin(images.array.astype(float)), captions, TWINS)
    print(f"{encoder}: gw {values['gw']:.4f}", flush=True)
    return {
        "encoder": encoder,
        "family": family,
        "language_supervised": int(catalogue()[encoder].language_supervised),
        "width": images.array.shape[1],
        "tokens": TOKENS,
        "parameters": parameters,
        **{name: f"{values[name]:.6g}" for name in SCORES},
        **{f"{name}_noise": f"{noise[name]:.6g}" for name in TWINS},
    }


def stored_images(store: Store, probe: str, encoder: str) -> Embeddings:
    """The stored embeddings of an encoder by `feature=paper`; VlmatchError if there are none."""
    return stored(store.root / "embeddings" / probe / encoder / IMAGES)


def stored(folder: Path) -> Embeddings:
    """The embeddings in a folder of the store; VlmatchError if there are none."""
    found = read_file(folder / FILE)
    if found is None:
        raise VlmatchError(f"'{folder}' holds no finished embeddings; run experiment=embedded_all multirun first")
    return found


if __name__ == "__main__":
    main()
