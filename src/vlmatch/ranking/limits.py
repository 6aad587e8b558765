"""The ways in which a pool lies outside the evidence: other LLMs, families, sizes or numbers of pairs."""

import re
from collections.abc import Sequence

from vlmatch.errors import enumerated
from vlmatch.evidence.record import WorldRecord
from vlmatch.scores.rows import Row

LEAST_PAIRS = 200
LARGER_LLM = 2.0  # times the largest LLM of the evidence
DOCUMENTS = 0.2  # if at least this share of captions speak of documents, the probe counts as a probe of documents
DOCUMENT_WORDS = re.compile(
    r"\b(documents?|charts?|graphs?|diagrams?|screenshots?|receipts?|invoices?|infographics?|spreadsheets?|handwritten|"
    r"scanned)\b",
    re.IGNORECASE,
)
EVERYDAY_WORDS = re.compile(r"\b(page|table|form|slide|report)s?\b", re.IGNORECASE)
"""Words for documents that captions of natural pictures have too: a caption counts only if it has two of them."""


def limits(rows: Sequence[Row], world: WorldRecord, captions: Sequence[str] = ()) -> tuple[str, ...]:
    """Each way in which these candidates lie outside of the evidence, in a few words; empty if they lie within.

    captions: of the pairs, if they are known.
    """
    found = [
        _llm(rows[0], world),
        _embedded(rows, world),
        _pairs(rows[0]),
        _documents(captions),
        _families(rows, world),
        _size(rows, world),
    ]
    return tuple(line for line in found if line)


def _llm(row: Row, world: WorldRecord) -> str | None:
    size, largest = row.text.n_parameters, world.llm_parameters
    if size is None or size <= LARGER_LLM * largest:
        return None
    return f"its VLMs had an LLM of at most {largest / 1e9:.1f}B parameters, and {row.llm} has {size / 1e9:.1f}B"


def _embedded(rows: Sequence[Row], world: WorldRecord) -> str | None:
    by, asked = world.embedded, [row.text.spec.settings for row in rows]
    images = not by.features or all(row.image.rule in by.features for row in rows)
    captions = all(
        (each.get("layer", by.layer), each.get("pooling", by.pooling)) == (by.layer, by.pooling) for each in asked
    )
    if images and captions:
        return None
    return f"its scores are from {by.title}, and yours are not (protocol={by.protocol} makes them so)"


def _pairs(row: Row) -> str | None:
    n = row.image.spec.n_pairs
    return f"{n} pairs are fewer than {LEAST_PAIRS}" if n < LEAST_PAIRS else None


def _documents(captions: Sequence[str]) -> str | None:
    share = sum(map(_speaks_of_documents, captions)) / max(len(captions), 1)
    if share < DOCUMENTS:
        return None
    captions_of = f"{100 * share:.0f}% of the captions speak of documents or charts"
    return f"{captions_of}, and captions don't say what must be read there"


def _speaks_of_documents(caption: str) -> bool:
    everyday = {word.lower() for word in EVERYDAY_WORDS.findall(caption)}
    return bool(DOCUMENT_WORDS.search(caption)) or len(everyday) > 1


def _families(rows: Sequence[Row], world: WorldRecord) -> str | None:
    entries = {row.encoder: row.image.entry for row in rows}
    new = [name for name, entry in entries.items() if entry is None or entry.family not in world.catalogue_families]
    if not new:
        return None
    return f"it has no encoder of the families of {len(new)} of your {len(rows)} candidates ({enumerated(new, 4)})"


def _size(rows: Sequence[Row], world: WorldRecord) -> str | None:
    largest = max(each.size for each in world.calibrations)
    return f"its largest replayed pool has {largest} encoders, yours {len(rows)}" if len(rows) > largest else None
