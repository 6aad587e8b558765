"""LLaVA's json as training data: what is read, refused or skipped, and what a sample holds."""

import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from made_vlms import byte_tokenizer
from vlmatch.encoders.controls import Pixels
from vlmatch.errors import VlmatchError
from vlmatch.vlm.batches import Batches, Collate
from vlmatch.vlm.lazy_samples import cut, on_square
from vlmatch.vlm.llava_json import LlavaJson
from vlmatch.vlm.tokens import IGNORED, IMAGE, Tokenised
from vlmatch.vlm.training_data import DataContext, TrainingData, schedule

TOKENS_PER_IMAGE = 4  # of 2 x 2 pixels


def said(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


ENTRIES = [
    {"id": "a", "image": "a.png", "conversations": said("What is it?\n<image>", "A cat.")},
    {"id": "b", "conversations": said("Who are you?", "A model.") + said("And now?", "Still a model.")},
    {"id": "c", "image": ["sub/b.png", "a.png"], "conversations": said("Is <image> like <image>?", "No.")},
    {
        "id": "d",
        "image": "sub/b.png",
        "messages": [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": "A dog."}],
    },
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_tokenizer()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two pictures, one of them in a folder of its own."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    Image.new("RGB", (8, 4), "red").save(folder / "a.png")
    Image.new("RGB", (4, 4), "blue").save(folder / "sub" / "b.png")
    return folder


@pytest.fixture
def load(tmp_path: Path, images: Path, tokenizer: Any) -> Callable[..., TrainingData]:
    """A function that writes entries to a json and loads it as a stage's data."""

    def make(entries: Any, suffix: str = "json", **options: Any) -> TrainingData:
        file = tmp_path / f"data.{suffix}"
        text = "\n".join(map(json.dumps, entries)) if suffix == "jsonl" else json.dumps(entries)
        file.write_text(entries if isinstance(entries, str) else text)
        values = {"template": "vicuna_v1", "max_length": 400, "what": "patches", "tokens": 1, **options}
        data = LlavaJson(file, images, **values)
        return data.load(DataContext(tokenizer, Pixels("pixels", 2), features=pytest.fail))

    return make


def texts(data: TrainingData, tokenizer: Any) -> list[str]:
    """The last answer of each sample."""
    ((_, samples),) = data.parts.values()
    found = []
    for number in range(len(samples)):
        tokens = samples[number].tokens
        answer = [label for label in tokens.labels if label != IGNORED]
        found.append(tokenizer.decode(answer).strip().removesuffix("</s>").rpartition("</s>")[2].strip())
    return found


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_each_entry_is_a_sample_with_its_pictures(
    load: Callable[..., TrainingData], tokenizer: Any, suffix: str
) -> None:
    found = load(ENTRIES, suffix)
    ((weight, samples),) = found.parts.values()
    assert (weight, len(samples), len(found.pictures)) == (1.0, 4, 2)
    assert texts(found, tokenizer) == ["A cat.", "Still a model.", "No.", "A dog."]
    assert [samples[n].images for n in range(4)] == [(0,), (), (1, 0), (1,)]
    assert [samples[n].tokens.images for n in range(4)] == [1, 0, 2, 1]
    assert samples[2].name == f"data.{suffix} entry 2"
    red = Pixels("pixels", 2).prepare(Image.new("RGB", (2, 2), "red"))
    torch.testing.assert_close(found.pictures[0], red)


def test_samples_with_and_without_pictures_share_batches(load: Callable[..., TrainingData]) -> None:
    found = load(ENTRIES)
    batch = next(iter(Batches(found, schedule(found, 1, 4, seed=0), Collate(TOKENS_PER_IMAGE))))
    assert batch.visual is not None
    assert batch.visual.shape == (4, 3, 2, 2)
    assert int((batch.ids == IMAGE).sum()) == 4 * TOKENS_PER_IMAGE
    assert bool((batch.labels[batch.ids == IMAGE] == IGNORED).all())


def test_lengths_count_pictures_and_follow_the_text(load: Callable[..., TrainingData]) -> None:
    long = {"conversations": said("Tell me a story.", "Once there was a king. " * 20)}
    ((_, samples),) = load([*ENTRIES, long], max_length=1000).parts.values()
    exact = [len(samples[n].tokens) + (TOKENS_PER_IMAGE - 1) * samples[n].tokens.images for n in range(5)]
    assert int(np.argmax(samples.lengths)) == int(np.argmax(exact)) == 4
    assert samples.lengths[2] - 2 * TOKENS_PER_IMAGE == len("Is <image> like <image>?No.") // 4


def test_a_sample_is_the_same_every_time_and_part_of_a_larger_one(
    load: Callable[..., TrainingData], tokenizer: Any
) -> None:
    entries = [{"conversations": said("Which?", f"Number {number}.")} for number in range(40)]
    draws = {size: texts(load(entries, sample=size, seed=3), tokenizer) for size in (5, 12, 40)}
    assert draws[5] == texts(load(entries, sample=5, seed=3), tokenizer)
    assert set(draws[5]) < set(draws[12])
    assert draws[40] == [f"Number {number}." for number in range(40)]
    assert texts(load(entries, sample=12, seed=4), tokenizer) != draws[12]
    assert texts(load(entries, limit=3), tokenizer) == ["Number 0.", "Number 1.", "Number 2."]


def test_missing_images_are_counted_before_the_training(
    load: Callable[..., TrainingData], tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gone = [{"image": f"{n}.png", "conversations": said("<image>", "Gone.")} for n in range(3)]
    with pytest.raises(
        VlmatchError, match=r"data.json: entry 4: image '.*0.png' is not there; 3 of 7 entries have bad"
    ):
        load([*ENTRIES, *gone])
    with caplog.at_level(logging.WARNING):
        assert texts(load([*gone, *ENTRIES], bad_images="skip"), tokenizer)[0] == "A cat."
    assert "3 of 7 entries skipped (bad_images); entry 0: image" in caplog.text


def test_an_image_that_cannot_be_decoded_is_skipped_or_named_when_it_is_read(
    load: Callable[..., TrainingData], images: Path, tokenizer: Any
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(images / "whole.png")
    (images / "half.png").write_bytes((images / "whole.png").read_bytes()[:3000])
    entries = [{"image": "half.png", "conversations": said("<image>", "Half.")}, *ENTRIES]
    assert "Half." not in texts(load(entries, bad_images="skip"), tokenizer)
    found = load(entries)
    with pytest.raises(VlmatchError, match=r"half\.png' can't be decoded") as caught:
        [found.pictures[n] for n in range(len(found.pictures))]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # as a worker process hands it on


@pytest.mark.parametrize("image", ["../secret.png", "/etc/secret.png", "sub/../../secret.png", "..\\secret.png"])
def test_no_image_outside_the_folder_is_opened(load: Callable[..., TrainingData], tmp_path: Path, image: str) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    message = (
        r"entry 0: image '.*secret\.png' lies outside of recipe\.stages\.N\.data\.images=.*data\.images_outside=true"
    )
    with pytest.raises(VlmatchError, match=message):
        load([{"image": image, "conversations": said("<image>", "A secret.")}])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"conversations": []}, "the conversation is empty"),
        ({"id": "x"}, "it has neither 'conversations' nor 'messages', but id"),
        ("text", "it is of type str; wanted a JSON object"),
        ({"conversations": said("Hi.", "Hello.")[::-1]}, "turn 1 is the assistant's"),
        ({"conversations": said("Hi.", "Hello.")[:1]}, "the conversation ends with the user's turn"),
        ({"conversations": said("Hi.", " ")}, "turn 2, the assistant's, is empty"),
        (
            {"conversations": [{"from": "cat", "value": "Mew."}]},
            "turn 1 is from 'cat', and its text is of type str; wanted from one of human",
        ),
        ({"conversations": ["Hi."]}, "turn 1 is from None"),
        ({"conversations": [{"from": ["human"], "value": "Hi."}]}, "turn 1 is from ['human']"),
        ({"conversations": said("Hi.", ["Hello."])}, "turn 2 is from 'gpt', and its text is of type list"),  # type: ignore[arg-type]
        ({"image": 5, "conversations": said("<image>", "A cat.")}, "image=5; wanted a path, or a list of paths"),
        (
            {"image": "a.png", "conversations": said("What?", "A cat.")},
            "it names 1 images, and its turns",
        ),
        ({"conversations": said("What?<image>", "A cat.")}, "it names 0 images, and its turns"),
    ],
)
def test_a_bad_entry_is_named_or_skipped(
    load: Callable[..., TrainingData], tokenizer: Any, entry: Any, message: str
) -> None:
    with pytest.raises(VlmatchError) as caught:
        load([*ENTRIES, entry])
    assert f"data.json: entry 4: {message}" in str(caught.value)
    assert str(caught.value).endswith("data.bad_conversations=skip")
    assert "\n" not in str(caught.value)
    assert len(texts(load([*ENTRIES, entry], bad_conversations="skip"), tokenizer)) == 4


LONG = {"image": "a.png", "conversations": said("Say more.<image>", "word " * 60) + said("More.", "word " * 60)}


def test_an_answer_longer_than_the_context_is_an_error_skipped_or_cut(
    load: Callable[..., TrainingData], tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(
        VlmatchError, match=r"entry 4: \d+ tokens, 4 of them for images; max_length is 500; .*skip or cut$"
    ):
        load([*ENTRIES, LONG], max_length=500)
    with caplog.at_level(logging.WARNING):
        assert len(texts(load([*ENTRIES, LONG], max_length=500, too_long="skip"), tokenizer)) == 4
    assert "1 of 5 entries skipped (too_long)" in caplog.text
    ((_, samples),) = load([*ENTRIES, LONG], max_length=500, too_long="cut").parts.values()
    whole = load([*ENTRIES, LONG], max_length=5000).parts["data"][1][4].tokens
    found = samples[4].tokens
    assert len(found) + TOKENS_PER_IMAGE - 1 == 500
    assert found.ids == whole.ids[: len(found)]
    assert found.labels == whole.labels[: len(found)]


@pytest.mark.parametrize("more", [0, 1])
def test_a_sample_may_have_exactly_max_length_tokens(load: Callable[..., TrainingData], more: int) -> None:
    tokens = load(ENTRIES[:1]).parts["data"][1][0].tokens
    length = len(tokens) + TOKENS_PER_IMAGE - 1
    assert load(ENTRIES[:1], max_length=length + more).size == 1
    with pytest.raises(VlmatchError, match=f"entry 0: {length} tokens"):
        load(ENTRIES[:1], max_length=length - 1)


def test_an_entry_without_an_answer_after_the_cut_is_skipped(load: Callable[..., TrainingData]) -> None:
    asked_at_length = {"image": "a.png", "conversations": said("<image>" + "word " * 200, "Yes.")}
    ((_, samples),) = load([asked_at_length, ENTRIES[0]], max_length=400, too_long="cut").parts.values()
    assert len(samples) == 1
    said_why = r"no entry can be used; entry 0: \d+ tokens.* would leave no answer"
    with pytest.raises(VlmatchError, match=said_why):
        load([LONG], max_length=100, too_long="cut")


def test_a_picture_that_is_cut_off_is_not_opened(load: Callable[..., TrainingData]) -> None:
    turns = said("<image>", "A cat. " * 60) + said("<image>", "A dog.")
    entry = {"image": ["a.png", "sub/b.png"], "conversations": turns}
    ((_, samples),) = load([entry], max_length=300, too_long="cut").parts.values()
    assert samples[0].images == (0,)
    assert samples[0].tokens.images == 1


def test_cut_keeps_a_picture_whole_or_drops_it() -> None:
    tokens = Tokenised((1, 2, IMAGE, 3), (IGNORED, 2, IGNORED, 3))
    assert cut(tokens, 6, 4) == Tokenised((1, 2, IMAGE), (IGNORED, 2, IGNORED))
    assert cut(tokens, 5, 4) == Tokenised((1, 2), (IGNORED, 2))
    assert cut(tokens, 7, 4) == tokens


def test_pad_puts_the_picture_on_a_square_of_the_colour(load: Callable[..., TrainingData]) -> None:
    square = np.asarray(on_square(Image.new("RGB", (8, 4), "red"), (1, 2, 3)))
    assert square.shape == (8, 8, 3)
    assert (square[2:6] == (255, 0, 0)).all()
    assert (square[[0, 1, 6, 7]] == (1, 2, 3)).all()
    padded = load(ENTRIES, pad=[0, 0, 0]).pictures[0]
    torch.testing.assert_close(padded[0], torch.full((2, 2), (127.5 + 1) / 256), atol=1 / 256, rtol=0)


@pytest.mark.parametrize(
    ("content", "suffix", "message"),
    [
        ('[{"id": ', "json", r"data.path=.*data.json is not JSON \(Expecting value.*\)"),
        ('{"id": 1}', "json", "data.path=.*data.json is not a JSON list"),
        ('{"id": 1\n', "jsonl", "no entry can be used; entry 0: line 1 is not JSON"),
        ("[" * 100_000, "json", "data.path=.*data.json is not JSON"),
        ("[]", "json", "no entry can be used; it has none"),
    ],
)
def test_a_malformed_file_is_one_line(
    load: Callable[..., TrainingData], content: str, suffix: str, message: str
) -> None:
    with pytest.raises(VlmatchError, match=message) as caught:
        load(content, suffix, bad_conversations="skip")
    assert "\n" not in str(caught.value)


def test_wrong_options_and_files_are_named(load: Callable[..., TrainingData], images: Path, tokenizer: Any) -> None:
    for key in ("bad_images", "bad_conversations", "too_long"):
        with pytest.raises(VlmatchError, match=rf"data\.{key}='drop' is unknown; choose one of error, skip"):
            load(ENTRIES, **{key: "drop"})
    with pytest.raises(VlmatchError, match=r"data\.limit=2 and .*data\.sample=3"):
        load(ENTRIES, limit=2, sample=3)
    gone = LlavaJson("gone.json", images, template="plain", max_length=9, what="patches", tokens=1)
    with pytest.raises(VlmatchError, match=r"data\.path=gone\.json can't be read"):
        gone.load(DataContext(tokenizer, Pixels("pixels", 2), features=pytest.fail))
    with pytest.raises(VlmatchError, match=r"recipe\.visual\.cached=true, but the pictures of a json are not cached"):
        gone.load(DataContext(tokenizer, None, features=pytest.fail))


def test_a_file_of_bad_entries_alone_is_an_error(load: Callable[..., TrainingData]) -> None:
    with pytest.raises(VlmatchError, match="no entry can be used; entry 0: the conversation is empty"):
        load([{"conversations": []}], bad_conversations="skip")
