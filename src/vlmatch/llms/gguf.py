"""GGUF files: read their quantisation; join, check and dequantise those inside packages, once, to safetensors."""

import hashlib
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vlmatch import paths
from vlmatch.errors import VlmatchError, one_line
from vlmatch.files import sha256_of_file
from vlmatch.machine.quiet import quiet_transformers
from vlmatch.machine.waiting import locked
from vlmatch.packages.model_folders import SINGLE
from vlmatch.packages.package import Package, package_folder

FLOATS = ("F64", "F32", "F16", "BF16")
_RECORD = "conversion.json"
_CHUNK = 1 << 20  # bytes copied at a time

log = logging.getLogger(__name__)


def gguf_folder(
    name: str, packages: Sequence[Mapping[str, str]], members: Sequence[str], sha256: str
) -> tuple[Path, str | None]:
    """Join `members` of `packages` into one GGUF file, and return it as a model folder, with its quantisation.

    The folder is what transformers' save_pretrained writes; for the quantisation see `quantisation_of`. Dequantising
    takes half a minute, so its float32 result is kept in the cache. It is made anew if its bytes have changed or
    another version of transformers is installed. Two processes never convert the same file at once.

    Raises NotHereError if a package is not available, VlmatchError if the joined file's SHA-256 is not `sha256`.
    """
    folder = converted_folder(name, sha256)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(Path(f"{folder}.lock"), f"converting the GGUF file of llm '{name}'"):
        if not _is_sound(folder, sha256):
            _convert(name, folder, packages, members, sha256)
        return folder, _read(folder)["quantisation"]


def converted_folder(name: str, sha256: str) -> Path:
    """Where the dequantised copy of a GGUF file is kept once it has been made."""
    return paths.cache() / "models" / f"{name}-{sha256[:8]}"


def quantisation_of(name: str, file: Path) -> str | None:
    """How the weights of a GGUF file are quantised, such as 'Q4_1'; None for floats of 16 bits or more.

    The header's file type says it; if that is absent, the type of most of the weights counts.
    Raises VlmatchError if the file is not a GGUF.
    """
    from gguf import GGUFReader, LlamaFileType

    try:
        reader = GGUFReader(file)
        stated = reader.get_field("general.file_type")
        if stated is not None:
            kind = LlamaFileType(stated.contents()).name.removeprefix("MOSTLY_").removeprefix("ALL_")
        else:
            sizes: Counter[str] = Counter()
            for tensor in reader.tensors:
                sizes[tensor.tensor_type.name] += int(tensor.n_elements)
            kind = sizes.most_common(1)[0][0]
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise unreadable(name, error) from error
    return None if kind in FLOATS else kind


def unreadable(name: str, error: Exception) -> VlmatchError:
    """The one-line error for a GGUF file that gguf or transformers can't read."""
    return VlmatchError(
        f"llm '{name}': its GGUF file can't be read ({one_line(error)[:200]}); give one whole file of an architecture "
        "that transformers reads"
    )


def _read(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    return record


def _is_sound(folder: Path, sha256: str) -> bool:
    """Whether the folder holds the unchanged conversion of this GGUF by the installed transformers."""
    try:
        record = _read(folder)
        return record == _record(folder, sha256, record["quantisation"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _record(folder: Path, sha256: str, quantisation: str | None) -> dict[str, str | None]:
    from transformers import __version__

    return {
        "gguf_sha256": sha256,
        "model_sha256": sha256_of_file(folder / SINGLE),
        "quantisation": quantisation,
        "transformers": __version__,
    }


def _convert(
    name: str, folder: Path, packages: Sequence[Mapping[str, str]], members: Sequence[str], sha256: str
) -> None:
    """Join and convert beside `folder`, then move the result there in one step."""
    sources = [package_folder(Package.of(package)) for package in packages]
    log.info("llm '%s': converting its GGUF file; this happens only once", name)
    staging = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        (staging / "model").mkdir(parents=True)
        _join(name, sources, members, sha256, staging / "model.gguf")
        _dequantise(name, staging / "model.gguf", staging / "model")
        record = _record(staging / "model", sha256, quantisation_of(name, staging / "model.gguf"))
        (staging / "model" / _RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(staging / "model", folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _join(name: str, sources: Sequence[Path], members: Sequence[str], sha256: str, target: Path) -> None:
    """Write the chunks to one file, in order, and check its SHA-256."""
    digest = hashlib.sha256()
    with target.open("wb") as joined:
        for member in members:
            chunk = next((source / member for source in sources if (source / member).is_file()), None)
            if chunk is None:
                raise VlmatchError(
                    f"llm '{name}': member '{member}' is in none of its packages; check llm.members and llm.packages"
                )
            with chunk.open("rb") as file:
                while block := file.read(_CHUNK):
                    digest.update(block)
                    joined.write(block)
    if digest.hexdigest() != sha256:
        folders = ", ".join(f"'{source}'" for source in sources)
        raise VlmatchError(
            f"llm '{name}': SHA-256 of its GGUF file expected {sha256}, got {digest.hexdigest()}; it is not used. "
            f"Check members and sha256 in the yaml, or remove {folders} to fetch it again"
        )


def _dequantise(name: str, gguf: Path, folder: Path) -> None:
    """Write config, float32 weights and tokenizer of a GGUF file one by one: save_pretrained refuses a GGUF model."""
    from safetensors.torch import save_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with quiet_transformers():
            model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except (ValueError, KeyError, IndexError, RuntimeError, NotImplementedError) as error:
        raise unreadable(name, error) from error
    del model.config.quantization_config
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_model(model, str(folder / SINGLE), metadata={"format": "pt"})
