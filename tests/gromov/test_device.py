"""Half gradients by torch against the compiled kernels; on the CPU, and on an accelerator where there is one."""

import numpy as np
import pytest
import torch

from made_spaces import LOSSES, cloud, weights
from vlmatch.errors import VlmatchError
from vlmatch.gromov import Space, gromov_wasserstein
from vlmatch.gromov.coupling import TransportPlan
from vlmatch.gromov.device import OnDevice
from vlmatch.gromov.losses import loss_named

every_loss = pytest.mark.parametrize("loss", LOSSES)
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
every_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=cuda)])


def spaces(n: int, m: int) -> tuple[Space, Space]:
    return Space.of(cloud(n, 3, 0)), Space.of(cloud(m, 6, 1))


@every_device
@every_loss
@pytest.mark.parametrize(("n", "m"), [(1, 1), (30, 30), (30, 17)])
def test_what_moves_is_what_the_compiled_kernels_say(loss: str, device: str, n: int, m: int) -> None:
    x, y = spaces(n, m)
    random, there, here = np.random.default_rng(0), OnDevice(loss, device), loss_named(loss)
    rows, columns = random.integers(n, size=50), random.integers(m, size=50)
    for mass in (random.random(50), -random.random(50), random.normal(size=50), np.zeros(50)):
        plan = TransportPlan(rows, columns, mass)
        expected = here.moved(x, y, plan, np.float64, 1)
        double = there.moved(x, y, plan, np.float64, 1)
        assert double.dtype == np.float64
        np.testing.assert_allclose(double, expected, rtol=0, atol=1e-12 * max(1, np.abs(expected).max()))
        single = there.moved(x, y, plan, np.float32, 1)
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, expected, rtol=0, atol=2e-6 * max(1, np.abs(expected).max()))


@every_device
@every_loss
@pytest.mark.parametrize("start", ["product", "identity", "third_lower_bound"])
def test_it_reaches_the_same_coupling(start: str, loss: str, device: str) -> None:
    x, y = spaces(60, 60)
    here, there = (gromov_wasserstein(x, y, loss=loss, start=start, device=one) for one in (None, device))
    assert there.energies == pytest.approx(here.energies, rel=1e-6)
    assert there.energy == pytest.approx(here.energy, rel=1e-12)
    assert (there.coupling.rounded() == here.coupling.rounded()).all()
    assert there.converged
    assert there.lower_bound == here.lower_bound


@every_device
@every_loss
def test_unequal_sizes_and_weights_do_too(loss: str, device: str) -> None:
    x, y = Space.of(cloud(30, 3, 0), weights(30, 0)), Space.of(cloud(20, 6, 1))
    here, there = (gromov_wasserstein(x, y, loss=loss, device=one) for one in (None, device))
    assert there.energy == pytest.approx(here.energy, rel=1e-9)
    np.testing.assert_allclose(there.coupling.dense(), here.coupling.dense(), atol=1e-9)


def test_tensors_are_taken_as_arrays() -> None:
    x, y = cloud(20, 3, 0), cloud(20, 6, 1)
    expected = gromov_wasserstein(x, y)
    doubles = gromov_wasserstein(torch.from_numpy(x), torch.from_numpy(y))
    assert doubles.energies == expected.energies
    singles = gromov_wasserstein(torch.from_numpy(x).float(), torch.from_numpy(y).float())
    assert singles.energy == pytest.approx(expected.energy, rel=1e-5)


@cuda
def test_tensors_on_a_device_are_computed_there() -> None:
    x, y = cloud(20, 3, 0), cloud(20, 6, 1)
    found = gromov_wasserstein(torch.from_numpy(x).cuda(), y)
    assert found.energy == pytest.approx(gromov_wasserstein(x, y).energy, rel=1e-12)


@pytest.mark.parametrize("device", ["abacus", "cpu:x", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there_is_one_line(device: str) -> None:
    with pytest.raises(VlmatchError, match=f"^device='{device}' can't be used .*; leave it out for the CPU$") as error:
        gromov_wasserstein(cloud(4, 2, 0), cloud(4, 2, 1), device=device)
    assert "\n" not in str(error.value)


def test_an_unknown_loss_is_refused_there_too() -> None:
    with pytest.raises(VlmatchError, match="loss='kl' is unknown"):
        gromov_wasserstein(cloud(4, 2, 0), cloud(4, 2, 1), loss="kl", device="cpu")
