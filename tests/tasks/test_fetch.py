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
    with pytest.raises(VlmatchError, match=r"probe='folder'.*nothing to fetch"):
        fill(config("probe=folder", "probe.path=/pictures"))


def test_a_config_without_a_split_has_none_to_fetch() -> None:
    with pytest.raises(VlmatchError, match=r"split=null"):
        fill(config("task.what=split", "~split"))


@pytest.mark.parametrize("overrides", [["task.what=split"], ["probe=clipart"], ["probe=furniture"]])
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


def test_a_probe_of_a_further_domain_verifies_that_domain_too(tmp_path: Path) -> None:
    for folder in ("data/stamps", *(f"sources/{name}" for name in ("openclipart", "emoji_google", "openmoji"))):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "something").write_text("here")
    places = f"sources={tmp_path}/sources", f"data={tmp_path}/data"
    lost = f"probe.split.sources.furniture.archive.deb={tmp_path}/lost.deb"
    with pytest.raises(VlmatchError, match=r"probe\.split\.sources\.furniture\.archive\.deb=.*does not exist"):
        fill(config(*places, "probe=furniture", lost))
    (tmp_path / "sources/furniture").mkdir()
    (tmp_path / "sources/furniture/something").write_text("here")
    (tmp_path / "sources/furniture.dvc").write_text("outs:\n- {md5: 0.dir, size: 4, nfiles: 1, path: x}\n")
    with pytest.raises(VlmatchError, match=r"differs from furniture\.dvc.*task=fetch probe=furniture"):
        fill(config(*places, "probe=furniture"))
