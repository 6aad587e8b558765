"""What a candidate costs: the catalogue's figures where they hold, else what was counted or is stated."""

from dataclasses import replace

import pytest
import yaml

from made_rows import header, row
from vlmatch import paths
from vlmatch.configs import POOL_GROUPS
from vlmatch.costs.candidate import CandidateCost, cost_of, costs_of
from vlmatch.embeddings.header import Header
from vlmatch.embeddings.measured import Measured, known_of
from vlmatch.encoders.catalogue import catalogue
from vlmatch.packages.licences import commercial_use_by
from vlmatch.settings.budget import CostSettings

CLIP = catalogue()["clip_b16"]
MEASURED = Measured(items=100, seconds=4.0, device="a chip", gflops=9.0, tokens=25)


def clip(n_parameters: int | None = CLIP.image_parameters, **settings: object) -> Header:
    made = header("encoder", "clip_b16")
    return replace(made, n_parameters=n_parameters, spec=replace(made.spec, settings=settings))


def test_a_catalogued_encoder_has_the_catalogues_figures_and_the_measured_speed() -> None:
    cost = cost_of(clip(), MEASURED)
    assert cost == CandidateCost(
        "clip_b16", CLIP.image_parameters, CLIP.gflops, CLIP.visual_tokens, 25.0, "a chip", "MIT", "yes",
        CLIP.source_licence,
    )  # fmt: skip
    assert str(cost) == "85.8M parameters, 35.13G FLOPs, 196 tokens, 25 images/s (a chip), MIT"
    assert cost_of(clip()).images_per_second is None


def test_precomputed_embeddings_of_a_catalogued_encoder_have_its_size() -> None:
    assert cost_of(clip(None)).parameters == CLIP.image_parameters


def test_at_another_resolution_or_layer_the_count_holds_and_the_licence_stays() -> None:
    cost = cost_of(clip(image_size=336), MEASURED)
    assert (cost.gflops, cost.tokens, cost.licence) == (9.0, 25, "MIT")
    assert cost_of(clip(image_size=CLIP.resolution), MEASURED).gflops == CLIP.gflops
    assert cost_of(clip(image_size=336)).gflops is None
    assert cost_of(clip(layer=-2), MEASURED).gflops == 9.0


def test_another_model_of_the_same_name_has_nothing_of_the_catalogue() -> None:
    other = replace(clip(3_000_000), licence={"name": "CC-BY-NC-4.0", "source": "LICENSE", "how": "catalogue"})
    cost = cost_of(other, MEASURED)
    assert (cost.parameters, cost.gflops, cost.tokens) == (3_000_000, 9.0, 25)
    assert (cost.licence, cost.commercial_use, cost.licence_source) == ("CC-BY-NC-4.0", "no", "LICENSE")


@pytest.mark.parametrize(
    "made",
    [
        clip(),
        clip(None),
        clip(3_000_000),
        clip(image_size=336),
        clip(layer=3),
        replace(clip(), preprocessing={"size": 112}),
        replace(clip(), spec=replace(clip().spec, stated={"tokens": 144})),
        header("encoder", "mine"),
    ],
)
@pytest.mark.parametrize("measured", [None, MEASURED])
def test_costs_and_the_spec_sheet_agree(made: Header, measured: Measured | None) -> None:
    cost, sheet = cost_of(made, measured), known_of(made, measured)
    assert (cost.parameters, cost.gflops, cost.tokens) == (sheet.parameters, sheet.gflops, sheet.tokens)


def test_tokens_that_an_encoder_states_go_before_those_that_were_counted() -> None:
    stated = replace(clip(), spec=replace(clip().spec, stated={"tokens": 144}))
    assert cost_of(stated, MEASURED).tokens == 144
    assert cost_of(stated, MEASURED, CostSettings.of("costs.clip_b16", {"tokens": 100})).tokens == 100


def test_what_is_stated_of_an_encoder_holds_for_each_of_its_layers() -> None:
    plain = row("mine", gw=1.0)
    layered = replace(plain, image=replace(plain.image, spec=replace(plain.image.spec, settings={"layer": 3})))
    stated = {"mine": CostSettings.of("costs.mine", {"tokens": 4})}
    assert {name: cost.tokens for name, cost in costs_of([plain, layered], stated=stated).items()} == {
        "mine": 4,
        "mine @ layer 3": 4,
    }
    own = {**stated, "mine @ layer 3": CostSettings.of("costs", {"tokens": 5})}
    assert costs_of([layered], stated=own)["mine @ layer 3"].tokens == 5


def test_what_nothing_is_known_of_stays_unknown(own_header: Header) -> None:
    assert cost_of(own_header) == CandidateCost("mine")
    assert str(cost_of(own_header)) == "? parameters, ? FLOPs, ? tokens, licence not known"


def test_what_the_user_states_goes_before_all_else(own_header: Header) -> None:
    stated = CostSettings.of("costs.mine", {"flops": "17.6G", "tokens": 196, "params": "86M", "licence": "MIT"})
    cost = cost_of(own_header, MEASURED, stated)
    assert (cost.parameters, cost.gflops, cost.tokens) == (86_000_000, 17.6, 196)
    assert (cost.licence, cost.commercial_use, cost.licence_source) == ("MIT", "yes", "costs.mine.licence")
    forbidden = CostSettings.of("costs.clip_b16", {"commercial": False})
    assert cost_of(clip(), stated=forbidden).commercial_use == "no"


def test_each_encoder_of_several_rows_has_one_cost() -> None:
    rows = [row("a", "one", gw=1.0), row("a", "two", gw=1.0), row("b", "one", gw=1.0)]
    stated = {"b": CostSettings.of("costs.b", {"tokens": 4})}
    costs = costs_of(rows, lambda spec: MEASURED if spec.model == "a" else None, stated)
    assert list(costs) == ["a", "b"]
    assert (costs["a"].images_per_second, costs["b"].images_per_second) == (25.0, None)
    assert costs["b"].tokens == 4


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", "yes"),
        ("Apache-2.0 AND BSD-2-Clause AND MIT", "yes"),
        ("Apache-2.0 + MIT", "yes"),
        ("MIT + CC-BY-NC-4.0", "no"),
        ("non-commercial (own terms)", "no"),
        ("MIT AND own terms", "unclear"),
        ("AGPL-3.0", "terms"),
        ("MIT AND AGPL-3.0", "terms"),
        ("SYNC", "unclear"),
        ("", "unclear"),
        (None, "unclear"),
    ],
)
def test_a_licences_name_tells_whether_commercial_use_is_allowed(licence: str | None, allowed: str) -> None:
    assert commercial_use_by(licence) == allowed


def test_by_name_no_licence_of_the_catalogue_is_read_more_freely_than_the_catalogue_says() -> None:
    curated = ("yes", "unclear")  # terms that the weights' training data add are in no licence's name
    for name, entry in catalogue().items():
        if entry.commercial_use == "no":
            assert commercial_use_by(entry.licence) != "yes", name
        if commercial_use_by(entry.licence) == "yes":
            assert entry.commercial_use in curated, name


def test_every_encoder_of_the_pool_has_all_figures() -> None:
    pool = yaml.safe_load((paths.root() / "conf" / "pool.yaml").read_text())
    for name in (name for group in POOL_GROUPS for name in pool[group]):
        entry = catalogue()[name]
        made = replace(header("encoder", name), n_parameters=entry.image_parameters)
        cost = cost_of(made)
        assert None not in (cost.parameters, cost.gflops, cost.tokens, cost.licence), name
