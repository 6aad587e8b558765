"""Pictures, lessons and questions of the skills that were tried: presence, colour, number, place, and drawn words."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from vlmatch.benchmarks.selection import groups_of, selected
from vlmatch.probes.images import open_image
from vlmatch.probes.split import Item, Split

SIDE, EDGE = 256, 20  # of a canvas; encoders cut off its outermost 16 pixels
COUNTS = ("one", "two", "three", "four")
HUES = {"red": (-15, 12), "orange": (20, 40), "yellow": (46, 66), "green": (80, 160), "blue": (190, 255)}
GROUP = 6  # pictures of a question about a caption
TAUGHT, PAIRS, COUNTED, WORDS = 600, 160, 80, 48
PROMPTS = {
    "caption": "Caption of the picture:<image>",
    "presence": "Question about the picture:<image> {}",
    "colour": "Colour of the picture:<image>",
    "counting": "Number of things in the picture:<image>",
    "left_right": "On the left of the picture:<image>",
    "words": "Word in the picture:<image>",
}

Drawing = Callable[[], Image.Image]


@dataclass(frozen=True)
class Lesson:
    """One training sample: a prompt with a picture, by its number, and the answer."""

    skill: str
    prompt: str
    picture: int
    answer: str


@dataclass(frozen=True)
class Question:
    """One question about several pictures, by their numbers: the answers to choose from, and each picture's own.

    clusters: pictures of dependent credits have one name. balanced: the score is the mean over the own answers.
    """

    skill: str
    prompt: str
    pictures: tuple[int, ...]
    answers: tuple[str, ...]
    own: tuple[int, ...]
    clusters: tuple[str, ...]
    balanced: bool = False


@dataclass
class Album:
    """Pictures by number, drawn when they are asked for; those of training and those of tests are two albums."""

    drawings: list[Drawing] = field(default_factory=list)
    _real: dict[str, int] = field(default_factory=dict)

    def add(self, drawing: Drawing) -> int:
        """Take a picture in; returns its number."""
        self.drawings.append(drawing)
        return len(self.drawings) - 1

    def real(self, item: Item) -> int:
        """The number of an item's own picture."""
        if item.id not in self._real:
            self._real[item.id] = self.add(partial(open_image, item.image))
        return self._real[item.id]


def lessons(split: Split, seed: int) -> tuple[Album, list[Lesson]]:
    """Captions and all skills, from the clip-art that VLMs are trained on."""
    items, random, album = split.share("vlm_a"), np.random.default_rng(seed), Album()
    found = [Lesson("caption", PROMPTS["caption"], album.real(item), _caption(item)) for item in items]
    found += _presence_lessons(items, random, album)
    for item in items:
        if colour := colour_of(open_image(item.image)):
            found.append(Lesson("colour", PROMPTS["colour"], album.real(item), colour))
    for _ in range(TAUGHT):
        item, number = items[random.integers(len(items))], int(random.integers(4))
        picture = album.add(partial(copies, item, number + 1, int(random.integers(2**31))))
        found.append(Lesson("counting", PROMPTS["counting"], picture, COUNTS[number]))
        left, right = (items[number] for number in random.choice(len(items), 2, replace=False))
        picture = album.add(partial(side_by_side, left, right, int(random.integers(2**31))))
        found.append(Lesson("left_right", PROMPTS["left_right"], picture, _caption(left)))
        word = vocabulary(items)[0][random.integers(WORDS)]
        picture = album.add(partial(written, word, int(random.integers(2**31))))
        found.append(Lesson("words", PROMPTS["words"], picture, word))
    return album, found


def questions(split: Split, seed: int) -> tuple[Album, list[Question]]:
    """What is asked, of clip-art that is in no training: the shares `benchmarks` and `encoder_training`."""
    offered = split.share("benchmarks", ["clipart"]) + split.share("encoder_training", ["clipart"])
    items = selected(offered, {"clipart": {"items": 2 * PAIRS, "of_category": 70}}, 2, seed)
    random, album = np.random.default_rng(seed), Album()
    asked = items[: 40 * GROUP]
    found = [*_caption_questions(asked, album), *_category_questions(split, asked, album)]
    found += _colour_question(offered, album)
    numbers = [
        (item, number, album.add(partial(copies, item, number + 1, int(random.integers(2**31)))))
        for item in items[:COUNTED]
        for number in range(4)
    ]
    own, clusters = tuple(number for _, number, _ in numbers), tuple(item.id for item, _, _ in numbers)
    pictures = tuple(picture for _, _, picture in numbers)
    found.append(Question("counting", PROMPTS["counting"], pictures, COUNTS, own, clusters, balanced=True))
    for one, other in zip(items[::2], items[1::2], strict=True):
        places = int(random.integers(2**31))  # the same in both pictures
        both = (
            album.add(partial(side_by_side, one, other, places)),
            album.add(partial(side_by_side, other, one, places)),
        )
        names = (_caption(one), _caption(other))
        found.append(Question("left_right", PROMPTS["left_right"], both, names, (0, 1), (one.id, one.id)))
    return album, [*found, *_word_questions(split, random, album)]


def _presence_lessons(items: Sequence[Item], random: np.random.Generator, album: Album) -> Iterator[Lesson]:
    """Of each picture its own caption and category, and each of them of another picture."""
    categories = sorted({item.category for item in items if item.category})
    for item in items:
        other = next(o for i in random.permutation(len(items)) if _caption(o := items[i]) != _caption(item))
        asked = [(there_is(_caption(item)), "yes"), (there_is(_caption(other)), "no")]
        if item.category:
            wrong = random.choice([category for category in categories if category != item.category])
            asked += [(it_is(item.category), "yes"), (it_is(str(wrong)), "no")]
        for prompt, answer in asked:
            yield Lesson("presence", prompt, album.real(item), answer)


def _caption_questions(items: Sequence[Item], album: Album) -> Iterator[Question]:
    """Is there what one of a group of pictures shows; and, to compare, which of the group's captions fits."""
    for group in groups_of(len(items), GROUP):
        pictures = tuple(album.real(items[number]) for number in group)
        clusters = (items[group[0]].id,) * GROUP
        captions = tuple(_caption(items[number]) for number in group)
        yield Question("caption", PROMPTS["caption"], pictures, captions, tuple(range(GROUP)), clusters)
        for place, caption in enumerate(captions):
            own = tuple(int(other != place) for other in range(GROUP))
            yield Question("presence_caption", there_is(caption), pictures, ("yes", "no"), own, clusters)


def _category_questions(split: Split, items: Sequence[Item], album: Album) -> Iterator[Question]:
    """Is it of a category: each that training knows and at least five of the pictures have, of all pictures."""
    known = {item.category for item in split.share("vlm_a")}
    counts = Counter(item.category for item in items if item.category in known)
    pictures, clusters = tuple(map(album.real, items)), tuple(item.id for item in items)
    for category in sorted(name for name, count in counts.items() if name and count >= 5):
        own = tuple(int(item.category != category) for item in items)
        yield Question("presence_category", it_is(category), pictures, ("yes", "no"), own, clusters)


def _colour_question(items: Sequence[Item], album: Album) -> list[Question]:
    coloured = [(item, colour) for item in items if (colour := colour_of(open_image(item.image)))]
    pictures = tuple(album.real(item) for item, _ in coloured)
    own = tuple(list(HUES).index(colour) for _, colour in coloured)
    clusters = tuple(item.concept for item, _ in coloured)
    return [Question("colour", PROMPTS["colour"], pictures, tuple(HUES), own, clusters, balanced=True)]


def _word_questions(split: Split, random: np.random.Generator, album: Album) -> Iterator[Question]:
    """Which of four words: of those that were taught, drawn anew, and of others."""
    for skill, words, times in zip(("words", "words_new"), vocabulary(split.share("vlm_a")), (5, 3), strict=True):
        for group in groups_of(WORDS, 4):
            four = tuple(words[number] for number in group)
            for _ in range(times):
                pictures = tuple(album.add(partial(written, word, int(random.integers(2**31)))) for word in four)
                yield Question(skill, PROMPTS["words"], pictures, four, (0, 1, 2, 3), (four[0],) * 4)


def there_is(caption: str) -> str:
    """The question for what a caption names."""
    return PROMPTS["presence"].format(f"Is there a {caption} in it?")


def it_is(category: str) -> str:
    """The question for a category."""
    return PROMPTS["presence"].format(f"Is it about {category}?")


def vocabulary(items: Sequence[Item]) -> tuple[list[str], list[str]]:
    """Words that are taught and words that are not: the commonest of 3 to 5 letters in the captions, by a hash."""
    counts = Counter(word for item in items for word in _caption(item).split() if word.isascii() and word.isalpha())
    common = [
        word for word, _ in sorted(counts.items(), key=lambda found: (-found[1], found[0])) if 3 <= len(word) <= 5
    ]
    mixed = sorted(common[: 2 * WORDS], key=lambda word: hashlib.sha256(word.encode()).digest())
    return mixed[:WORDS], mixed[WORDS:]


def colour_of(image: Image.Image) -> str | None:
    """The one colour of a picture, or None where the rule does not find a clear one.

    Of its 64 x 64 pixels that are not near white, at least 3% of all, 30% must be coloured (saturation of .35,
    value of .25 or more), and 80% of those lie within the hues of one name (`HUES`, with gaps between them); red and
    orange that are dark (value below .6) are brown, which has no name here.
    """
    pixels = np.asarray(image.resize((64, 64)).convert("HSV")).reshape(-1, 3).astype(np.int64)
    hue, saturation, value = pixels[:, 0] * 360 / 256, pixels[:, 1], pixels[:, 2]
    inked = ~((value > 235) & (saturation < 20))
    coloured = (saturation >= 90) & (value >= 64)
    if inked.mean() < 0.03 or coloured.sum() < 0.3 * inked.sum():
        return None
    for name, bounds in HUES.items():
        brown = (value < 150) if name in ("red", "orange") else np.zeros(len(value), dtype=bool)
        if (_within(hue, bounds) & coloured & ~brown).sum() >= 0.8 * coloured.sum():
            return name
    return None


def _within(hue: NDArray[np.float64], bounds: tuple[int, int]) -> NDArray[np.bool_]:
    low, high = bounds
    turned = np.where(hue >= 360 + min(low, 0), hue - 360, hue)
    return (turned >= low) & (turned <= high)


def copies(item: Item, number: int, seed: int) -> Image.Image:
    """So many copies of a picture, of one size drawn by the seed, in cells of a 3 x 3 grid."""
    random, canvas = np.random.default_rng(seed), Image.new("RGB", (SIDE, SIDE), "white")
    cell = (SIDE - 2 * EDGE) // 3
    small = _fitted(item, int(random.integers(40, cell - 3)))
    for place in random.permutation(9)[:number]:
        x, y = (EDGE + cell * int(p) for p in divmod(int(place), 3))
        shift = [int(random.integers(cell - length + 1)) for length in small.size]
        canvas.paste(small, (x + shift[0], y + shift[1]))
    return canvas


def side_by_side(left: Item, right: Item, seed: int) -> Image.Image:
    """Two pictures beside each other; the seed moves them up or down."""
    random, canvas = np.random.default_rng(seed), Image.new("RGB", (SIDE, SIDE), "white")
    heights = random.integers(EDGE, SIDE - EDGE - 100, 2)
    for item, x, y in zip((left, right), (EDGE, SIDE - EDGE - 100), heights, strict=True):
        small = _fitted(item, 100)
        canvas.paste(small, (x + (100 - small.width) // 2, int(y) + (100 - small.height) // 2))
    return canvas


def written(word: str, seed: int) -> Image.Image:
    """A word in Pillow's own font, black on white; size and place come from the seed."""
    random, canvas = np.random.default_rng(seed), Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(canvas)
    size = int(random.integers(48, 73))
    box = draw.textbbox((0, 0), word, ImageFont.load_default(size))
    size = min(size, int(size * (SIDE - 2 * EDGE) / box[2]))
    font = ImageFont.load_default(size)
    _, _, width, height = draw.textbbox((0, 0), word, font)
    place = [int(random.integers(EDGE, max(EDGE + 1, SIDE - EDGE - int(length)))) for length in (width, height)]
    draw.text((place[0], place[1]), word, fill="black", font=font)
    return canvas


def _fitted(item: Item, side: int) -> Image.Image:
    """A picture without its white margin, scaled to so many pixels on its longer side."""
    image = open_image(item.image)
    cut = image.crop(ImageOps.invert(image.convert("L")).getbbox())
    return ImageOps.contain(cut, (side, side), Image.Resampling.BICUBIC)


def _caption(item: Item) -> str:
    return item.caption.lower()
