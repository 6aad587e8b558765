"""task=layers: the ranges, a table with one row for each cell, a page of heat maps; bad input is one line."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import made_vlms
from encoders.test_transformers_models import save
from vlmatch.errors import VlmatchError
from vlmatch.settings.buildable import ModelSettings
from vlmatch.tasks.layers import SPREAD, numbers

Cli = Callable[..., tuple[int, str, str]]


@given(n=st.integers(1, 80))
def test_a_spread_reaches_from_the_first_to_the_last_layer(n: int) -> None:
    found = numbers("key", "spread", n)
    assert found == sorted(set(found))
    assert (found[0], found[-1]) == (1, n)
    assert len(found) == min(n, SPREAD)
    assert numbers("key", "all", n) == list(range(1, n + 1))
    assert numbers("key", [-1, n, -n], n) == sorted({1, n})


@pytest.mark.parametrize("wanted", [[0], [13], [-13, 1]])
def test_layers_that_are_not_there_are_refused(wanted: list[int]) -> None:
    with pytest.raises(VlmatchError, match=r"task.llm_layers.* 12"):
        numbers("task.llm_layers", wanted, 12)


@pytest.fixture
def tiny(tmp_path: Path, picture_folder: Path) -> list[str]:
    """Overrides that choose a tiny tower of 3 layers, a tiny LLM of 2 and twelve pictures."""
    save(tmp_path / "tower", "dinov2")
    made_vlms.tiny_llm(tmp_path / "llm")
    return [
        *("task=layers", "encoder=dinov2_b_hf", f"encoder.checkpoint={tmp_path}/tower"),
        *("llm=smollm2", f"llm.repository={tmp_path}/llm"),
        *("probe=folder", f"probe.path={picture_folder}", "task.scores=[gw,rsa]"),
    ]


def test_every_cell_is_in_the_table_and_the_second_run_loads_and_computes_nothing(
    cli: Cli, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, build = [], ModelSettings.build
    monkeypatch.setattr(ModelSettings, "build", lambda self: loaded.append(self.name) or build(self))
    code, output, error = cli(*tiny)
    assert code == 0, error
    assert loaded == ["dinov2_b_hf", "smollm2"], "each once"
    with (tmp_path / "outputs" / "layers.csv").open() as file:
        rows = list(csv.DictReader(file))
    images = {(row["encoder_layer"], row["encoder_pooling"]) for row in rows}
    captions = {(row["llm_layer"], row["llm_pooling"]) for row in rows}
    assert images == {("", "usual: cls"), *((str(k), pooling) for k in (1, 2, 3) for pooling in ("CLS", "mean"))}
    assert captions == {(str(k), pooling) for k in (1, 2) for pooling in ("last", "mean", "mean_after_first")}
    assert len(rows) == 7 * 6 * 2 * 3
    values = [float(row["value"]) for row in rows if row["score"] == "rsa"]
    line = next(line for line in output.splitlines() if line.strip().startswith("RSA"))
    low, high = (f"{value:.4f}".replace("0.", ".", 1) for value in (min(values), max(values)))
    assert line.split()[2:4] == [low, high]
    page = (tmp_path / "outputs" / "layers.html").read_text()
    assert page.count("<svg") == 3
    assert 'src="http' not in page
    table = (tmp_path / "outputs" / "layers.csv").read_bytes()
    code, again, _ = cli(*tiny)
    assert code == 0
    assert "embedding" not in again
    assert len(loaded) == 2
    assert (tmp_path / "outputs" / "layers.csv").read_bytes() == table


def test_an_encoder_without_layers_is_one_row(cli: Cli, tiny: list[str], tmp_path: Path) -> None:
    places = f"task.table='{tmp_path}/of[me]/layers.csv'", f"task.page='{tmp_path}/of[me]/layers.html'"
    code, output, error = cli("encoder=pixels16", *(each for each in tiny if not each.startswith("encoder")), *places)
    assert code == 0, error
    assert f"table: {tmp_path}/of[me]/layers.csv\nheat maps: {tmp_path}/of[me]/layers.html\n" in output
    assert "encoder 'pixels16' has no layers to choose from" in output
    with (tmp_path / "of[me]" / "layers.csv").open() as file:
        assert {row["encoder_layer"] for row in csv.DictReader(file)} == {""}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task.encoder_layers=[4]", "task.encoder_layers: there is no layer 4; choose 1 to 3"),
        ("task.llm_layers=most", "task.llm_layers='most'; wanted spread, all or a list of layers"),
        ("task.encoder_layers=[x]", 'task.encoder_layers=["x"]; wanted spread, all or a list of layers'),
        ("task.llm_poolings=[median]", "pooling='median' is unknown"),
        ("task.scores=[gwx]", "score='gwx' is unknown; did you mean"),
        ("task.centring=[all]", "task.centring"),
    ],
)
def test_bad_input_is_one_line(cli: Cli, tiny: list[str], override: str, message: str) -> None:
    code, _, error = cli(*tiny, override)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1


def test_a_layer_out_of_range_ends_a_ranking_in_one_line(cli: Cli, tiny: list[str]) -> None:
    code, _, error = cli(*(each for each in tiny if not each.startswith("task")), "encoder.layer=9", "score=[rsa]")
    assert code == 2
    assert "encoder 'dinov2_b_hf': layer=9, but it has 3 layers; choose 1 to 3, or -3 to -1" in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_sweep_over_layers_is_one_table(cli: Cli, tiny: list[str]) -> None:
    others = [each for each in tiny if not each.startswith("task")]
    code, output, error = cli(*others, "encoder.layer=-1,-2", "score=[rsa]", "multirun")
    assert code == 0, error
    last = output[output.rindex("features '") :]
    assert "dinov2_b_hf @ layer -1" in last
    assert "dinov2_b_hf @ layer -2" in last
