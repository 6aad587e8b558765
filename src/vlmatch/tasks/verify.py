"""Verify: the pipeline's first stage; DVC accepts changed data silently, this does not."""

from pathlib import Path

from omegaconf import DictConfig

from vlmatch.objects import task
from vlmatch.tasks.fetch import fill


@task
def verify(config: DictConfig) -> None:
    """Fetch the data if absent, refuse a mismatch with data.dvc, and write the file that all other stages depend on."""
    checksum = fill(config)
    ok = Path(config.task.ok)
    ok.parent.mkdir(parents=True, exist_ok=True)
    ok.write_text(f"{checksum}\n", encoding="utf-8")
    print(f"data verified: {checksum}")
