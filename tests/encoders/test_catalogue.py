"""The catalogue: a row a yaml, figures that recount, sources beside them, and errors that name row and column."""

import csv
import re
from pathlib import Path

import pytest

from encoders.conftest import counting, encoder_configs
from vlmatch import paths
from vlmatch.configs import yaml_path
from vlmatch.encoders.catalogue import COMMERCIAL_USE, FILE, catalogue, read
from vlmatch.errors import VlmatchError

RECOUNTED = ["clip_b32", "siglip2_b16_256", "mae_b", "swin_b_in22k", "sam_b", "midas_dpt_l", "mobilenetv2"]


def test_every_yaml_has_a_row_and_every_row_a_yaml():
    configs = encoder_configs()
    variants = {name for name, each in configs.items() if each["_target_"].startswith("vlmatch_study.transformed.")}
    assert sorted(catalogue()) == sorted(set(configs) - variants - {"fused", "precomputed"})  # whatever a user gives


def test_what_was_trained_here_is_marked_and_nothing_else():
    kept = {path.name for path in (paths.root() / "study" / "weights").iterdir() if path.is_dir()}
    assert {name.partition("_layer")[0] for name, entry in catalogue().items() if entry.trained_on_domain} == kept


def test_an_entry_of_one_layer_has_the_layer_of_its_yaml():
    layers = {name: config.get("layer") for name, config in encoder_configs().items()}
    assert [name for name, entry in catalogue().items() if entry.layer != layers[name]] == []


@pytest.mark.parametrize("name", RECOUNTED)
def test_the_figures_recount(name):
    entry, counted = catalogue()[name], counting().count(name)
    for column in ("image_parameters", "total_parameters", "gflops", "resolution", "visual_tokens"):
        assert getattr(entry, column) == getattr(counted, column), column


def test_flops_of_a_vision_transformer_are_its_matrix_products():
    tokens, width, depth, patch = 577, 1024, 24, 14
    blocks = depth * (12 * tokens * width**2 + 2 * tokens**2 * width)  # projections and MLP; scores and their use
    embedding = (tokens - 1) * 3 * patch**2 * width
    assert catalogue()["clip_l336"].gflops == pytest.approx(2 * (blocks + embedding) / 1e9, rel=1e-3)


def test_tokens_are_those_of_each_yamls_first_line_and_the_licence_is_the_yamls():
    for name, config in encoder_configs().items():
        entry = catalogue().get(name)
        line = yaml_path("encoder", name).read_text().splitlines()[0]
        grid = re.search(r", (\d+) x (\d+) tokens of ", line)
        if entry and grid:
            assert entry.visual_tokens == int(grid[1]) * int(grid[2]), name
        if entry and config.get("licence"):
            assert entry.licence == config["licence"]["name"], name
            assert entry.source_licence.startswith(config["licence"]["source"]), name


def test_every_figure_has_a_source_and_non_commercial_licences_say_so():
    for name, entry in catalogue().items():
        assert entry.source_parameters, name
        assert (entry.gflops is None) == (entry.source_gflops is None), name
        assert (entry.zero_shot_imagenet is None) == (entry.source_zero_shot is None), name
        assert entry.zero_shot_imagenet is None or 1 < entry.zero_shot_imagenet < 100, name
        assert entry.total_parameters is None or entry.total_parameters >= entry.image_parameters, name
        assert entry.commercial_use in COMMERCIAL_USE, name
        if re.search(r"\bNC\b|AMLR", entry.licence):
            assert entry.commercial_use == "no", name


def rows(tmp_path: Path, **changes: str) -> Path:
    """A catalogue of one row: that of clip_b32 with `changes`."""
    with FILE.open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["name"] == "clip_b32")
    path = tmp_path / "catalogue.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row | changes)
    return path


def test_an_empty_cell_is_none_where_it_may_be(tmp_path):
    assert read(rows(tmp_path, gflops="", total_parameters=""))["clip_b32"].gflops is None
    assert read(rows(tmp_path))["clip_b32"] == catalogue()["clip_b32"]


@pytest.mark.parametrize(
    ("column", "cell", "wanted"),
    [
        ("image_parameters", "", "a whole number"),
        ("gflops", "many", "a number or nothing"),
        ("trained_on_domain", "maybe", "true or false"),
        ("licence", "", "some text"),
        ("commercial_use", "perhaps", "one of yes, no, unclear"),
    ],
)
def test_a_wrong_cell_is_named(tmp_path, column, cell, wanted):
    with pytest.raises(VlmatchError, match=rf"row 'clip_b32' has {column}='{cell}'; wanted {wanted}"):
        read(rows(tmp_path, **{column: cell}))


def test_a_name_in_two_rows_is_refused(tmp_path):
    path = rows(tmp_path)
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(VlmatchError, match="'clip_b32' has two rows"):
        read(path)
