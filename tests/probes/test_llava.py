"""LLaVA's json: first answers are captions, entries without an image are skipped and counted."""

import json
from pathlib import Path
from typing import Any

import pytest

from vlmatch.errors import VlmatchError
from vlmatch.probes.llava import llava


def conversation(answer: str, question: str = "<image>\nWhat is this?") -> list[dict[str, str]]:
    """Two turns."""
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


@pytest.fixture
def images(tmp_path: Path, pixel: bytes) -> Path:
    """Three images in a folder of their own."""
    (tmp_path / "images" / "00").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "images" / "00" / f"{number}.png").write_bytes(pixel + bytes([number]))
    return tmp_path / "images"


def write(path: Path, content: Any) -> Path:
    """Writes the json beside the images."""
    file = path.parent / "chat.json"
    file.write_text(json.dumps(content))
    return file


def test_the_first_answer_is_the_caption(images: Path) -> None:
    turns = [*conversation(" A cat.\n"), *conversation("It sleeps.", "What does it do?")]
    items = [
        {"id": "x", "image": "00/0.png", "conversations": turns},
        {"id": 7, "image": "00/1.png", "conversations": conversation("A dog.")},
    ]
    probe = llava(write(images, items), images)
    assert [(pair.id, pair.caption) for pair in probe.pairs] == [("x", "A cat."), ("7", "A dog.")]
    assert probe.counts.skipped == 0


def test_the_images_may_lie_beside_the_json(images: Path) -> None:
    items = [{"id": n, "image": f"images/00/{n}.png", "conversations": conversation(f"{n}")} for n in range(3)]
    assert len(llava(write(images, items))) == 3


def test_entries_without_an_image_are_skipped_and_counted(images: Path) -> None:
    items: list[dict[str, Any]] = [{"id": "text", "conversations": conversation("Hello.")}]
    items += [{"id": n, "image": f"00/{n}.png", "conversations": conversation(f"{n}")} for n in range(3)]
    items += [{"id": "more text", "image": None, "conversations": conversation("Hello.")}]
    probe = llava(write(images, items), images)
    assert (probe.counts.read, probe.counts.skipped, probe.counts.kept) == (3, 2, 3)
    assert "2 entries without an image skipped" in probe.data_sheet()[0]


def test_a_limit_needs_no_more_than_the_images_it_keeps(images: Path) -> None:
    items = [{"id": n, "image": f"00/{n}.png", "conversations": conversation(f"{n}")} for n in range(3)]
    items += [{"id": n, "image": "00/0.png", "conversations": conversation(f"{n}")} for n in range(3, 2000)]
    items += [{"id": "gone", "image": "00/gone.png", "conversations": conversation("Gone.")}]
    assert len(llava(write(images, items), images, limit=2)) == 2
    with pytest.raises(VlmatchError, match=r"gone\.png' of 'gone' can't be read"):
        llava(write(images, items), images)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"id": "x", "image": "00/1.png"}, "entry 1 has no turn from 'gpt'"),
        ({"id": "x", "image": "00/1.png", "conversations": [{"from": "human", "value": "?"}]}, "entry 1 has no turn"),
        ({"id": "x", "image": ["00/1.png"], "conversations": conversation("A dog.")}, "wanted one path as a string"),
        ({"id": "x", "image": "00/1.png", "conversations": conversation("")}, "the caption of 'x' is empty"),
        ({"id": "0", "image": "00/1.png", "conversations": conversation("A dog.")}, "id '0' appears twice"),
        ("text", "entry 1 is no JSON object"),
    ],
)
def test_a_bad_entry_is_named(images: Path, item: Any, message: str) -> None:
    first = {"id": "0", "image": "00/0.png", "conversations": conversation("A cat.")}
    with pytest.raises(VlmatchError, match=message):
        llava(write(images, [first, item]), images)


def test_what_is_no_list_of_conversations_is_refused(images: Path) -> None:
    with pytest.raises(VlmatchError, match="is no JSON list"):
        llava(write(images, {"id": 1}), images)
    (images / "broken.json").write_text("[")
    with pytest.raises(VlmatchError, match="is no JSON"):
        llava(images / "broken.json")
    with pytest.raises(VlmatchError, match=r"can't be read \(No such file"):
        llava(images / "nothing.json")
