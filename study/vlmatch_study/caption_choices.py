"""Print how well each score orders the study's encoders, by layer and pooling of the captions and by centring.

`python -m vlmatch_study.caption_choices smollm2 [LAYER ...]` takes the images' embeddings from the store and compares
each score with the truth of the trainings. Captions run through the LLM once for all its layers.
"""

import sys
from collections.abc import Mapping, Sequence

from vlmatch import paths
from vlmatch.api.probes import probe
from vlmatch.api.ranking import score_choice
from vlmatch.api.settings import store_of, trainer_settings
from vlmatch.configs import chosen
from vlmatch.embeddings.store import FILE, Embeddings, Store, read_file
from vlmatch.embeddings.variants import embed_variants
from vlmatch.errors import VlmatchError, one_line
from vlmatch.evidence.correlation import spearman
from vlmatch.evidence.truths import comparisons_in
from vlmatch.objects import plain
from vlmatch.probes.pairs import ProbeSet
from vlmatch.scores.layer_map import Choice, KeptCells, scored_cells
from vlmatch.settings.buildable import LlmSettings

LAYERS = (-18, -2, -1)
POOLINGS = ("last", "mean", "mean_after_first")
SCORES = ("gw", "mutual_nn", "cka", "rsa")
CENTRING = ("none", "both")


def main() -> None:
    """Print the table for the LLM, and the layers, that the command line names."""
    usage = "give an LLM and layers: python -m vlmatch_study.caption_choices smollm2 -2 -1"
    if len(sys.argv) < 2:
        raise SystemExit(usage)
    try:
        layers = [int(each) for each in sys.argv[2:]] or LAYERS
    except ValueError as error:
        raise SystemExit(f"{usage} ({error})") from error
    try:
        print("\n".join(table(sys.argv[1], layers, probe("stamps"), store_of(None))))
    except VlmatchError as error:
        raise SystemExit(one_line(error)) from error


def table(llm: str, layers: Sequence[int], pairs: ProbeSet, store: Store) -> list[str]:
    """The lines of a Markdown table: Spearman with the truth, one row for each choice and one column for each score.

    Raises VlmatchError if there are no trainings with the LLM, or no embeddings of their encoders.
    """
    truths = next((each for each in comparisons_in([paths.results()]) if each.setting.llm == llm), None)
    if truths is None:
        raise VlmatchError(f"llm={llm}: no results of trainings with it in '{paths.results()}'")
    images = _stored(store, pairs.key, {name for name, each in truths.by_encoder.items() if not each.control})
    if len(images) < 3:
        raise VlmatchError(f"store={store.root} has {len(images)} of the trained encoders; run experiment=embedded_all")
    settings = LlmSettings.of("llm", plain(chosen("llm", llm)))
    variants = [settings.changed(layer=layer, pooling=pooling) for pooling in POOLINGS for layer in layers]
    arrays = embed_variants(variants, pairs, store, trainer_settings("cpu"))
    captions = [Choice(each.layer, each.pooling, array) for each, array in zip(variants, arrays, strict=True)]
    found = _goodness(images, captions, KeptCells(store.root / "layers" / pairs.key / f"study--{llm}.jsonl"))
    truth = {name: truths.by_encoder[name].mean for name in images}
    lines = [f"{len(images)} encoders", "", f"| captions | centring | {' | '.join(SCORES)} |", "|---" * 6 + "|"]
    for choice in captions:
        for word in CENTRING:
            values = [_cell(found.get((choice.label, word, name), {}), truth) for name in SCORES]
            lines.append(f"| {choice.label} | {word} | {' | '.join(values)} |")
    return lines


def _goodness(
    images: Mapping[str, Embeddings], captions: Sequence[Choice], kept: KeptCells
) -> dict[tuple[str, str, str], dict[str, float]]:
    """By choice for the captions, centring and score: how good each encoder is."""
    scores = score_choice(SCORES)
    signs = {name: 1 if each.build().higher_is_better else -1 for name, each in scores.items()}
    encoders = [Choice(None, name, each) for name, each in images.items()]
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for cells in scored_cells(encoders, captions, CENTRING, scores, kept):
        for cell in cells:
            if cell.score in signs and cell.value is not None:
                row = found.setdefault((cell.text.label, cell.centring, cell.score), {})
                row[cell.image.label] = signs[cell.score] * cell.value
    return found


def _stored(store: Store, probe_key: str, names: set[str]) -> dict[str, Embeddings]:
    """By encoder, the usual feature's embeddings."""
    folders = {
        header.spec.model: folder
        for folder, header in store.headers(probe_key)
        if header.spec.kind == "encoder" and header.spec.slug == "paper" and header.spec.model in names
    }
    found = {name: read_file(folder / FILE) for name, folder in folders.items()}
    return {name: each for name, each in found.items() if each is not None}


def _cell(values: dict[str, float], truth: dict[str, float]) -> str:
    """Spearman where every encoder has a value."""
    if values.keys() != truth.keys():
        return "-"
    correlation = spearman([values[name] for name in truth], list(truth.values()))
    return "-" if correlation is None else f"{correlation:.2f}"


if __name__ == "__main__":
    main()
