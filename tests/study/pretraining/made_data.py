"""Made-up training items: drawn shapes in colours, with captions and categories."""

from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from vlmatch.probes.items import Item, Split
from vlmatch_study.pretraining.data import PretrainingData

COLOURS = ("red", "green", "blue", "orange", "purple", "black")
SHAPES = ("ellipse", "rectangle")


def drawn(folder: Path, source: str = "clipart", share: str = "encoder_training") -> list[Item]:
    """Each colour as an ellipse and as a rectangle, the shape being the category; no image is square."""
    folder.mkdir(exist_ok=True)
    items = []
    for colour in COLOURS:
        for shape in SHAPES:
            path = folder / f"{colour}_{shape}.png"
            picture = Image.new("RGB", (40, 30), "white")
            getattr(ImageDraw.Draw(picture), shape)((8, 4, 30, 24), fill=colour)
            picture.save(path)
            caption = f"{colour} {shape}"
            items.append(Item(f"{source}/{caption}", path, caption, caption, source, shape, share))
    return items


def features(data: PretrainingData, width: int = 24) -> PretrainingData:
    """The same items as if a backbone had seen them: a fixed random map of their pixels."""
    pixels = data.inputs.float().flatten(1) / 255
    directions = torch.randn(pixels.shape[1], width, generator=torch.Generator().manual_seed(0))
    return PretrainingData(pixels @ directions / 10, data.captions, data.categories)


def sentences(texts: list[str]) -> Tensor:
    """An embedding of each text by its letters: (n, 26)."""
    return torch.tensor([[float(text.count(chr(97 + i))) for i in range(26)] for text in texts])


def made_split(folder: str) -> Split:
    """A split of clip-art and emoji for training, and of things that are not."""
    kinds = [("clipart", "encoder_training"), ("emoji_google", "encoder_training"), ("openmoji", "encoder_training")]
    return Split(tuple(item for kind in [*kinds, ("stamps", "probe")] for item in drawn(Path(folder) / kind[0], *kind)))
