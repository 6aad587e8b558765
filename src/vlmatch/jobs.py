"""How each job of a sweep ended, left in the job's folder for the process that ends the sweep."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from vlmatch.files import write_text

SCORED, NOT_HERE, FAILED, DAMAGED = "scored", "not here", "failed", "damaged"


@dataclass(frozen=True)
class PairStatus:
    """One encoder against one LLM: scored in a group (probe, image recipe, text recipe), or why it was not."""

    encoder: str
    llm: str
    status: str
    message: str = ""
    group: tuple[str, str, str] | None = None

    def write(self, folder: Path, job: int) -> None:
        """Store it in a job's folder, which several jobs may share (`hydra.sweep.subdir`). job: the job's number."""
        write_text(folder / f"outcome-{job}.json", json.dumps(asdict(self)))


def read_statuses(sweep: Path) -> list[PairStatus]:
    """The outcomes that the jobs below a sweep's folder left, in the order of the jobs."""
    paths = sorted(sweep.rglob("outcome-*.json"), key=lambda path: int(path.stem.partition("-")[2]))
    return [_read(path) for path in paths]


def _read(path: Path) -> PairStatus:
    plain = json.loads(path.read_text(encoding="utf-8"))
    return PairStatus(**{**plain, "group": tuple(plain["group"]) if plain["group"] else None})
