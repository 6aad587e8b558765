"""LLMs that come as a GGUF file inside weight packages: joined, checked, dequantised once, and kept as safetensors."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from filelock import FileLock

from vlmatch import paths
from vlmatch.errors import VlmatchError, one_line
from vlmatch.files import sha256_of_file
from vlmatch.llms.loading import without_progress_bars
from vlmatch.llms.repository import SINGLE
from vlmatch.packages import Package, package_folder

_RECORD = "conversion.json"
_CHUNK = 1 << 20  # bytes copied at a time

log = logging.getLogger(__name__)


def gguf_folder(name: str, packages: Sequence[Mapping[str, str]], members: Sequence[str], sha256: str) -> Path:
    """The folder, as save_pretrained would write it, of the GGUF file that `members` of `packages` make when joined.

    Dequantising takes half a minute, so its float32 result is kept in the cache. It is made anew when its bytes
    have changed or another version of transformers is installed. Two processes never convert the same one.

    Raises NotHereError where a package can't be had, VlmatchError if the joined file's SHA-256 is another.
    """
    folder = paths.cache() / "models" / f"{name}-{sha256[:8]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not _is_sound(folder, sha256):
            _convert(name, folder, packages, members, sha256)
    return folder


def _is_sound(folder: Path, sha256: str) -> bool:
    """Whether the folder holds the unchanged conversion of this GGUF by the installed transformers."""
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        return bool(record == _record(folder, sha256))
    except (OSError, ValueError):
        return False


def _record(folder: Path, sha256: str) -> dict[str, str]:
    from transformers import __version__

    return {"gguf_sha256": sha256, "model_sha256": sha256_of_file(folder / SINGLE), "transformers": __version__}


def _convert(
    name: str, folder: Path, packages: Sequence[Mapping[str, str]], members: Sequence[str], sha256: str
) -> None:
    """Join and convert beside `folder`, then move there in one step."""
    sources = [package_folder(Package.of(package)) for package in packages]
    log.info("llm '%s': converting its GGUF file, this once", name)
    staging = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        (staging / "model").mkdir(parents=True)
        _join(name, sources, members, sha256, staging / "model.gguf")
        _dequantise(name, staging / "model.gguf", staging / "model")
        record = _record(staging / "model", sha256)
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
                raise VlmatchError(f"llm '{name}': member '{member}' is in none of its packages; check the yaml")
            with chunk.open("rb") as file:
                while block := file.read(_CHUNK):
                    digest.update(block)
                    joined.write(block)
    if digest.hexdigest() != sha256:
        raise VlmatchError(
            f"llm '{name}': SHA-256 of its GGUF file expected {sha256}, got {digest.hexdigest()}; it is not used"
        )


def _dequantise(name: str, gguf: Path, folder: Path) -> None:
    """Write config, float32 weights and tokenizer of a GGUF file; save_pretrained refuses a model loaded from one."""
    from safetensors.torch import save_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with without_progress_bars():
            model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except (ValueError, KeyError, IndexError, RuntimeError, NotImplementedError) as error:
        raise VlmatchError(
            f"llm '{name}': its GGUF file can't be read ({one_line(error)[:200]}); name another package"
        ) from error
    del model.config.quantization_config
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_model(model, str(folder / SINGLE), metadata={"format": "pt"})
