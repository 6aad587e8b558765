"""Every committed truth of the study: by recipe, data, suite and LLM."""

from dataclasses import dataclass
from pathlib import Path

from vlmatch.evidence.truths import Comparison, comparisons_in
from vlmatch_study.blocks.block import LLM

FOLDERS = {("results",): "", ("blocks", "results"): "", ("search", "results"): ", once more by a search"}
"""The folders of results below study/, and what is added to the names of their truths."""


@dataclass(frozen=True)
class Trained:
    """The truths of one setting, and its name in words."""

    label: str
    comparison: Comparison

    @property
    def llm(self) -> str:
        """The LLM's name."""
        return self.comparison.setting.llm


def trained(root: Path) -> list[Trained]:
    """The truths of every setting that has results below `root`."""
    return [
        Trained(named(comparison) + note, comparison)
        for parts, note in FOLDERS.items()
        for comparison in comparisons_in([root.joinpath("study", *parts)])
    ]


def named(comparison: Comparison) -> str:
    """What a setting is called: 'embedded on vlm_a, asked by embedded 1'; an LLM other than SmolLM2 is named too."""
    setting = comparison.setting
    llm = "" if setting.llm == LLM else f"{setting.llm}, "
    return f"{llm}{setting.recipe.name} on {setting.data}, asked by {setting.suite.name} {setting.suite.version}"


def shared(one: Comparison, other: Comparison) -> list[str]:
    """The pretrained encoders that have a truth in both, the best by the first one first."""
    known = {truth.encoder for truth in other.pretrained}
    return [truth.encoder for truth in one.pretrained if truth.encoder in known]
