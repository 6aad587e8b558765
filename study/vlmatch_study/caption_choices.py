"""Score the study's encoders by layer and pooling of the captions, with and without centring.

`python -m vlmatch_study.caption_choices` writes study/worlds/caption_choices.csv, the source of tables in
docs/scores.md and docs/findings.md. It reads no truth. It reads the embeddings of images from the store, where
`experiment=embedded_all` puts them, and runs the captions through each LLM once for all layers. If it is killed, the
same command continues.
"""

from collections.abc import Iterator, Sequence

from vlmatch.api.probes import probe
from vlmatch.api.ranking import score_choice
from vlmatch.api.settings import store_of, trainer_settings
from vlmatch.configs import chosen
from vlmatch.embeddings.store import Store
from vlmatch.embeddings.variants import embed_variants
from vlmatch.errors import VlmatchError, one_line
from vlmatch.objects import plain
from vlmatch.probes.pairs import ProbeSet
from vlmatch.scores.layer_map import Choice, KeptCells, scored_cells
from vlmatch.settings.buildable import LlmSettings
from vlmatch_study.evidence.scores import stored_images
from vlmatch_study.evidence.worlds import EMBEDDED
from vlmatch_study.rows import NewRow, read, write

TABLE = EMBEDDED.with_name("caption_choices.csv")
LAYERS = {"smollm2": (-18, -2, -1), "gemma3_270m": (-2,)}
POOLINGS = ("last", "mean", "mean_after_first")
SCORES = ("gw", "mutual_nn", "cka", "rsa")
CENTRING = ("none", "both")


def main() -> None:
    """Score every choice for both LLMs and write the table."""
    pairs, store = probe("stamps"), store_of(None)
    encoders = [row["encoder"] for row in read(EMBEDDED)]
    try:
        write(TABLE, [row for llm, layers in LAYERS.items() for row in rows(llm, layers, encoders, pairs, store)])
    except VlmatchError as error:
        raise SystemExit(one_line(error)) from error


def rows(llm: str, layers: Sequence[int], encoders: Sequence[str], pairs: ProbeSet, store: Store) -> Iterator[NewRow]:
    """One row for each encoder, layer, pooling and centring, with the value of each score to 6 significant digits.

    Raises VlmatchError if the store lacks the embeddings of an encoder.
    """
    images = [Choice(None, name, stored_images(store, pairs.key, name)) for name in encoders]
    settings = LlmSettings.of("llm", plain(chosen("llm", llm)))
    variants = [settings.changed(layer=layer, pooling=pooling) for layer in layers for pooling in POOLINGS]
    arrays = embed_variants(variants, pairs, store, trainer_settings("cpu"))
    captions = [Choice(each.layer, each.pooling, array) for each, array in zip(variants, arrays, strict=True)]
    kept = KeptCells(store.root / "layers" / pairs.key / f"study--{llm}.jsonl")
    for cells in scored_cells(images, captions, CENTRING, score_choice(SCORES), kept):
        first = cells[0]
        values = {each.score: "" if each.value is None else f"{each.value:.6g}" for each in cells}
        yield {
            "llm": llm,
            "encoder": first.image.label,
            "layer": first.text.layer or 0,
            "pooling": first.text.pooling,
            "centring": first.centring,
            **{name: values[name] for name in SCORES},
        }


if __name__ == "__main__":
    main()
