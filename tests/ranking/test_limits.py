"""Where the evidence does not speak about a pool, and what other rules would have said."""

from dataclasses import replace

import pytest
import yaml

from made_rows import row
from vlmatch import paths
from vlmatch.embeddings.header import Header
from vlmatch.encoders.catalogue import catalogue
from vlmatch.evidence.record import record
from vlmatch.ranking.limits import LEAST_PAIRS, limits
from vlmatch.ranking.opinions import opinions
from vlmatch.scores.rows import Row

WORLD = record().world("pooled")
KNOWN = next(name for name, entry in catalogue().items() if entry.family in WORLD.catalogue_families)


def within(encoder: str = KNOWN, *, pairs: int = LEAST_PAIRS, llm_parameters: int = WORLD.llm_parameters) -> Row:
    made = row(encoder, gw=0.3, width=4.0)
    image = replace(made.image, spec=replace(made.image.spec, n_pairs=pairs))
    return replace(made, image=image, text=replace(made.text, n_parameters=llm_parameters))


def of_captions(made: Row, settings: dict[str, object]) -> Header:
    return replace(made.text, spec=replace(made.text.spec, settings=settings))


def test_a_pool_like_the_evidence_has_no_limits() -> None:
    assert limits([within()], WORLD) == ()


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ([within(llm_parameters=7_000_000_000)], "llm has 7.0B"),
        ([within(pairs=LEAST_PAIRS - 1)], "199 pairs are fewer than 200"),
        ([within(), within("mine")], "families of 1 of your 2 candidates (mine)"),
        ([within()] * 33, "yours 33"),
    ],
)
def test_each_way_to_lie_outside_is_named(rows: list[Row], part: str) -> None:
    (line,) = limits(rows, WORLD)
    assert part in line


def test_another_model_of_a_known_encoders_name_is_of_no_known_family() -> None:
    other = replace(within(), image=replace(within().image, n_parameters=10**12))
    (line,) = limits([within("mine"), other], WORLD)
    assert "families of 2 of your 2 candidates" in line


@pytest.mark.parametrize(
    ("rule", "captions", "differs"),
    [
        ("mean patch", {"layer": -1, "pooling": "mean"}, False),
        ("global average", {"layer": -1, "pooling": "mean"}, False),
        ("mean patch", {}, False),  # captions that were embedded elsewhere: nothing is known
        ("cls", {"layer": -1, "pooling": "mean"}, True),
        ("mean patch", {"layer": -2, "pooling": "mean"}, True),
        ("mean patch", {"layer": -1, "pooling": "last"}, True),
    ],
)
def test_other_features_than_those_of_the_evidence_are_told(
    rule: str, captions: dict[str, object], differs: bool
) -> None:
    patches = record().world("patches")
    known = next(name for name, entry in catalogue().items() if entry.family in patches.catalogue_families)
    made = within(known)
    made = replace(made, image=replace(made.image, rule=rule), text=of_captions(made, captions))
    found = limits([made], patches)
    assert len(found) == differs
    assert all("protocol=vtbenchlab makes them so" in line for line in found)
    assert limits([within()], WORLD) == ()
    mean = replace(within(), text=of_captions(within(), {"layer": -2, "pooling": "mean"}))
    assert "protocol=ours makes them so" in limits([mean], WORLD)[0]


def test_the_protocols_of_the_evidence_are_those_of_the_settings() -> None:
    for world in record().worlds:
        protocol = yaml.safe_load((paths.conf() / "protocol" / f"{world.embedded.protocol}.yaml").read_text())
        assert protocol["llm"] == {"layer": world.embedded.layer, "pooling": world.embedded.pooling}


def test_captions_of_documents_are_told_and_others_are_not() -> None:
    (line,) = limits([within()], WORLD, ["A page of a report.", "A cat.", "A bar chart."])
    assert line.startswith("67% of the captions speak of documents or charts")
    assert limits([within()], WORLD, ["A cat.", "A dog on a tablecloth."]) == ()


def test_natural_pictures_of_everyday_things_are_no_documents() -> None:
    captions = ["A table with flowers.", "Two tables and a table.", "A child on a slide.", "The form of a leaf."]
    assert limits([within()], WORLD, captions) == ()


def test_other_rules_are_asked_only_where_their_figures_are_known() -> None:
    rows = [row("a", gw=0.3), row("b", gw=0.2)]
    (gw,) = opinions(rows, WORLD, "random")
    assert gw.encoders == ("b",)
    assert gw.regret == WORLD.regret("gw", "random", 2)
    assert opinions([row("a", cka=0.3)], WORLD, "random") == ()


def test_gw_was_not_measured_where_patches_are_fed() -> None:
    (gw,) = opinions([row("a", gw=0.3), row("b", gw=0.2)], record().world("patches"), "random")
    assert gw.regret is None
