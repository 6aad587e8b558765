"""Facts that a run finds out, kept in a file beside the embeddings, because the embeddings do not depend on them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmatch.embeddings.header import EmbeddingSpec
from vlmatch.embeddings.store import Store
from vlmatch.files import ABSENT, write_text


def read_beside(store: Store, spec: EmbeddingSpec, name: str) -> Any:
    """The facts of this name; None if there are none, if they belong to other embeddings, or if they are damaged."""
    try:
        plain = json.loads(_path(store, spec, name).read_text(encoding="utf-8"))
        own = _checksum(plain[name])
        fresh = plain["fingerprint"] == spec.fingerprint and plain.get("sha256", own) == own  # older files have none
        return plain[name] if fresh else None
    except (*ABSENT, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_beside(store: Store, spec: EmbeddingSpec, name: str, facts: Mapping[str, Any]) -> None:
    """Keep these facts; they replace those that an earlier run kept."""
    plain = {"fingerprint": spec.fingerprint, name: facts, "sha256": _checksum(facts)}
    write_text(_path(store, spec, name), json.dumps(plain, indent=1, sort_keys=True) + "\n")


def _checksum(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _path(store: Store, spec: EmbeddingSpec, name: str) -> Path:
    """Beside the folder of the embeddings, not in it, so that equal embeddings have equal folders."""
    folder = store.folder(spec)
    return folder.with_name(f"{folder.name}.{name}.json")
