"""Lightning's hints are off inside `quiet_lightning`, and the user's own settings are back afterwards."""

import logging
import warnings
from typing import Any

import pytest
from pytorch_lightning import Trainer

from vlmatch.errors import VlmatchError
from vlmatch.lightning import quiet_lightning, trainer_faults

LOGGER = logging.getLogger("pytorch_lightning")


@quiet_lightning()
def failing() -> None:
    assert not LOGGER.isEnabledFor(logging.WARNING)
    assert LOGGER.isEnabledFor(logging.ERROR)
    raise KeyError


def test_the_users_settings_are_back_even_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOGGER, "level", logging.DEBUG)
    filters = list(warnings.filters)
    with pytest.raises(KeyError):
        failing()
    assert LOGGER.level == logging.DEBUG
    assert list(warnings.filters) == filters


def test_warnings_of_others_are_still_shown() -> None:
    modules = ("pytorch_lightning.trainer", "lightning_fabric.plugins.environments.slurm", "torch.nn")
    with warnings.catch_warnings(record=True) as shown, quiet_lightning():
        for module in modules:
            warnings.warn_explicit(f"from {module}", UserWarning, filename="x.py", lineno=1, module=module)
    assert [str(each.message) for each in shown] == ["from torch.nn"]


@pytest.mark.parametrize("wrong", [{"accelerator": "nope"}, {"devices": -3}, {"strategy": "nope"}])
def test_settings_of_the_trainer_that_can_not_work_here_are_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(VlmatchError, match=r"^trainer: .*, or trainer=cpu$") as caught, trainer_faults():
        Trainer(**{"accelerator": "cpu", "logger": False, **wrong})
    assert "\n" not in str(caught.value)
