"""A split of drawn pictures: squares of one colour, with captions that name it."""

from pathlib import Path

from PIL import Image

from vlmatch.probes.items import Item, Split

COLOURS = {"red": (255, 0, 0), "green": (0, 160, 0), "blue": (0, 0, 255), "grey": (120, 120, 120)}
SIZES = ("tiny", "small", "middling", "large", "huge", "vast")
CATEGORY = {"red": "warm", "green": "cold", "blue": "cold", "grey": "warm"}


def made_split(folder: str) -> Split:
    """24 pictures to train on and 24 to measure on, a square of each colour and size."""
    items = []
    for share, word in (("vlm_a", "square"), ("benchmarks", "block")):
        for colour, rgb in COLOURS.items():
            for number, size in enumerate(SIZES):
                path = Path(folder) / f"{share}-{colour}-{size}.png"
                picture = Image.new("RGB", (64, 64), "white")
                picture.paste(rgb, (4, 4, 12 + 8 * number, 12 + 8 * number))
                picture.save(path)
                caption = f"{size} {colour} {word}"
                items.append(Item(path.stem, path, caption, caption, "made", CATEGORY[colour], share))
    return Split(tuple(items))


def made_domain(folder: str, split: Split, extends: str | None = None) -> Split:
    """That split with 24 more pictures, of blocks in other colours and kinds, in the share `domain`.

    extends: the fingerprint of the split that it says to extend, if not that of `split`.
    """
    items = [
        Item(f"domain-{number}", item.image, f"{item.caption} here", f"{item.caption} here", "made", kind, "domain")
        for number, item in enumerate(split.share("benchmarks"))
        for kind in (("kitchen", "office")[number % 2],)
    ]
    return Split((*split.items, *items), extends=extends or split.fingerprint)
