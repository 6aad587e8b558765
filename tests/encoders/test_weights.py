"""Weight files: read without running code, loaded strictly, hashed."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vlmatch.encoders.weights import (
    load_strictly,
    read_state_dict,
    sha256_of,
    sha256_of_tensors,
    weight_file,
)
from vlmatch.errors import NotHereError, VlmatchError


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


def test_a_file_without_named_tensors_is_refused(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(VlmatchError, match=r"hold no state dict"):
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


def test_no_weights_absent_weights_and_an_absent_member_say_what_to_do(tmp_path):
    with pytest.raises(VlmatchError, match=r"give checkpoint, or package and file"):
        weight_file("x", None, None, None)
    with pytest.raises(NotHereError, match=r"checkpoint='/nowhere/a.pth' does not exist"):
        weight_file("x", None, None, "/nowhere/a.pth")


def test_the_digest_of_one_file_is_the_files_and_of_several_that_of_their_digests(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in "ab"]
    assert sha256_of([tmp_path / "a"]) == digests[0]
    assert sha256_of([tmp_path / "a", tmp_path / "b"]) == hashlib.sha256("".join(digests).encode()).hexdigest()


def test_the_digest_of_tensors_sees_names_and_values():
    states = [{"a": torch.zeros(2)}, {"b": torch.zeros(2)}, {"a": torch.ones(2)}]
    assert len({sha256_of_tensors(state) for state in states}) == 3
