"""Layers: every score of one encoder and one LLM over their layers, poolings and centring, as ranges and heat maps."""

from collections.abc import Sequence
from functools import cache
from typing import Literal, TypeVar

from vlmatch.api.ranking import score_choice
from vlmatch.embeddings.embed import embed
from vlmatch.embeddings.layered import layers_of
from vlmatch.embeddings.store import Store
from vlmatch.embeddings.variants import embed_variants
from vlmatch.errors import VlmatchError
from vlmatch.geometry import Labels
from vlmatch.machine.bars import bar
from vlmatch.objects import task
from vlmatch.probes.pairs import ProbeSet
from vlmatch.report.layer_map import range_table, write_page, write_table
from vlmatch.report.table import say, terminal
from vlmatch.scores.layer_map import Cell, Choice, KeptCells, LayerMap, scored_cells, shown
from vlmatch.settings.buildable import EncoderSettings, LlmSettings, ObjectSettings
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import LayersTask

SPREAD = 6  # how many layers of a model 'spread' means

M = TypeVar("M", EncoderSettings, LlmSettings)


@task
def layers(settings: Settings[LayersTask]) -> None:
    """Embed with all layers and poolings, score every cell, print the ranges and write the table and the page.

    Stored embeddings and cells are not computed again, so a killed run continues where it stopped.
    """
    scores = _scores(settings)
    probe, store = settings.probe.build(), Store(settings.store)
    images = _choices_of_encoder(settings, probe, store)
    captions = _choices_of_llm(settings, probe, store)
    names = settings.encoder.name, settings.llm.name
    kept = KeptCells(store.root / "layers" / probe.key / f"{names[0]}--{names[1]}.jsonl")
    cells = _scored(images, captions, settings.task.centring, scores, kept, probe.labels)
    titles = {key: title for name, each in scores.items() for key, title in shown(name, each.build()).items()}
    found = LayerMap(*names, probe.key, len(probe), titles, tuple(cells))
    terminal().print(range_table(found))
    if settings.task.table is not None:
        write_table(settings.task.table, found)
        say(f"table: {settings.task.table}")
    if settings.task.page is not None:
        write_page(settings.task.page, found)
        say(f"heat maps: {settings.task.page}")


def numbers(key: str, wanted: Literal["spread", "all"] | Sequence[int], n_layers: int) -> list[int]:
    """The chosen layers, counted from 1, in rising order. wanted: negative numbers count from the end.

    Raises VlmatchError on a layer that is not one of `n_layers`.
    """
    if isinstance(wanted, str):
        n = n_layers if wanted == "all" else min(SPREAD, n_layers)
        return sorted({round(1 + place * (n_layers - 1) / max(n - 1, 1)) for place in range(n)})
    for layer in wanted:
        if not 1 <= abs(layer) <= n_layers:
            raise VlmatchError(
                f"{key}: there is no layer {layer}; choose 1 to {n_layers}, or -{n_layers} to -1 to count from the end"
            )
    return sorted({layer if layer > 0 else n_layers + 1 + layer for layer in wanted})


def _scores(settings: Settings[LayersTask]) -> dict[str, ObjectSettings]:
    """The scores by name, with the command's settings if it has some, else with those of their yamls."""
    return {name: settings.score.get(name) or score_choice([name])[name] for name in settings.task.scores}


def _choices_of_encoder(settings: Settings[LayersTask], probe: ProbeSet, store: Store) -> list[Choice]:
    """The encoder's feature as its settings ask for it, and each layer in each pooling."""
    encoder, wanted = settings.encoder, settings.task
    make = cache(encoder.build)
    own, _ = embed(encoder, probe, store, settings.trainer, make=make)
    asked = Choice(encoder.layer, f"usual: {own.header.rule}", own, chosen=True)
    layers = layers_of(store, own.header.spec, make)
    if layers.n == 0:
        print(f"encoder '{encoder.name}' has no layers to choose from: only its usual feature is shown")
        return [asked]
    features = list(wanted.encoder_poolings)
    if not layers.has_cls:  # then both poolings are the mean of the layer
        features = list(dict.fromkeys("vlm_input" if each == "paper" else each for each in features))
    names = {"paper": "CLS", "vlm_input": "mean"}
    found = numbers("task.encoder_layers", wanted.encoder_layers, layers.n)
    variants = [encoder.changed(layer=number, feature=feature) for number in found for feature in features]
    arrays = embed_variants(variants, probe, store, settings.trainer, make=make)
    return [asked] + [
        Choice(each.layer, names.get(each.feature, each.feature), array)
        for each, array in zip(variants, arrays, strict=True)
    ]


def _choices_of_llm(settings: Settings[LayersTask], probe: ProbeSet, store: Store) -> list[Choice]:
    """The captions as the LLM's settings ask for them, and each layer in each pooling."""
    llm, wanted = settings.llm, settings.task
    make = cache(llm.build)
    own, _ = embed(llm, probe, store, settings.trainer, make=make)
    n = layers_of(store, own.header.spec, make).n
    if n == 0:
        return [Choice(None, "as they are", own, chosen=True)]
    usual = llm.layer if llm.layer >= 0 else n + 1 + llm.layer
    found = sorted({*numbers("task.llm_layers", wanted.llm_layers, n), usual})
    poolings = list(dict.fromkeys([*wanted.llm_poolings, llm.pooling]))
    variants = [
        llm.changed(layer=llm.layer if number == usual else number, pooling=pooling)
        for pooling in poolings
        for number in found
    ]
    arrays = embed_variants(variants, probe, store, settings.trainer, make=make)
    return [
        Choice(number, each.pooling, array, chosen=(number, each.pooling) == (usual, llm.pooling))
        for number, each, array in zip(found * len(poolings), variants, arrays, strict=True)
    ]


def _scored(
    images: Sequence[Choice],
    captions: Sequence[Choice],
    centring: Sequence[str],
    scores: dict[str, ObjectSettings],
    kept: KeptCells,
    labels: Labels,
) -> list[Cell]:
    total = len(images) * len(captions) * len(centring)
    print(f"scoring {total} cells: {len(images)} of images x {len(captions)} of captions x {len(centring)} centrings")
    with bar(terminal()) as progress:
        cells = scored_cells(images, captions, centring, scores, kept, labels)
        steps = progress.track(cells, total=total, description="cells")
        return [cell for found in steps for cell in found]
