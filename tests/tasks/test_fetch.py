"""The task fetch: the probe's data or the split's, checked against their .dvc files."""

from pathlib import Path

import pytest

from vlmatch.configs import composed
from vlmatch.errors import VlmatchError
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import FetchTask
from vlmatch.tasks.fetch import fill


def config(*overrides: str) -> Settings[FetchTask]:
    return Settings[FetchTask].read(composed("task=fetch", *overrides))


def test_a_users_own_images_are_not_fetched() -> None:
    with pytest.raises(VlmatchError, match=r"probe 'folder'.*probe\.path"):
        fill(config("probe=folder", "probe.path=/pictures"))


def test_a_config_without_a_split_has_none_to_fetch() -> None:
    with pytest.raises(VlmatchError, match=r"split=null"):
        fill(config("task.what=split", "~split"))


@pytest.mark.parametrize("overrides", [["task.what=split"], ["probe=clipart"]])
def test_the_split_and_a_probe_drawn_from_it_verify_every_source(tmp_path: Path, overrides: list[str]) -> None:
    names = ("openclipart", "emoji_google", "openmoji")
    for folder in (tmp_path / "data/stamps", *(tmp_path / "sources" / name for name in names)):
        folder.mkdir(parents=True)
        (folder / "something").write_text("here")
    for name in names[1:]:
        recorded = "outs:\n- {md5: 0.dir, size: 4, nfiles: 1, path: x}\n"
        (tmp_path / f"sources/{name}.dvc").write_text(recorded)
        with pytest.raises(VlmatchError, match=rf"differs from {name}\.dvc.*task=fetch task\.what=split"):
            fill(config(f"sources={tmp_path}/sources", f"data={tmp_path}/data", *overrides))
        (tmp_path / f"sources/{name}.dvc").unlink()
