"""The data sheet of a probe: how large its images are, how long its captions, and how its labels are spread."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vlmatch.probes.images import ImageError, ImageSource, image_size

MAX_HEADERS = 10_000  # images whose size is read; of more, so many at even distances
_READERS = 8
_LABELS_SHOWN = 8


def size_summary(sources: Sequence[ImageSource]) -> dict[str, Any]:
    """The smallest, median and largest [width, height] by number of pixels, from headers alone, and of how many.

    Drawings have no size; `unreadable` counts images without a readable header.
    """
    step = -(-len(sources) // MAX_HEADERS) or 1
    with ThreadPoolExecutor(max_workers=_READERS) as readers:
        found = list(readers.map(_size, sources[::step]))
    sizes = sorted((size for size in found if isinstance(size, tuple)), key=lambda size: (size[0] * size[1], size))
    summary: dict[str, Any] = {"images": len(sizes), "unreadable": found.count("unreadable")}
    if sizes:
        named = {"smallest": sizes[0], "median": sizes[(len(sizes) - 1) // 2], "largest": sizes[-1]}
        summary |= {name: list(size) for name, size in named.items()}
    return summary


def length_summary(captions: Sequence[str]) -> dict[str, int]:
    """The least, median (the lower of two) and greatest number of words."""
    lengths = sorted(len(caption.split()) for caption in captions)
    return {"min": lengths[0], "median": lengths[(len(lengths) - 1) // 2], "max": lengths[-1]}


def label_counts(labels: Sequence[str | None]) -> dict[str, int]:
    """How many pairs each label has, most first; pairs without a label do not count."""
    return dict(Counter(label for label in labels if label is not None).most_common())


def lines(sheet: Mapping[str, Any]) -> list[str]:
    """A sheet as `ProbeSet.sheet` gives it, as lines of text for people."""
    sample = f", sampled from {sheet['entries']:,} entries" if sheet["entries"] else ""
    skipped = ", ".join(f"{count:,} {reason}" for reason, count in sheet["skipped"].items())
    labels = sheet["labels"]
    return [
        f"probe {sheet['name']}: {sheet['kept']:,} pairs kept of {sheet['read']:,} read{sample}"
        + (f"; skipped: {skipped}" if skipped else ""),
        *(f"  skipped: {example}" for example in sheet["first_skipped"]),
        f"distinct captions: {sheet['distinct_captions']:,}; distinct images: {sheet['distinct_images']:,}"
        + "".join(f"; {count:,} dropped for {kind}" for kind, count in sheet["dropped"].items()),
        _sizes_in_words(sheet["image_sizes"]),
        "words in a caption: {min} to {max}, median {median}".format(**sheet["caption_words"]),
        *([_labels_in_words(labels)] if labels else []),
        f"source: {sheet['source'] or 'not stated'}; licence: {sheet['licence']}",
        f"fingerprint: {sheet['fingerprint']}",
    ]


def _size(source: ImageSource) -> tuple[int, int] | str:
    try:
        return image_size(source) or "drawing"
    except ImageError:
        return "unreadable"


def _sizes_in_words(sizes: Mapping[str, Any]) -> str:
    unreadable = f"; {sizes['unreadable']:,} can't be read" if sizes["unreadable"] else ""
    if not sizes["images"]:
        return f"image sizes: none in pixels{unreadable}"
    smallest, median, largest = (
        "{} x {}".format(*sizes[name]) for name in ("smallest", "median", "largest")
    )  # by number of pixels
    return f"image sizes: {smallest} to {largest}, median {median} ({sizes['images']:,} images){unreadable}"


def _labels_in_words(labels: Mapping[str, int]) -> str:
    first = ", ".join(f"{label} {count:,}" for label, count in list(labels.items())[:_LABELS_SHOWN])
    more = f", and {len(labels) - _LABELS_SHOWN:,} more" if len(labels) > _LABELS_SHOWN else ""
    return f"labels: {len(labels):,} ({first}{more})"
