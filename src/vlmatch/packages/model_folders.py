"""Model folders as transformers writes them: which files hold the weights, in one piece or in shards."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from vlmatch.errors import NotHereError, VlmatchError, enumerated, one_line
from vlmatch.packages.hub import fetch_again

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED_SINGLE, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
SHOWN = 4  # groups of tensors that a line names
WRAPPERS = r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
"""What torch.compile, FSDP and activation checkpointing put into the names of tensors, as a regular expression."""
_UNKNOWN = re.compile(r"Unrecognized configuration class <class '(?:\w+\.)*(\w+)'> for this kind of AutoModel: (\w+)")
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
_LORA = re.compile(r"\.(?:base_layer|lora_\w+)(?=\.|$)")  # the parts that peft and loralib add to a layer


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers loads: one, or the shards that an index lists; safetensors are preferred.

    Empty if there are none. The shards of an index need not be there. Raises VlmatchError if an index can't be read.
    """
    for single, index in ((SINGLE, INDEX), (PICKLED_SINGLE, PICKLED_INDEX)):
        if (folder / single).is_file():
            return [folder / single]
        if (folder / index).is_file():
            return shards_in(folder / index)
    return []


def whole_weights(owner: str, folder: Path) -> list[Path]:
    """The files of `weight_files`, all of which exist. owner: the model, for messages, such as "llm 'mine'".

    Raises VlmatchError if an index can't be read, NotHereError if a shard that it lists is missing.
    """
    try:
        files = weight_files(folder)
    except VlmatchError as error:
        raise VlmatchError(f"{owner}: {error}") from error
    if missing := [file.name for file in files if not file.is_file()]:
        raise NotHereError(f"{owner}: '{folder}' lacks {missing[0]}, which its index lists; {fetch_again(folder)}")
    return files


def holds_weights(folder: Path) -> bool:
    """Whether a folder holds weights, with every shard that an index lists."""
    try:
        files = weight_files(folder)
    except VlmatchError:  # an index cut short
        return False
    return bool(files) and all(file.is_file() for file in files)


def shards_in(index: Path) -> list[Path]:
    """The shards that the index of a model's weights lists, in the order of their names.

    Raises VlmatchError if the index can't be read, or lists a file outside its folder.
    """
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        stray = [name for name in names if Path(name).name != name]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise VlmatchError(
            f"'{index}' can't be read as an index of weights ({one_line(error)[:120]}); {fetch_again(index)}"
        ) from error
    if stray or not names:
        raise VlmatchError(f"'{index}' lists {stray[0] if stray else 'no file'}; it must list files of its own folder")
    return [index.parent / name for name in names]


def why_unloadable(error: Exception) -> str:
    """Why transformers can't load a folder, shortened for a message."""
    said = one_line(error)
    if "ignore_mismatched_sizes" in said:
        return "its weights have other shapes than config.json says"
    if unknown := _UNKNOWN.search(said):
        return f"its config.json is a {unknown[1]}, for which transformers has no {unknown[2]}"
    return said[:240]


def refuse_deeper(model: str, path: Path, taken: Iterable[str], others: Iterable[str]) -> None:
    """Raise VlmatchError if the weights have more blocks than the architecture, so that some would be left out.

    model: for the message, e.g. "encoder 'clip_l14'". path: of the weights. taken, others: names of the tensors that
    the architecture takes, and of those that it leaves out.
    """
    lists = {_NUMBER.sub("#", key) for key in taken}
    if deeper := [key for key in others if _NUMBER.search(key) and _NUMBER.sub("#", key) in lists]:
        raise VlmatchError(
            f"{model}: weights '{path}' are of a deeper model than the architecture: it has no place for {len(deeper)} "
            f"tensors such as '{deeper[0]}'; give the configuration of these weights"
        )


def refuse_unmerged(model: str, path: Path, architecture: Iterable[str], others: Iterable[str]) -> None:
    """Raise VlmatchError if the weights hold a LoRA adapter beside a layer of the architecture: it would be left out.

    model, path: as for `refuse_deeper`. architecture, others: names of its tensors, and of those that it leaves out.
    """
    layers = {key.rpartition(".")[0] for key in architecture}
    if adapters := [key for key in others if (found := _LORA.search(key)) and key[: found.start()] in layers]:
        raise VlmatchError(
            f"{model}: weights '{path}' hold a LoRA adapter that is not merged into them: {len(adapters)} tensors such "
            f"as '{adapters[0]}'; merge it (peft: model.merge_and_unload()), and save the weights again"
        )


def groups(names: Iterable[str]) -> str:
    """Tensors by the first part of their names, the largest groups first: 'head (2 tensors), optimizer (300)'."""
    counts = Counter(map(_group, names)).most_common()
    said = [f"{group} ({count}{'' if place else ' tensors'})" for place, (group, count) in enumerate(counts)]
    return enumerated(said, SHOWN)


def _group(name: str) -> str:
    """A tensor's name without its last part, but at most two parts."""
    parts = name.split(".")
    return ".".join(parts[: max(1, min(2, len(parts) - 1))])
