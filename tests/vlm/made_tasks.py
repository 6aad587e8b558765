"""The configs of the tasks that train, measure and collect, with all that is large made small."""

from pathlib import Path

from omegaconf import DictConfig

from vlmatch.configs import composed


def config(home: Path, task: str, *overrides: str) -> DictConfig:
    """A config in which everything is small and lies below `home`."""
    settings = [
        f"task={task}",
        "encoder=pixels16",
        "llm.name=tiny",
        f"llm.repository={home / 'llm'}",
        f"store={home / 'store'}",
        f"results={home / 'results'}",
        f"tracking.folder={home / 'mlruns'}",
        f"task.runs={home / 'runs'}",
        "~split",
        f"+split={{_target_: vlm.made_split.made_split, folder: {home / 'drawn'}}}",
        "benchmark.group=3",
        "benchmark.hard_group=2",
        "benchmark.course=0.5",
        "~benchmark.sources",
        "+benchmark.sources={made: {items: 24, of_category: 12}}",
        *overrides,
    ]
    if task in ("train", "evaluate"):
        settings += ["recipe.stages.0.steps=16", "recipe.stages.0.batch_size=4", "recipe.llm_dtype=float32"]
    return composed(*settings)
