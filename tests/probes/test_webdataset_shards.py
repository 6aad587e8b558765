"""Shards by name and pattern; those that are cut, joined, compressed or none are refused."""

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from made_shards import write
from vlmatch.errors import VlmatchError
from vlmatch.probes.webdataset import _Samples, webdataset


@pytest.mark.parametrize(
    "pattern",
    [
        "shard-*.tar",
        "shard-{0000..0002}.tar",
        "shard-{0000,0001,0002}.tar",
        "sh*-{0000..0002}.tar",
    ],
)
def test_patterns_name_shards_in_order(shards: Path, pattern: str) -> None:
    probe = webdataset(str(shards / pattern))
    assert [pair.id for pair in probe.pairs[:3]] == ["shard-0000/0000", "shard-0000/0001", "shard-0001/0000"]
    assert probe.captions == [f"Shade {s} {k}." for s in range(3) for k in range(2)]
    for place, (s, k) in enumerate((s, k) for s in range(3) for k in range(2)):
        assert np.asarray(probe.image(place)).tolist() == np.full((5, 6, 3), 10 * s + k).tolist()


def test_one_shard_and_a_range_of_another_width(shards: Path) -> None:
    assert len(webdataset(str(shards / "shard-0001.tar"))) == 2
    for n in (9, 10):
        (shards / f"shard-000{n - 9}.tar").rename(shards / f"s{n}.tar")
    assert len(webdataset(str(shards / "s{9..10}.tar"))) == 4
    assert webdataset(str(shards / "s{9..10}.tar"), sample=3).counts.entries == 4
    assert webdataset(str(shards / "s{10..9}.tar")).pairs[0].id == "s10/0000"
    (shards / "s9.tar").rename(shards / "s09.tar")
    assert len(webdataset(str(shards / "s{09..10}.tar"))) == 4


def test_names_with_brackets_or_braces_are_no_patterns(shards: Path) -> None:
    for name in ("[v1].tar", "{0..3}.tar"):
        (shards / name).write_bytes((shards / "shard-0002.tar").read_bytes())
        assert webdataset(str(shards / name)).captions == ["Shade 2 0.", "Shade 2 1."]


@pytest.mark.parametrize(
    "path", ["pipe:cat shard.tar", "PIPE:touch x", "https://host/shard.tar", "s3://bucket/{0..9}.tar", "file:///x.tar"]
)
def test_addresses_are_refused(path: str) -> None:
    with pytest.raises(VlmatchError, match="is an address; only tar files on this machine"):
        webdataset(path)


@pytest.mark.parametrize(
    "pattern", ["shard-{0000..0003}.tar", "shard-{1..999999999999}.tar", "nothing-*.tar", "shard-0009.tar"]
)
def test_a_shard_that_is_not_there_is_named(shards: Path, pattern: str) -> None:
    with pytest.raises(VlmatchError, match=r"no shard '.*(shard-0003|shard-1|nothing-\*|shard-0009)\.tar'"):
        webdataset(str(shards / pattern))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_shard_cut_anywhere_is_refused_unless_all_members_and_the_mark_are_there(tmp_path: Path, form: int) -> None:
    shard = tmp_path / "x.tar"
    names = ["0.png", "0.txt", f"{'long' * 40 if form != tarfile.USTAR_FORMAT else 1}.png"]
    with tarfile.open(shard, "w", format=form) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 700
            tar.addfile(info, io.BytesIO(bytes(range(7)) * 100))
        end = tar.offset
    content = shard.read_bytes()
    samples = _Samples("p", [shard])
    assert len(list(samples)) == 2
    for length in [*range(0, end + 512, 128), end - 1, end + 511]:
        shard.write_bytes(content[:length])
        with pytest.raises(VlmatchError, match=r"x\.tar is not a whole tar file"):
            list(samples)
    for length in (end + 512, end + 600, end + 1024):  # nothing is lost where only the rest of the mark is
        shard.write_bytes(content[:length])
        assert len(list(samples)) == 2


def test_shards_joined_by_cat_are_refused_because_only_the_first_would_be_read(shards: Path) -> None:
    parts = [(shards / f"shard-000{n}.tar").read_bytes() for n in range(2)]
    (shards / "x.tar").write_bytes(b"".join(parts))
    with pytest.raises(VlmatchError, match=r"x\.tar .*data follow its end-of-archive mark"):
        webdataset(str(shards / "x.tar"))


def test_a_compressed_shard_is_refused_with_what_to_do(shards: Path) -> None:
    plain = shards / "shard-0000.tar"
    for name in ("x.tar.gz", "x.tar"):
        (shards / name).write_bytes(gzip.compress(plain.read_bytes()))
        with pytest.raises(VlmatchError, match=r"is compressed, .*unpack it to a plain \.tar \(gunzip"):
            webdataset(str(shards / name))


@pytest.mark.parametrize("content", [b"", b"hello", b"x" * 4096])
def test_what_is_no_tar_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(VlmatchError, match=r"x\.tar is not a whole tar file"):
        webdataset(str(tmp_path / "x.tar"))


def test_a_shard_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    members = {f"{n}.{kind}": rng.bytes(3000) if kind == "png" else b"x" for n in range(4) for kind in ("png", "txt")}
    content = write(tmp_path / "x.tar", members).read_bytes()
    (tmp_path / "x.tar").write_bytes(content[:11_000])
    with pytest.raises(VlmatchError, match="is not a whole tar file"):
        webdataset(str(tmp_path / "x.tar"))
