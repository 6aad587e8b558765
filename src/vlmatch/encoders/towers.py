"""Find a tower's tensors in a checkpoint, whatever wraps them: a trainer's entries, prefixes, heads, other towers."""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from vlmatch.errors import VlmatchError
from vlmatch.packages.model_folders import groups, refuse_deeper, refuse_unmerged

# Counters that some trainers leave out; they do not change what a frozen model computes.
_UNUSED = ("num_batches_tracked",)
# If a checkpoint holds several copies of a tower, trained weights are preferred to an average of them, and DINO's
# teacher to its student, because DINO's authors evaluate the teacher.
_AVERAGED = re.compile(r"(^|[._])(ema|averaged|swa|shadow|momentum|target|key)([._]|$)|encoder_k", re.IGNORECASE)
_STUDENT = re.compile(r"(^|[._])student([._]|$)", re.IGNORECASE)

log = logging.getLogger(__name__)


class DoesNotFitError(VlmatchError):
    """A checkpoint holds no tower of this architecture under the names that its library uses."""


@dataclass(frozen=True)
class Taken:
    """A tower's tensors by the tower's own names, the entry of the checkpoint that held them, and what was left out.

    entry: such as 'state_dict.model'; '' if they are at the top level. left_out: names of the other tensors, without
    the entry's name if they are inside it. resampled: name and both shapes of each tensor that the library fits to
    another image size.
    """

    state: Mapping[str, Tensor]
    entry: str = ""
    left_out: Sequence[str] = ()
    resampled: Sequence[str] = ()

    def line(self) -> str:
        """What was taken and what was left out, in words; '' if the checkpoint holds nothing but the tower."""
        where = f" of '{self.entry}'" if self.entry else ""
        said = [f"took the {len(self.state)} tensors{where}"] if self.entry or self.left_out else []
        if self.left_out:
            said.append(f"left out {groups(self.left_out)}")
        if self.resampled:
            said.append(f"resampled {', '.join(self.resampled)}")
        return "; ".join(said)


def tower_in(
    name: str, path: Path, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], entry: str | None = None
) -> Taken:
    """The tensors that a tower with the state dict `own` needs, wherever they are in the checkpoint.

    name: the encoder's, for messages. tensors: those of the file `path` by their dotted names. entry: where to look,
    such as 'model_ema'; None: in the only entry that holds the whole tower. If several entries do, trained weights are
    preferred to an average of them.
    Shapes are not compared, because a library may resample position embeddings.
    Raises DoesNotFitError if tensors are missing; VlmatchError if `entry` holds none, if several entries fit equally
    well, or if the checkpoint's tower is deeper than `own`.
    """
    found = _entries(tensors, own)
    if entry is not None:
        inside = {each: count for each, count in found.items() if f"{each}.".startswith(f"{entry}.")}
        if not inside:
            raise VlmatchError(
                f"encoder '{name}': entry='{entry}' of '{path}' holds no tensor of this architecture; {_choices(found)}"
            )
        found = Counter(inside)
    if not found:
        raise DoesNotFitError(
            f"encoder '{name}': weights '{path}' do not fit the architecture: they hold no tensor of it, but "
            f"{groups(tensors)}; give weights of this architecture"
        )
    needed = {key for key in own if not key.endswith(_UNUSED)}
    best = max(found.values())
    whole = [each for each in found if all(_under(each, key) in tensors for key in needed)]
    chosen = _chosen(name, path, whole) if whole else next(each for each, count in found.items() if count == best)
    start, taken = _under(chosen, ""), {_under(chosen, key) for key in own}
    others = [key for key in tensors if key not in taken]
    beside = [key.removeprefix(start) for key in others if key.startswith(start)]
    refuse_unmerged(f"encoder '{name}'", path, own, beside)
    if missing := [key for key in own if key in needed and _under(chosen, key) not in tensors]:
        raise DoesNotFitError(
            f"encoder '{name}': weights '{path}' do not fit the architecture: {len(missing)} of {len(own)} tensors "
            f"missing{f' in {chosen!r}' if chosen else ''}, first '{missing[0]}'; give weights of this architecture"
        )
    refuse_deeper(f"encoder '{name}'", path, own, beside)
    state = {key: tensors.get(_under(chosen, key), value) for key, value in own.items()}
    return Taken(state, chosen, [key.removeprefix(start) for key in others])


def fitted(
    name: str, path: Path, taken: Taken, own: Mapping[str, Tensor], resizable: re.Pattern[str] | None = None
) -> Taken:
    """`taken` with `resampled`: the tensors whose shape differs from the tower's. Their names must match `resizable`.

    Raises VlmatchError on the first name that does not.
    """
    misshapen = [key for key in own if taken.state[key].shape != own[key].shape]
    if wrong := [key for key in misshapen if resizable is None or not resizable.search(key)]:
        given, wanted = (tuple(state[wrong[0]].shape) for state in (taken.state, own))
        raise VlmatchError(
            f"encoder '{name}': weights '{path}' do not fit the architecture: {len(wrong)} of {len(own)} tensors of "
            f"another shape, first '{wrong[0]}', {given} instead of {wanted}; give weights of this architecture and "
            "image size"
        )
    return replace(
        taken,
        resampled=[f"{key} from {tuple(taken.state[key].shape)} to {tuple(own[key].shape)}" for key in misshapen],
    )


def say(name: str, path: Path, taken: Taken) -> str:
    """Log in one line what was taken from the user's checkpoint, unless it holds only the tower; return the line."""
    if line := taken.line():
        log.warning("encoder '%s': checkpoint '%s': %s", name, path, line)
    return line


def _entries(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Counter[str]:
    """How many of the tower's tensors each entry of the checkpoint holds; '' is the top."""
    found: Counter[str] = Counter()
    for name in tensors:
        if name in own:
            found[""] += 1
        start = name.find(".")
        while start >= 0:
            if name[start + 1 :] in own:
                found[name[:start]] += 1
            start = name.find(".", start + 1)
    return found


def _under(entry: str, key: str) -> str:
    """The name of a tensor inside an entry."""
    return f"{entry}.{key}" if entry else key


def _chosen(name: str, path: Path, rivals: Sequence[str]) -> str:
    """The entry to take among those that hold the whole tower; VlmatchError if no rule prefers one of them."""
    kinds = {each: (bool(_AVERAGED.search(each)), bool(_STUDENT.search(each))) for each in rivals}
    least = min(kinds.values())
    first = [each for each, kind in kinds.items() if kind == least]
    if len(first) > 1:
        raise VlmatchError(
            f"encoder '{name}': '{path}' holds this tower several times; {_choices(dict.fromkeys(first, 1))}"
        )
    return first[0]


def _choices(found: Mapping[str, int]) -> str:
    """The remedy in words: what to give as `entry`."""
    best = max(found.values(), default=0)
    places = [each for each, count in found.items() if count == best and each]
    if not places:
        return "leave +encoder.entry out"
    return f"choose one: {' or '.join(f'+encoder.entry={each}' for each in places)}"
