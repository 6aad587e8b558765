"""Images without a table: each has a text beside it, or lies in a folder whose name is its class."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vlmatch.errors import VlmatchError, enumerated
from vlmatch.probes.captions import is_number
from vlmatch.probes.images import SUFFIXES
from vlmatch.probes.pairs import ProbeEntry
from vlmatch.probes.places import image_in, names_in, opened
from vlmatch.probes.problems import EntryError
from vlmatch.probes.tables import is_named_as_table
from vlmatch.probes.text import MAX_CHARACTERS, text_of

LABEL = "{label}"
CLASS_CAPTION = f"a photo of a {LABEL}"
TEXTS = (".txt", ".caption")
"""The endings of text files beside images; kohya's trainers of diffusion models write the second."""

_WORDNET = re.compile(r"n\d{8}")  # ImageNet's names of classes
_SPLIT = re.compile(r"(train|training|val|valid|validation|dev|test|testing|images?)[\W_]*\d*", re.IGNORECASE)


class Classes:
    """The images of a folder or zip file, in the order of their names.

    If an image has a text beside it (0.png and 0.txt, see `TEXTS`), the texts are the captions. Otherwise
    `class_caption` makes each caption from the name of the image's folder. The label of an image is the name of its
    folder. `source` describes what was found; `skipped` counts the images that are not pairs, by reason.

    Without texts, raises VlmatchError if a table lies in a folder further down, if there are fewer than two classes, if
    the name of a class is not a word, or if the folders are splits (train, val) and not classes.
    """

    def __init__(self, probe: str, place: Path, class_caption: str) -> None:
        self.probe, self.place = probe, place
        if LABEL not in class_caption:
            raise VlmatchError(f"probe.class_caption={class_caption!r} lacks '{LABEL}'; put it where the class goes")
        self.class_caption = class_caption
        names = names_in(place)
        self.images = [name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
        texts = {_stem(name): name for name in names if PurePosixPath(name).suffix.lower() in TEXTS}
        self.texts = {image: texts[stem] for image in self.images if (stem := _stem(image)) in texts}
        self.skipped: Counter[str] = Counter()
        tops = {name.partition("/")[0] for name in names if "/" in name} | {"" for name in names if "/" not in name}
        self.top = tops.pop() if len(tops) == 1 else ""  # a zip file often holds one folder with all others
        classes = sorted({label for image in self.images if (label := self._label(image))})
        if self.texts:
            self.source = f"{place.name}, captions from {len(self.texts):,} texts"
        elif tables := [name for name in names if is_named_as_table(name)]:
            raise VlmatchError(
                f"probe '{probe}': the tables in probe.path={place} are not at its top ({enumerated(tables)}); give "
                f"the path of one, such as probe.path={place / tables[0]}, or move them away to read class folders"
            )
        elif len(classes) > 1:
            self._require_classes(classes)
            self.source = f"{place.name}, captions from {len(classes):,} class folders: '{class_caption}'"
        else:
            raise VlmatchError(
                f"probe '{probe}': no captions.csv, captions.tsv or captions.jsonl in probe.path={place}; wanted a "
                "table that lists the pairs, or a .txt beside each image, or several folders named after classes"
            )

    def __iter__(self) -> Iterator[ProbeEntry]:
        for image in self.images:
            label = self._label(image)
            if not self.texts and label is None:
                self.skipped["outside of the class folders"] += 1
                continue
            try:
                caption = self._text(image) if self.texts else self.class_caption.replace(LABEL, _words(label or ""))
            except EntryError as problem:
                yield ProbeEntry.unusable(image, problem)
            else:
                yield ProbeEntry(image, image_in(self.place, image), caption, label)

    def _label(self, image: str) -> str | None:
        """The name of an image's folder; None if the image lies at the top."""
        folder = PurePosixPath(image).parent
        return None if folder.as_posix() == self.top else folder.name or None

    def _text(self, image: str) -> str:
        """The caption in the text beside an image, '' if there is no text."""
        if image not in self.texts:
            return ""
        try:
            with opened(self.place, self.texts[image]) as file:
                content = file.read(4 * MAX_CHARACTERS)
        except OSError as error:
            raise EntryError(f"'{self.texts[image]}' can't be read ({error.strerror})", "with a broken txt") from error
        return text_of(f"'{self.texts[image]}'", content).strip()

    def _require_classes(self, classes: list[str]) -> None:
        codes = [label for label in classes if is_number(label) or _WORDNET.fullmatch(label)]
        all_splits = all(_SPLIT.fullmatch(label) for label in classes)  # beside 'bus', 'train' is a class
        splits = classes if all_splits else []
        if codes or splits:
            raise VlmatchError(
                f"probe '{self.probe}': class folder '{(codes or splits)[0]}' in {self.place} is a "
                f"{'code' if codes else 'split of the data'}, not a word for a caption; rename such folders, or list "
                "the pairs in captions.csv (columns image, caption)"
            )


def _stem(name: str) -> str:
    """A name without its ending, with accents composed: an image and its text have the same one."""
    return unicodedata.normalize("NFC", PurePosixPath(name).with_suffix("").as_posix())


def _words(label: str) -> str:
    return " ".join(label.replace("_", " ").split())
