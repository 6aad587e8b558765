"""Report: the same answer as `task=rank pool=store`, for whatever the store holds."""

from omegaconf import DictConfig, OmegaConf

from vlmatch.jobs import PairStatus
from vlmatch.objects import task
from vlmatch.tasks.rank import rank_stored


@task
def report(config: DictConfig) -> PairStatus:
    """Rank the store's rows and write `outputs/report.html`."""
    return rank_stored(OmegaConf.merge(config, {"pool": "store" if config.pool == "auto" else config.pool}))  # type: ignore[arg-type]
