"""How each number of the page was made: what a score looks at, its source, its version and its settings."""

import inspect
from dataclasses import dataclass

from vlmatch.errors import VlmatchError
from vlmatch.objects import target_named
from vlmatch.ranking import LlmRanking

WORDS = {"spec": "spec sheet"}  # of what a score uses


@dataclass(frozen=True)
class Made:
    """How one score was made. about: its class's description, with formula and source; '' without one."""

    name: str
    title: str
    better: str
    uses: str
    version: int
    target: str
    settings: str
    about: str


def made(llm: LlmRanking) -> list[Made]:
    """How every score of this ranking was made, in the order of the columns."""
    return [
        Made(
            name=name,
            title=scored.title,
            better="higher" if scored.higher_is_better else "lower",
            uses=", ".join(WORDS.get(each, each) for each in scored.uses) or "nothing",
            version=scored.version,
            target=str(scored.settings.get("_target_", "")),
            settings=", ".join(f"{key}={value}" for key, value in scored.settings.items() if key != "_target_"),
            about=_about(str(scored.settings.get("_target_", ""))),
        )
        for name, scored in llm.scored.items()
    ]


def _about(target: str) -> str:
    """The description of a class; '' if the class no longer exists, or if yamls may not name it here."""
    try:
        found = target_named(target)
    except (VlmatchError, ImportError):
        return ""
    words = inspect.getdoc(found) or "" if inspect.isclass(found) else ""
    return words.replace("::\n", ":\n")
