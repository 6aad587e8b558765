"""A probe by name, folder, table or settings, with the options of its yaml."""

from pathlib import Path
from typing import Any

import pytest

import vlmatch


def test_a_folder_and_its_table_are_the_same_probe_as_on_the_command_line(here: Path) -> None:
    from vlmatch.probes.folder import folder

    expected = folder("pictures")
    for source in (
        "pictures",
        Path("pictures"),
        "pictures/captions.csv",
        {"_target_": "vlmatch.probes.folder.folder", "path": "pictures"},
    ):
        assert vlmatch.probe(source).key == expected.key  # type: ignore[arg-type]
    assert vlmatch.probe(expected) is expected


def test_options_are_those_of_the_yaml(here: Path) -> None:
    assert len(vlmatch.probe("pictures", limit=3)) == 3
    assert len(vlmatch.probe("folder", path=here / "pictures", sample=5)) == 5


@pytest.mark.parametrize("name", ["data.json", "data.jsonl"])
def test_a_file_is_read_by_what_it_is(here: Path, name: str) -> None:
    (here / name).write_text(
        '[{"id": "1", "image": "pictures/red_ellipse.png", "conversations": [{"from": "human", "value": "<image>"}, '
        '{"from": "gpt", "value": "A red ellipse."}]}, {"id": "2", "image": "pictures/blue_ellipse.png", '
        '"conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "A blue ellipse."}]}]'
    )
    assert vlmatch.probe(name).captions == ["A red ellipse.", "A blue ellipse."]
    (here / name).write_text(
        '{"image": "pictures/red_ellipse.png", "caption": "Red."}\n'
        '{"image": "pictures/blue_ellipse.png", "text": "Blue."}'
    )
    assert vlmatch.probe(name).captions == ["Red.", "Blue."]


@pytest.mark.parametrize(
    ("source", "options", "parts"),
    [
        ("picture", {}, ["probe='picture'", "folder"]),
        ("pictures", {"limits": 3}, ["probe.limits=3", "limit"]),
        ("pictures", {"limit": 1}, ["probe.limit=1"]),
        ("folder", {}, ["probe.path"]),
        ("no-{8..9}.tar", {}, ["no shard 'no-8.tar'"]),
        ("no-*.parquet", {}, ["no Parquet file in probe.path=no-*.parquet"]),
        ({"path": "pictures"}, {}, ["probe._target_"]),
    ],
)
def test_bad_input_is_one_line(here: Path, source: Any, options: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(vlmatch.VlmatchError) as caught:
        vlmatch.probe(source, **options)
    assert all(part in str(caught.value) for part in parts)
    assert "\n" not in str(caught.value)


def test_a_probe_that_has_been_read_takes_no_options(here: Path) -> None:
    with pytest.raises(vlmatch.VlmatchError, match="limit"):
        vlmatch.probe(vlmatch.probe("pictures"), limit=3)


def test_one_pair_is_no_geometry(here: Path) -> None:
    table = (here / "pictures" / "captions.csv").read_text().splitlines()[:2]
    (here / "pictures" / "captions.csv").write_text("\n".join(table))
    with pytest.raises(vlmatch.VlmatchError, match="1 pair"):
        vlmatch.rank("pictures", "pixels16", "smollm2")
