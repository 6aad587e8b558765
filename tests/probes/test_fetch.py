"""Fetching: the right package or a clear line, in one step, and the same bytes each time."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.packages.deb import Archive
from vlmatch.probes.fetch import fetch_stamps
from vlmatch.probes.verify import dvc_checksum

MakeDeb = Callable[..., Path]


@pytest.fixture
def small(make_deb: MakeDeb, pixel: bytes) -> Archive:
    """An archive whose package the user has at hand."""
    deb = make_deb({"a/frog.png": pixel, "a/frog.txt": b"A frog."})
    return Archive("some-stamps", "1.0", hashlib.sha256(deb.read_bytes()).hexdigest(), str(deb))


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script in apt-get's place."""

    def install(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "apt-get").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "apt-get").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return install


def test_a_package_at_hand_fills_the_folder_and_leaves_nothing_else(tmp_path: Path, small: Archive) -> None:
    data = tmp_path / "data"
    assert fetch_stamps(data / "stamps", small)
    assert sorted(p.name for p in (data / "stamps/a").iterdir()) == ["frog.png", "frog.txt"]
    assert [p.name for p in data.iterdir()] == ["stamps"]


def test_fetching_again_gives_the_same_bytes(tmp_path: Path, small: Archive) -> None:
    fetch_stamps(tmp_path / "one", small)
    fetch_stamps(tmp_path / "two", small)
    assert dvc_checksum(tmp_path / "one") == dvc_checksum(tmp_path / "two")


def test_what_a_killed_fetch_left_is_removed(tmp_path: Path, small: Archive) -> None:
    left = tmp_path / "data/.stamps.part/unpacked/a"
    left.mkdir(parents=True)
    (left / "half.png").write_bytes(b"half")
    fetch_stamps(tmp_path / "data/stamps", small)
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["stamps"]
    assert not (tmp_path / "data/stamps/a/half.png").exists()


def test_a_filled_folder_is_left_alone(tmp_path: Path, small: Archive) -> None:
    (tmp_path / "stamps").mkdir()
    (tmp_path / "stamps/mine").write_text("mine")
    assert not fetch_stamps(tmp_path / "stamps", small)
    assert [p.name for p in (tmp_path / "stamps").iterdir()] == ["mine"]


def test_another_package_is_refused_with_both_checksums(tmp_path: Path, small: Archive) -> None:
    with pytest.raises(VlmatchError, match=f"expected {'0' * 64}, got {small.sha256}"):
        fetch_stamps(tmp_path / "stamps", replace(small, sha256="0" * 64))
    assert not (tmp_path / "stamps").exists()
    assert not (tmp_path / ".stamps.part").exists()


def test_a_package_that_is_not_where_the_user_points_is_named(tmp_path: Path, small: Archive) -> None:
    with pytest.raises(NotHereError, match=r"probe\.archive\.deb=.*nothing\.deb does not exist"):
        fetch_stamps(tmp_path / "stamps", replace(small, deb=str(tmp_path / "nothing.deb")))


def test_without_apt_the_error_says_what_to_do(tmp_path: Path, small: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotHereError, match=r"'some-stamps=1\.0' can't be .*no apt-get here.*probe\.archive\.deb="):
        fetch_stamps(tmp_path / "stamps", replace(small, deb=None))


def test_apt_downloads_the_version_that_is_wanted(tmp_path: Path, small: Archive, apt: Callable[[str], None]) -> None:
    apt(f'for last; do :; done; [ "$last" = some-stamps=1.0 ] && cp {small.deb} .')
    assert fetch_stamps(tmp_path / "stamps", replace(small, deb=None))


def test_apts_lists_are_fetched_into_a_folder_of_our_own_only_when_the_first_try_fails(
    tmp_path: Path, small: Archive, apt: Callable[[str], None]
) -> None:
    log = tmp_path / "log"
    apt(f'echo "$@" >> {log}; case "$*" in *Dir::State*download*) cp {small.deb} . ;; *update) ;; *) exit 100 ;; esac')
    assert fetch_stamps(tmp_path / "stamps", replace(small, deb=None))
    first, second, third = log.read_text().splitlines()
    assert first.endswith("download some-stamps=1.0")
    assert "Dir::State" not in first
    assert second.endswith("update")
    assert third.endswith("download some-stamps=1.0")


def test_what_apt_complains_of_is_passed_on_in_one_line(
    tmp_path: Path, small: Archive, apt: Callable[[str], None]
) -> None:
    apt('echo "W: never mind" >&2; echo "E: no such version" >&2; exit 100')
    with pytest.raises(NotHereError, match="E: no such version") as caught:
        fetch_stamps(tmp_path / "stamps", replace(small, deb=None))
    assert "\n" not in str(caught.value)
    assert "never mind" not in str(caught.value)


def test_the_real_stamps_are_those_that_were_recorded(stamps_folder: Path) -> None:
    checksum = dvc_checksum(stamps_folder)
    assert (checksum.nfiles, checksum.size) == (1901, 29_811_544)
    assert "License: GPL-2" in (stamps_folder / "copyright").read_text()
