"""Hugging Face datasets on disk: features, splits, columns, and folders that are none."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hub_server import Hub
from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.probes.hf_dataset import DatasetCell, hf_dataset

datasets = pytest.importorskip("datasets")


def features(**more: Any) -> Any:
    """Of an image and its caption."""
    return datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string"), **more})


@pytest.fixture
def dataset(tmp_path: Path) -> Any:
    """Five greys with captions and class labels."""
    columns = {
        "image": [Image.new("RGB", (6, 5), (n, n, n)) for n in range(5)],
        "caption": [f"Grey {n}." for n in range(5)],
        "kind": [0, 1, 0, -1, None],
    }
    return datasets.Dataset.from_dict(columns, features(kind=datasets.ClassLabel(names=["even", "odd"])))


def test_a_dataset_with_images_and_class_labels(dataset: Any, tmp_path: Path) -> None:
    dataset.save_to_disk(tmp_path / "d")
    probe = hf_dataset(tmp_path / "d", label="kind")
    assert [(pair.id, pair.caption) for pair in probe.pairs] == [(f"{n}", f"Grey {n}.") for n in range(5)]
    assert probe.labels == ["even", "odd", "even", None, None]
    for place in (3, 0, 4):
        assert np.asarray(probe.image(place)).max() == place


def test_a_shuffled_selection_keeps_images_with_their_captions(dataset: Any, tmp_path: Path) -> None:
    dataset.shuffle(seed=1).select([0, 2, 4]).save_to_disk(tmp_path / "d")
    probe = hf_dataset(tmp_path / "d", caption="caption", id="caption")
    for place, pair in enumerate(probe.pairs):
        assert pair.id == pair.caption == f"Grey {np.asarray(probe.image(place)).max()}."


@pytest.mark.parametrize("saved", [True, False])
def test_a_dataset_that_was_written_anew_has_its_new_images(dataset: Any, tmp_path: Path, saved: bool) -> None:
    other = dataset.map(lambda row: {"image": Image.new("RGB", (6, 5), (200, 0, 0)), "caption": "Red."})
    (tmp_path / "d" / "data").mkdir(parents=True)
    for each, value in ((dataset, 4), (other, 200)):
        if saved:
            each.save_to_disk(tmp_path / "d")
        else:
            each.to_parquet(tmp_path / "d" / "data" / "train-00000-of-00001.parquet")
        probe = hf_dataset(tmp_path / "d", drop_duplicates=False)
        assert np.asarray(probe.image(4)).max() == value


def test_splits_are_chosen_by_name(dataset: Any, tmp_path: Path) -> None:
    datasets.DatasetDict({"train": dataset, "test": dataset.select([1, 3])}).save_to_disk(tmp_path / "d")
    assert hf_dataset(tmp_path / "d", "test").captions == ["Grey 1.", "Grey 3."]
    for split, given in ((None, "null"), ("dev", "dev")):
        with pytest.raises(VlmatchError, match=f"probe.split={given}; .* has train, test: choose one"):
            hf_dataset(tmp_path / "d", split)
    datasets.DatasetDict({"train": dataset}).save_to_disk(tmp_path / "one")
    assert len(hf_dataset(tmp_path / "one", drop_duplicates=False)) == 5  # its only split
    dataset.save_to_disk(tmp_path / "e")
    with pytest.raises(VlmatchError, match=r"has no splits; give probe\.split=null"):
        hf_dataset(tmp_path / "e", "train")


def test_images_beside_a_table_are_read_where_a_link_leads_to_their_folder(tmp_path: Path, pixel: bytes) -> None:
    place = tmp_path / "real" / "train"
    place.mkdir(parents=True)
    for name in "ab":
        (place / f"{name}.png").write_bytes(pixel + name.encode())
    (place / "metadata.csv").write_text("file_name,text\na.png,An a.\nb.png,A b.\n")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert hf_dataset(tmp_path / "link", caption="text").captions == ["An a.", "A b."]


def test_encoded_bytes_and_several_captions(tmp_path: Path, pixel: bytes) -> None:
    columns = {"jpg": [pixel, pixel + b"1"], "texts": [["A.", "B."], ["C."]]}
    datasets.Dataset.from_dict(columns).save_to_disk(tmp_path / "d")
    probe = hf_dataset(tmp_path / "d", image="jpg", caption="texts")
    assert probe.captions == ["A.", "C."]
    assert probe.image(1).size == (1, 1)


def test_columns_that_are_not_there_or_of_another_type_are_named(dataset: Any, tmp_path: Path) -> None:
    dataset.save_to_disk(tmp_path / "d")
    with pytest.raises(VlmatchError, match=r"has no column 'text'; it has image, caption, kind: .* by probe\.image"):
        hf_dataset(tmp_path / "d", caption="text")
    with pytest.raises(VlmatchError, match=r"row 0 in .*column 'kind' is of type int"):
        hf_dataset(tmp_path / "d", caption="kind")
    with pytest.raises(VlmatchError, match=r"image 'row 0 in .*' is of type str"):
        hf_dataset(tmp_path / "d", image="caption")


def test_images_by_path_are_read_or_said_to_be_missing(tmp_path: Path, pixel: bytes) -> None:
    for n in range(3):
        (tmp_path / f"{n}.png").write_bytes(pixel + bytes([n]))
    paths = [{"bytes": None, "path": str(tmp_path / f"{n}.png")} for n in range(3)]
    struct = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    made = datasets.Features({"image": struct, "caption": datasets.Value("string")})
    datasets.Dataset.from_dict({"image": paths, "caption": ["A.", "B.", "C."]}, made).save_to_disk(tmp_path / "d")
    said = r"is the file '.*0\.png', outside of .*, which only probe\.images_outside=true allows"
    with pytest.raises(VlmatchError, match=said):
        hf_dataset(tmp_path / "d")
    assert len(hf_dataset(tmp_path / "d", images_outside=True)) == 3
    (tmp_path / "1.png").unlink()
    with pytest.raises(VlmatchError, match=r"image 'row 1 in .*' of '1' can't be read \(No such file"):
        hf_dataset(tmp_path / "d", images_outside=True)


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"_data_files": [{"filename": "x.arrow"}]}'])
def test_a_folder_that_is_no_dataset_is_refused_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        for name in ("state.json", "dataset_info.json"):
            (tmp_path / name).write_bytes(content)
    with pytest.raises(VlmatchError, match=r"probe\.path=.* is not a dataset") as caught:
        hf_dataset(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_cell_can_be_sent_to_another_process(dataset: Any, tmp_path: Path) -> None:
    dataset.save_to_disk(tmp_path / "d")
    cell = hf_dataset(tmp_path / "d").pairs[2].image
    assert isinstance(cell, DatasetCell)
    assert pickle.loads(pickle.dumps(cell)).read() == cell.read()


def in_layout(dataset: Any, folder: Path) -> Path:
    """A folder in the hub's layout, with two splits."""
    (folder / "data").mkdir(parents=True)
    dataset.to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    dataset.select([1, 2]).to_parquet(folder / "data" / "test-00000-of-00001.parquet")
    return folder


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `datasets` writes goes to a folder of the test."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))


@pytest.mark.usefixtures("own_cache")
def test_a_folder_in_the_hubs_layout_is_read(dataset: Any, tmp_path: Path) -> None:
    folder = in_layout(dataset, tmp_path / "d")
    probe = hf_dataset(folder, "test", label="kind")
    assert (probe.captions, probe.labels) == (["Grey 1.", "Grey 2."], ["odd", "even"])
    assert np.asarray(probe.image(1)).max() == 2
    with pytest.raises(VlmatchError, match=r"probe\.split=null; .* has train, test: choose one"):
        hf_dataset(folder)
    with pytest.raises(VlmatchError, match=r"Unknown split .dev"):
        hf_dataset(folder, "dev")


@pytest.mark.usefixtures("own_cache")
def test_a_dataset_on_the_hub_is_downloaded_once_and_then_read_without_it(
    hub: Hub, dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put("datasets/owner/greys", in_layout(dataset, tmp_path / "d"))
    probe = hf_dataset("owner/greys", "train", label="kind")
    assert probe.captions == [f"Grey {n}." for n in range(5)]
    assert probe.labels == ["even", "odd", "even", None, None]
    assert np.asarray(probe.image(3)).max() == 3
    assert probe.source == f"owner/greys, revision {hub.sha('datasets/owner/greys')[:12]}"
    asked = len(hub.asked)
    monkeypatch.setenv("VLMATCH_OFFLINE", "1")
    assert hf_dataset("owner/greys", "test").captions == ["Grey 1.", "Grey 2."]
    assert len(hub.asked) == asked
    with pytest.raises(NotHereError, match=r"data 'owner/other' are not here, and offline=true .*probe\.path="):
        hf_dataset("owner/other", "test")


def test_a_dataset_that_the_hub_does_not_give_is_one_line(hub: Hub) -> None:
    hub.put("datasets/owner/gated", {"data.csv": b"image,caption"})
    hub.gated.add("datasets/owner/gated")
    for path, said in (("owner/nothing", "no such repository"), ("owner/gated", "is gated: accept its licence")):
        with pytest.raises(
            NotHereError, match=rf"data '{path}' are not here: .*{said}.*; give probe\.path=/path"
        ) as caught:
            hf_dataset(path, "train")
        assert "\n" not in str(caught.value)
    for path in ("no body/x", "/no/folder", "a/b/c", "../x"):
        with pytest.raises(VlmatchError, match="is neither a folder nor a name on the hub"):
            hf_dataset(path)


def test_bad_captions_are_skipped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path / "vlmatch"))
    columns = {"image": [Image.new("RGB", (6, 5), (n, n, n)) for n in range(3)], "caption": ["One.", None, "nan"]}
    columns["image"].append(Image.new("RGB", (6, 5), (9, 9, 9)))
    columns["caption"].append("Four.")
    datasets.Dataset.from_dict(columns, features()).save_to_disk(tmp_path / "d")
    probe = hf_dataset(tmp_path / "d", bad_rows="skip")
    assert probe.captions == ["One.", "Four."]
    assert probe.counts.skipped == {"without a caption": 2}
