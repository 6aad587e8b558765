"""Check: which encoders and LLMs are here, how to get the others, and under which licence each may be used."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig
from rich.table import Table
from rich.text import Text

from vlmatch import paths
from vlmatch.licences import licence_of
from vlmatch.packages import Package, is_here
from vlmatch.report.table import terminal

NO_WEIGHTS = "none (control)"


@dataclass(frozen=True)
class Checked:
    """One model: where its weights come from, and whether they are on this machine."""

    kind: str
    name: str
    weights: str
    status: str
    licence: str


def check(config: DictConfig) -> None:
    """Print every encoder and LLM of the configuration; nothing is downloaded or loaded for it."""
    table = Table(title="encoders and LLMs", title_justify="left", caption_justify="left", caption=(
        "a package is fetched by pip at first use; hub weights need the hub, or a local path in the key named"
    ))  # fmt: skip
    for head in ("", "name", "weights", "here", "licence (read from)"):
        table.add_column(head, no_wrap=head == "name", overflow="fold")
    for model in models():
        style = "" if model.status == "yes" else "dim"
        table.add_row(
            *(Text(cell, style=style) for cell in (model.kind, model.name, model.weights, model.status, model.licence))
        )
    terminal().print(table)


def models() -> Iterator[Checked]:
    """Every encoder and LLM that has a yaml, by name."""
    for kind in ("encoder", "llm"):
        for path in sorted((paths.conf() / kind).glob("*.yaml")):
            yield _checked(kind, yaml.safe_load(path.read_text(encoding="utf-8")))


def _checked(kind: str, config: Mapping[str, Any]) -> Checked:
    licence = licence_of(config)
    packages = [Package.of(entry) for entry in [config.get("package"), *(config.get("packages") or [])] if entry]
    local = next((key for key in ("checkpoint", "repository") if _exists(config.get(key))), None)
    if local:
        weights, status = f"{config[local]}", "yes"
    elif packages:
        weights = f"package {packages[-1].name} {packages[-1].version}"
        status = "yes" if all(map(is_here, packages)) else "at first use"
    elif ".controls." in config["_target_"]:
        weights, status = NO_WEIGHTS, "yes"
    else:
        hub = config.get("repository") or config.get("pretrained") or config.get("model")
        key = "checkpoint" if "checkpoint" in config else "repository"
        weights, status = f"hub: {hub}, or {kind}.{key}=/path", "hub or path"
    return Checked(
        kind, str(config["name"]), weights, status, "-" if weights == NO_WEIGHTS else f"{licence.name} ({licence.how})"
    )


def _exists(path: object) -> bool:
    return bool(path) and Path(str(path)).expanduser().exists()
