"""LLaVA's json: first answers are captions, entries without an image are skipped and counted."""

import json
from pathlib import Path
from typing import Any

import pytest

from vlmatch.errors import VlmatchError
from vlmatch.probes.llava import llava
from vlmatch.probes.llava_format import conversation_of


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
    assert probe.counts.skipped == {}


def test_the_images_may_lie_beside_the_json(images: Path) -> None:
    items = [{"id": n, "image": f"images/00/{n}.png", "conversations": conversation(f"{n}")} for n in range(3)]
    assert len(llava(write(images, items))) == 3


def test_entries_without_an_image_are_skipped_and_counted(images: Path) -> None:
    items: list[dict[str, Any]] = [{"id": "text", "conversations": conversation("Hello.")}]
    items += [{"id": n, "image": f"00/{n}.png", "conversations": conversation(f"{n}")} for n in range(3)]
    items += [{"id": "more text", "image": None, "conversations": conversation("Hello.")}]
    probe = llava(write(images, items), images)
    assert (probe.counts.read, probe.counts.skipped, probe.counts.kept) == (3, {"without an image": 2}, 3)
    assert "3 pairs kept of 3 read; skipped: 2 without an image" in probe.data_sheet()[0]


def test_a_limit_needs_no_more_than_the_images_it_keeps(images: Path) -> None:
    items = [{"id": n, "image": f"00/{n}.png", "conversations": conversation(f"{n}")} for n in range(3)]
    items += [{"id": n, "image": "00/0.png", "conversations": conversation(f"{n}")} for n in range(3, 2000)]
    items += [{"id": "gone", "image": "00/gone.png", "conversations": conversation("Gone.")}]
    assert len(llava(write(images, items), images, limit=2)) == 2
    with pytest.raises(VlmatchError, match=r"gone\.png' of 'gone' can't be read"):
        llava(write(images, items), images)


def test_the_mixture_of_665k_has_text_repeated_ids_and_short_first_answers(images: Path) -> None:
    short = [*conversation("Yes."), *conversation("It is a small grey cat.", "Describe it."), *conversation("No.", "?")]
    items = [
        {"id": "wgByO4Y_0", "model": "", "conversations": conversation("Sure, here is a poem.")},
        {"id": "000000033471", "image": "00/0.png", "conversations": short},
        {"id": "000000033471", "image": "00/1.png", "conversations": conversation("A dog runs.")},
    ]
    file = write(images, items)
    assert [(pair.id, pair.caption) for pair in llava(file, images).pairs] == [
        ("000000033471", "Yes."),
        ("000000033471#2", "A dog runs."),
    ]
    assert llava(file, images, turn="longest").captions == ["It is a small grey cat.", "A dog runs."]
    items.append({"id": "1", "image": "00/2.png", "conversations": short[:2] + conversation("A cow.")})
    second = llava(write(images, items), images, turn=2)
    assert second.captions == ["It is a small grey cat.", "A cow."]
    assert second.counts.skipped == {"without an image": 1, "without an answer 2": 1}


def test_sharegpt_messages_and_image_tokens_in_answers(images: Path) -> None:
    items = [
        {
            "id": number,
            "image": f"00/{number}.png",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "<image>\nWhat is it?"},
                {"role": "assistant", "content": f"<image>\nThing {number}."},
            ],
        }
        for number in range(3)
    ]
    assert llava(write(images, items), images).captions == ["Thing 0.", "Thing 1.", "Thing 2."]
    items[1]["conversations"] = [{"from": "assistant", "value": "Seen."}]
    with pytest.raises(VlmatchError, match="entry 1: it has both 'conversations' and 'messages', and they differ"):
        llava(write(images, items), images)


def test_images_may_be_a_list_of_one_and_of_several_none_is_a_pair(images: Path) -> None:
    items = [
        {"images": [f"00/{n}.png"], "messages": [{"role": "user", "content": "<image>what?"}, answer(f"A shape {n}.")]}
        for n in range(2)
    ]
    items.append({"image": ["00/2.png"], "conversations": conversation("A shape 2.")})
    items.append({"images": ["00/0.png", "00/1.png"], "messages": [answer("Two shapes.")]})
    items.append({"images": [], "messages": [answer("No shape.")]})
    items.append({"image": "", "messages": [answer("No shape.")]})
    probe = llava(write(images, items), images)
    assert probe.captions == ["A shape 0.", "A shape 1.", "A shape 2."]
    assert [pair.id for pair in probe.pairs] == ["0", "1", "2"]
    assert probe.counts.skipped == {"with several images": 1, "without an image": 2}


def answer(text: str) -> dict[str, str]:
    """A turn of ShareGPT's."""
    return {"role": "assistant", "content": text}


def test_turns_may_come_in_parts(images: Path) -> None:
    asked = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
    items = [
        {
            "images": [f"00/{n}.png"],
            "messages": [
                {"role": "user", "content": asked},
                {"role": "assistant", "content": [{"type": "text", "text": f"Thing {n}."}]},
            ],
        }
        for n in range(2)
    ]
    assert llava(write(images, items), images).captions == ["Thing 0.", "Thing 1."]
    assert conversation_of(0, items[0]).turns[0].text == "<image>What is this?"


@pytest.mark.parametrize("name", ["data.json", "data.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lines_of_json_are_read_whatever_the_file_is_called(images: Path, name: str, encoding: str) -> None:
    items = [{"image": f"00/{n}.png", "conversations": conversation(f"A\u2028thing, {n}.")} for n in range(3)]
    lines = "\r\n".join(json.dumps(item, ensure_ascii=False) for item in items)
    (images.parent / name).write_bytes(
        f"\ufeff{lines}\r\n\r\n".encode("utf-16-le") if encoding == "utf-16" else lines.encode(encoding)
    )
    assert llava(images.parent / name, images).captions == [f"A\u2028thing, {n}." for n in range(3)]
    (images.parent / name).write_bytes(json.dumps(items, indent=1).encode(encoding))
    assert len(llava(images.parent / name, images)) == 3


def test_malformed_entries_are_skipped_and_counted_if_asked(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMATCH_CACHE", str(images / "cache"))
    good = [{"id": n, "image": f"00/{n}.png", "conversations": conversation(f"{n}")} for n in range(2)]
    bad: list[Any] = [{"image": "00/2.png", "conversations": None}, "text", {"image": 5}]
    bad.append({"image": "00/2.png", "conversations": [{"from": "cat", "value": "Mew."}]})
    file = images.parent / "chat.jsonl"
    file.write_text("\n".join([*map(json.dumps, [*good, *bad]), '{"image": ']))
    probe = llava(file, images, bad_rows="skip")
    assert probe.captions == ["0", "1"]
    assert probe.counts.skipped == {"malformed": 5}
    with pytest.raises(VlmatchError, match=r"entry 2: the conversation is empty; .*probe\.bad_rows=skip"):
        llava(file, images)


@pytest.mark.parametrize("image", ["../secret.png", "/etc/secret.png", "00/../../secret.png", "..\\secret.png"])
def test_nothing_outside_of_the_folder_is_opened(images: Path, pixel: bytes, image: str) -> None:
    (images.parent / "secret.png").write_bytes(pixel)
    items = [{"image": image, "conversations": conversation("A secret.")}]
    said = (
        r"entry 0: image '.*secret\.png' lies outside of probe\.images=.*, which only probe\.images_outside=true allows"
    )
    with pytest.raises(VlmatchError, match=said):
        llava(write(images, items), images)


@pytest.mark.parametrize("form", ["{}", "../beside.png", "file://{}", "..\\beside.png"])
def test_an_image_outside_of_the_folder_is_read_if_that_is_allowed(images: Path, pixel: bytes, form: str) -> None:
    outside = images.parent / "beside.png"
    outside.write_bytes(pixel)
    items = [{"image": "00/1.png", "conversations": conversation("A shape.")}]
    items.append({"image": form.format(outside), "conversations": conversation("A secret.")})
    probe = llava(write(images, items), images, images_outside=True)
    assert probe.captions == ["A shape.", "A secret."]
    assert probe.image(1).size == (1, 1)


@pytest.mark.parametrize(
    ("image", "line"),
    [
        ("https://host/1.png", "is an address, not a path; download such images to"),
        ("s3://bucket/1.png", "is an address, not a path; download such images to"),
        ("data:image/png;base64,AAAA", "is the image itself, not a path; write it to"),
    ],
)
def test_an_address_is_no_path(images: Path, image: str, line: str) -> None:
    items = [{"image": image, "conversations": conversation("A shape.")}]
    with pytest.raises(VlmatchError, match=f"entry 0: image '.*' {line}"):
        llava(write(images, items), images, images_outside=True)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "image": "00/{n}.png"},
        {"type": "image", "path": "00/{n}.png"},
        {"type": "image_url", "image_url": {"url": "00/{n}.png"}},
    ],
)
def test_images_may_be_named_in_the_parts_of_turns_or_in_objects(images: Path, part: dict[str, Any]) -> None:
    items = []
    for n in range(2):
        named = json.loads(json.dumps(part).replace("{n}", str(n)))
        asked = {"role": "user", "content": [named, {"type": "text", "text": "What?"}]}
        items.append({"messages": [asked, answer(f"A shape {n}.")]})
    items.append(
        {"images": [{"path": "00/2.png"}], "messages": [{"role": "USER", "content": "?"}, answer("A shape 2.")]}
    )
    assert llava(write(images, items), images).captions == [f"A shape {n}." for n in range(3)]
    assert conversation_of(0, items[0]).turns[0].text == "<image>What?"
    conversation_of(0, items[0]).require_places()


def test_broken_text_spoils_its_entry_only(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMATCH_CACHE", str(images / "cache"))
    items = [{"id": n, "image": f"00/{n}.png", "conversations": conversation(f"A frog {n}.")} for n in range(3)]
    file = write(images, items)
    file.write_bytes(file.read_bytes().replace(b"frog 1", b"fr\xf6g 1"))
    probe = llava(file, images, bad_rows="skip")
    assert probe.captions == ["A frog 0.", "A frog 2."]
    assert probe.counts.skipped == {"not valid Unicode": 1}
    for twice in ({"image": "00/0.png", "images": ["00/1.png"]}, {"image": "00/0.png", "images": ["00/0.png", "x"]}):
        with pytest.raises(VlmatchError, match="entry 1: it has both 'image' and 'images', and they differ"):
            llava(write(images, [items[0], {**twice, "conversations": conversation("A cat.")}]), images)


@pytest.mark.parametrize("turn", [0, -1, "last", 1.5, True])
def test_a_turn_that_is_none_is_refused(images: Path, turn: Any) -> None:
    with pytest.raises(VlmatchError, match="wanted 1 for the first answer"):
        llava(images / "nothing.json", turn=turn)


def test_missing_images_are_skipped_and_counted_if_asked(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMATCH_CACHE", str(images / "cache"))
    items = [{"id": n, "image": f"00/{n}.png", "conversations": conversation(f"{n}")} for n in range(6)]
    with pytest.raises(VlmatchError, match=r"entry 3: image '.*3\.png' of '3' .*No such file.*probe.bad_rows=skip"):
        llava(write(images, items), images)
    probe = llava(write(images, items), images, bad_rows="skip")
    assert probe.counts.skipped == {"not there": 3}
    assert len(probe.counts.first_skipped) == 3


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"image": "00/1.png", "caption": "A dog."}, "has neither 'conversations' nor 'messages', but image, caption;"),
        ({"image": "00/1.png", "conversations": None}, "entry 1: the conversation is empty"),
        ({"image": "00/1.png", "conversations": "A dog."}, "entry 1: the conversation is of type str"),
        ({"image": "00/1.png", "conversations": [{"from": "human", "value": "?"}]}, "entry 1: .* has no answer"),
        ({"id": "x", "image": 5, "conversations": conversation("A dog.")}, "image=5; wanted a path"),
        ({"images": [None], "conversations": conversation("A dog.")}, r"images=\[None\]; wanted a path"),
        ({"image": "00/1.png", "conversations": conversation("A dog\ud83d")}, r"turn 2 .*half a character .*ud83d"),
        ({"image": "00/\ud83d.png", "conversations": conversation("A dog.")}, r"image=.*half a character .*ud83d"),
        ({"id": "x", "image": "00/1.png", "conversations": conversation("")}, "the caption of 'x' is empty"),
        ({"id": "x", "image": "00/1.png", "conversations": ["A dog."]}, "turn 1 .* its text is null"),
        (
            {"id": "x", "image": "00/1.png", "conversations": [{"from": "gpt", "value": 7}]},
            "turn 1 .* its text is of type int",
        ),
        ("text", "entry 1: it is of type str"),
    ],
)
def test_a_bad_entry_is_named(images: Path, item: Any, message: str) -> None:
    first = {"id": "0", "image": "00/0.png", "conversations": conversation("A cat.")}
    with pytest.raises(VlmatchError, match=message):
        llava(write(images, [first, item]), images)


def test_what_is_no_list_of_conversations_is_refused(images: Path) -> None:
    with pytest.raises(VlmatchError, match=r"probe\.path=.* not a JSON list"):
        llava(write(images, {"id": 1}), images)
    (images / "broken.json").write_text("[")
    with pytest.raises(VlmatchError, match=r"probe\.path=.* not JSON"):
        llava(images / "broken.json")
    with pytest.raises(VlmatchError, match=r"can't be read \(No such file"):
        llava(images / "nothing.json")
