"""A cell is the score of both choices' embeddings; what is known is not computed again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import made_rows
from vlmatch.api.ranking import score_choice
from vlmatch.embeddings.store import Embeddings, sha256_of
from vlmatch.geometry import PairedGeometry
from vlmatch.scores import layer_map
from vlmatch.scores.base import Score
from vlmatch.scores.cka import CKA
from vlmatch.scores.gw import GW
from vlmatch.scores.gw_centred import GWCentred
from vlmatch.scores.gw_paired import GWPaired
from vlmatch.scores.knn_accuracy import KNNAccuracy
from vlmatch.scores.layer_map import Cell, Choice, KeptCells, scored_cells
from vlmatch.scores.rsa import RSA


def choice(kind: str, array: np.ndarray, layer: int = 1, pooling: str = "mean", *, chosen: bool = False) -> Choice:
    header = replace(made_rows.header(kind, "m"), array_sha256=sha256_of(array))
    return Choice(layer, pooling, Embeddings(array, header), chosen)


@pytest.fixture
def sides(random: np.random.Generator) -> tuple[list[Choice], list[Choice]]:
    arrays = [random.normal(size=(20, width)) + 1 for width in (3, 5, 4)]
    return (
        [choice("encoder", arrays[0], 1), choice("encoder", arrays[1], 2, chosen=True)],
        [choice("llm", arrays[2], 7, chosen=True)],
    )


def cells_of(sides: tuple[list[Choice], list[Choice]], path: Path, scores: list[str]) -> list[Cell]:
    kept = KeptCells(path)
    return [
        cell
        for cells in scored_cells(*sides, ["none", "captions", "both"], score_choice(scores), kept)
        for cell in cells
    ]


def test_a_cell_is_the_score_of_its_embeddings(sides: tuple[list[Choice], list[Choice]], tmp_path: Path) -> None:
    found = cells_of(sides, tmp_path / "kept.jsonl", ["gw", "rsa", "cka"])
    assert len(found) == 2 * 1 * 3 * 4, "GW is also given relative to the captions' median angle"
    for cell in found:
        x, y = cell.image.embeddings.array, cell.text.embeddings.array
        if cell.centring == "both":
            x = x - x.mean(axis=0)
        if cell.centring in ("captions", "both"):
            y = y - y.mean(axis=0)
        pair = PairedGeometry.angular(x, y)
        own = {"rsa": RSA()(pair).value, "cka": CKA()(pair).value, "gw": GW()(pair).value}
        own["gw_relative"] = own["gw"] / np.sqrt(pair.text.median)
        assert cell.value == pytest.approx(own[cell.score], abs=1e-9)
    assert [(cell.image.layer, cell.centring) for cell in found if cell.chosen] == [(2, "none")] * 4


def test_known_cells_are_not_computed_again_and_a_torn_line_is(
    sides: tuple[list[Choice], list[Choice]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.jsonl"
    first = cells_of(sides, path, ["rsa", "cka"])
    lines = path.read_text().splitlines()
    assert len(lines) == 12
    path.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:20])
    computed: list[str] = []
    original = layer_map._computed

    def counted(score: Score, *rest: Any) -> layer_map.Values:
        computed.append(score.title)
        return original(score, *rest)

    monkeypatch.setattr(layer_map, "_computed", counted)
    assert [cell.value for cell in cells_of(sides, path, ["rsa", "cka"])] == [cell.value for cell in first]
    assert computed == ["CKA"]
    assert [cell.value for cell in cells_of(sides, path, ["rsa", "cka"])] == [cell.value for cell in first]
    assert computed == ["CKA"]
    edited = path.read_text().replace('"value": 0.', '"value": 0.9', 1)
    assert edited != path.read_text()
    path.write_text(edited)
    assert [cell.value for cell in cells_of(sides, path, ["rsa", "cka"])] == [cell.value for cell in first]
    assert computed == ["CKA", "RSA"], "an edited value is not believed"
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n1\n[]\n")
    assert [cell.value for cell in cells_of(sides, path, ["rsa", "cka"])] == [cell.value for cell in first]
    assert computed == ["CKA", "RSA"], "lines that are none of ours are passed over"


def test_two_names_of_one_score_have_the_same_cells(sides: tuple[list[Choice], list[Choice]], tmp_path: Path) -> None:
    asked = score_choice({"gw": GW(), "mine": GW()})
    cells = [cell for each in scored_cells(*sides, ["none"], asked, KeptCells(tmp_path / "kept")) for cell in each]
    found = {name: [cell.value for cell in cells if cell.score == name] for name in (*asked, "gw_relative")}
    assert found["gw"] == found["mine"]
    assert None not in found["gw"]
    assert found["gw_relative"] == [cell.value for cell in cells if cell.score == "mine_relative"]
    assert len(set(found["gw_relative"] + found["gw"])) == 4
    assert layer_map.shown("mine", GW()) == {"mine": "GW", "mine_relative": "GW rel."}


def test_a_score_that_is_called_gw_and_is_another_has_no_relative_value(
    sides: tuple[list[Choice], list[Choice]], tmp_path: Path
) -> None:
    for score in (GWPaired(), GWCentred()):
        kept = KeptCells(tmp_path / score.title)
        cells = [cell for each in scored_cells(*sides, ["none"], score_choice({"gw": score}), kept) for cell in each]
        assert [cell.score for cell in cells] == ["gw", "gw"]
        assert layer_map.shown("gw", score) == {"gw": score.title}


def test_a_score_that_is_not_defined_leaves_a_cell_empty_with_its_reason(tmp_path: Path) -> None:
    constant = choice("llm", np.ones((20, 4)))
    images = choice("encoder", np.random.default_rng(0).normal(size=(20, 3)))
    found = cells_of(([images], [constant]), tmp_path / "kept.jsonl", ["rsa"])
    assert [cell.value for cell in found] == [None] * 3
    assert "constant" in found[0].reason
    assert cells_of(([images], [constant]), tmp_path / "kept.jsonl", ["rsa"]) == found


def test_labels_are_used_and_a_score_that_lacks_what_it_uses_is_computed_once_that_is_known(
    sides: tuple[list[Choice], list[Choice]], tmp_path: Path
) -> None:
    asked = score_choice(["knn_accuracy", "tokens"])

    def found(labels: list[str] | None, **stated: int) -> dict[str, tuple[float | None, str]]:
        image, header = sides[0][0], sides[0][0].embeddings.header
        header = replace(header, spec=replace(header.spec, stated=stated))
        told = replace(image, embeddings=Embeddings(image.embeddings.array, header))
        (cells,) = scored_cells([told], sides[1], ["none"], asked, KeptCells(tmp_path / "kept.jsonl"), labels)
        return {cell.score: (cell.value, cell.reason) for cell in cells}

    unknown = found(None)
    assert unknown["knn_accuracy"] == (None, "the pairs have no labels")
    assert "state it: +encoder.tokens=576" in unknown["tokens"][1]
    labels = ["a", "b"] * 10
    pair = PairedGeometry.angular(sides[0][0].embeddings.array, sides[1][0].embeddings.array, labels=labels)
    known = found(labels, tokens=49)
    assert known["knn_accuracy"] == (KNNAccuracy()(pair).value, "")
    assert known["tokens"] == (49.0, "")
