"""Weight files: read without running code, loaded strictly, hashed."""

import hashlib
import os
import random

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18

from encoders.test_convnets import PREPROCESSING
from vlmatch.encoders.convnets import TorchvisionEncoder
from vlmatch.encoders.weights import load_strictly, local_path, read_state_dict, read_tensors, sha256_of_tensors
from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.files import joint_sha256
from vlmatch.packages.hub import fetch_again
from vlmatch.packages.unpacked import write_list


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s, "epoch": 3}])
def test_pytorch_and_safetensors_files_give_the_same_tensors(tmp_path, wrap):
    state = nn.Linear(3, 2).state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(wrap({f"module.{key}": value for key, value in state.items()}), tmp_path / "a.pth")
    for file in ("a.safetensors", "a.pth"):
        read = read_state_dict("x", tmp_path / file)
        assert read.keys() == state.keys()
        assert all(torch.equal(read[key], state[key]) for key in state)


def test_damaged_files_are_one_line(bad_weights):
    with pytest.raises(VlmatchError, match=rf"encoder 'x': weights '{bad_weights}' can't be read") as caught:
        read_state_dict("x", bad_weights)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["a.safetensors", "a.pth"])
def test_a_pointer_of_git_lfs_says_how_to_get_the_file(tmp_path, place):
    (tmp_path / place).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(VlmatchError, match=f"or run 'git lfs pull' there, since '{place}' is only Git LFS's pointer"):
        read_tensors("x", tmp_path / place)
    assert f"'{place}'" in fetch_again(tmp_path)


def test_a_file_without_named_tensors_is_refused(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(VlmatchError, match=r"hold no named tensors"):
        read_state_dict("x", tmp_path / "list.pth")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": torch.zeros(2, 3)}, "1 of 2 tensors missing, first 'bias'"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "more": torch.zeros(1)}, "unexpected, first 'more'"),
        ({"weight": torch.zeros(2, 4), "bias": torch.zeros(2)}, "of another shape, first 'weight'"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, state, message):
    with pytest.raises(VlmatchError, match=message):
        load_strictly("x", nn.Linear(3, 2), state, tmp_path / "a.pth")


def test_no_weights_and_absent_weights_say_what_to_do(tmp_path):
    plain = {"architecture": "resnet18", "node": "layer4", "rename": [], "preprocessing": PREPROCESSING}
    with pytest.raises(
        VlmatchError,
        match=r"encoder 'x': no weights named; give encoder.checkpoint, or encoder.package and encoder.file",
    ):
        TorchvisionEncoder("x", **plain)
    with pytest.raises(NotHereError, match=r"encoder.checkpoint=/nowhere/a.pth does not exist"):
        TorchvisionEncoder("x", **plain, checkpoint="/nowhere/a.pth")


def test_a_pipe_is_refused_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "a.pth")
    with pytest.raises(VlmatchError, match=r"a.pth is neither a file nor a folder; give the path of one"):
        local_path("x", str(tmp_path / "a.pth"))
    with pytest.raises(VlmatchError, match=rf"encoder 'x': '{tmp_path}/a.pth' is a pipe, .*; move it out of"):
        local_path("x", str(tmp_path))


def test_an_empty_file_has_a_reason(tmp_path):
    (tmp_path / "last.ckpt").touch()
    with pytest.raises(VlmatchError, match=r"last.ckpt' can't be read \(\w+"):
        read_state_dict("x", tmp_path / "last.ckpt")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_pickle_is_read_or_told_in_one_line(tmp_path, zipped):
    """torch's reader raises whatever it meets there: IndexError, AssertionError, TypeError, AttributeError."""
    path = tmp_path / "last.ckpt"
    state = {f"blocks.{number}.weight": torch.ones(2, 2) for number in range(8)}
    torch.save({"state_dict": state, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    start, draws, outcomes = whole.find(b"state_dict") - 20, random.Random(0), set()
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[start + draws.randrange(900)] = draws.randrange(256)
        path.write_bytes(damaged)
        try:
            outcomes.add("read" if read_tensors("x", path) else "empty")
        except VlmatchError as error:
            outcomes.add("told" if "\n" not in str(error) else str(error))
    assert outcomes == {"read", "told"}


@pytest.fixture
def packaged(put_package, tmp_path):
    """The settings of a resnet18 whose weights lie in an unpacked package, and its folder."""
    entry = {"name": "a-model", "version": "1.0", "sha256": "0" * 64}
    folder = put_package(entry, 1000)
    torch.save(resnet18().state_dict(), folder / "a.pth")
    write_list(folder, entry["sha256"])
    plain = {"architecture": "resnet18", "node": "layer4", "rename": [[r"(?!fc)(.*)", r"\1"]]}
    return {**plain, "preprocessing": PREPROCESSING, "package": entry, "file": "a.pth"}, folder


def test_weights_in_a_package_are_hashed_when_they_are_loaded(packaged):
    settings, folder = packaged
    digest = hashlib.sha256((folder / "a.pth").read_bytes()).hexdigest()
    assert TorchvisionEncoder("x", **settings).weights_sha256 == digest


def test_weights_in_a_package_that_have_changed_are_refused(packaged):
    settings, folder = packaged
    torch.save(resnet18().state_dict(), folder / "a.pth")
    with pytest.raises(VlmatchError, match=rf"'{folder}/a.pth' has changed .* remove '{folder}'"):
        TorchvisionEncoder("x", **settings)


def test_a_file_that_its_package_lacks_is_named(packaged):
    with pytest.raises(VlmatchError, match=r"file='b.pth' is not in package 'a-model'"):
        TorchvisionEncoder("x", **{**packaged[0], "file": "b.pth"})


def test_the_digest_of_one_file_is_the_files_and_of_several_that_of_their_digests():
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in "ab"]
    assert joint_sha256(digests[:1]) == digests[0]
    assert joint_sha256(digests) == hashlib.sha256("".join(digests).encode()).hexdigest()


def test_the_digest_of_tensors_sees_names_and_values():
    states = [{"a": torch.zeros(2)}, {"b": torch.zeros(2)}, {"a": torch.ones(2)}]
    assert len({sha256_of_tensors(state) for state in states}) == 3
