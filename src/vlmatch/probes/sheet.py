"""The data sheet of a probe: the sizes of its images, the lengths of its captions, and the counts of its labels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vlmatch.errors import enumerated
from vlmatch.probes.depth import DEPTHS
from vlmatch.probes.images import ImageError, ImageHeader, ImageSource, image_header

MAX_HEADERS = 10_000  # images whose headers are read; of more images, every second, third ... is read
_READERS = 8
_LABELS_SHOWN = 8


def size_summary(sources: Sequence[ImageSource]) -> dict[str, Any]:
    """The smallest, median and largest [width, height] by number of pixels, from headers, and the number of images.

    Drawings have no size. `unreadable` counts images without a readable header, `deep_greys` those whose pixels are
    greys of more than 8 bits.
    """
    step = -(-len(sources) // MAX_HEADERS) or 1
    with ThreadPoolExecutor(max_workers=_READERS) as readers:
        found = list(readers.map(_header, sources[::step]))
    headers = [header for header in found if isinstance(header, ImageHeader)]
    sizes = sorted((header.size for header in headers), key=lambda size: (size[0] * size[1], size))
    deep_greys = sum(header.deep_grey for header in headers)
    summary: dict[str, Any] = {"images": len(sizes), "unreadable": found.count("unreadable"), "deep_greys": deep_greys}
    if sizes:
        named = {"smallest": sizes[0], "median": sizes[(len(sizes) - 1) // 2], "largest": sizes[-1]}
        summary |= {name: list(size) for name, size in named.items()}
    return summary


def length_summary(captions: Sequence[str]) -> dict[str, int]:
    """The smallest, median (the lower of two) and largest number of words in a caption."""
    lengths = sorted(len(caption.split()) for caption in captions)
    return {"min": lengths[0], "median": lengths[(len(lengths) - 1) // 2], "max": lengths[-1]}


def label_counts(labels: Sequence[str | None]) -> dict[str, int]:
    """How many pairs each label has, largest first; pairs without a label are left out."""
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
        *_several_in_words(sheet["several_captions"]),
        *_numbers_in_words(sheet["number_captions"]),
        _sizes_in_words(sheet["image_sizes"]),
        *_depth_in_words(sheet["image_sizes"]["deep_greys"]),
        "words in a caption: {min} to {max}, median {median}".format(**sheet["caption_words"]),
        *([_labels_in_words(labels)] if labels else []),
        f"source: {sheet['source'] or 'not stated'}; licence: {sheet['licence']}",
        f"fingerprint: {sheet['fingerprint']}",
    ]


def _header(source: ImageSource) -> ImageHeader | str:
    try:
        return image_header(source) or "drawing"
    except ImageError:
        return "unreadable"


def _several_in_words(several: int) -> list[str]:
    return [f"several captions: {several:,} pairs list more than one; the first is used"] if several else []


def _numbers_in_words(numbers: int) -> list[str]:
    return [f"captions that are nothing but a number: {numbers:,}"] if numbers else []


def _depth_in_words(deep_greys: int) -> list[str]:
    if not deep_greys:
        return []
    return [
        f"16-bit greys: {deep_greys:,} images, scaled to 8 bits; in a PNG or TIFF white is the largest number of the "
        f"lowest bit depth ({', '.join(map(str, DEPTHS))}) that can hold the image's values"
    ]


def _sizes_in_words(sizes: Mapping[str, Any]) -> str:
    unreadable = f"; {sizes['unreadable']:,} can't be read" if sizes["unreadable"] else ""
    if not sizes["images"]:
        return f"image sizes: none in pixels{unreadable}"
    smallest, median, largest = (
        "{} x {}".format(*sizes[name]) for name in ("smallest", "median", "largest")
    )  # by number of pixels
    return f"image sizes: {smallest} to {largest}, median {median} ({sizes['images']:,} images){unreadable}"


def _labels_in_words(labels: Mapping[str, int]) -> str:
    counts = [f"{label} {count:,}" for label, count in labels.items()]
    return f"labels: {len(labels):,} ({enumerated(counts, _LABELS_SHOWN)})"
