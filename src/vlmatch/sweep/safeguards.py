"""Hydra's first callback: refuses secrets that Hydra would write to disk, and forbids the network."""

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from vlmatch.configs import words
from vlmatch.errors import VlmatchError, shown
from vlmatch.machine.network import forbid_network, is_forbidden
from vlmatch.messages import leaving
from vlmatch.secrets import secrets_in, secrets_in_overrides


class SafeguardsCallback(Callback):
    """The first of Hydra's callbacks; it is called before Hydra writes its copy of the config."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before a single job."""
        _safeguard(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before a sweep, in the process that starts it."""
        _safeguard(config)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """In each job of a sweep, which may run in another process or on another machine."""
        _obey_offline(config)


def _safeguard(config: DictConfig) -> None:
    """Check the config. An error ends the process here, because Hydra would only warn of it and go on."""
    with leaving(words(config.hydra.overrides.task), "nothing is started"):
        if not config.outputs:  # Hydra would write to /runs
            raise VlmatchError(f"outputs={shown(config.outputs)}; wanted a path")
        _refuse_secrets(config)
        _obey_offline(config)


def _obey_offline(config: DictConfig) -> None:
    if config.offline or is_forbidden():  # forbidden by VLMATCH_OFFLINE, which the libraries do not know
        forbid_network()


def _refuse_secrets(config: DictConfig) -> None:
    """Raise VlmatchError if the config holds a secret: Hydra keeps every config and command line below outputs/."""
    typed = [*words(config.hydra.overrides.task), *words(config.hydra.overrides.hydra)]
    plain: Any = OmegaConf.to_container(config, resolve=False)
    del plain["hydra"]["overrides"]  # they are in `typed`
    found = [*secrets_in_overrides(typed), *secrets_in(plain)]
    if found:
        raise VlmatchError(
            f"{found[0]} looks like a secret, and the config is written to disk and to MLflow; put it into an "
            "environment variable and give the variable's name instead: '${oc.env:NAME}'"
        )
