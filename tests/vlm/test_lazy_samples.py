"""The longest of samples that are tokenised on demand is known before a training."""

from typing import Any

from made_vlms import byte_tokenizer
from vlmatch.probes.llava_format import conversation_of
from vlmatch.vlm.conversations import Conversations
from vlmatch.vlm.lazy_samples import LazySamples


def samples(*entries: dict[str, Any]) -> LazySamples:
    found = [conversation_of(number, entry) for number, entry in enumerate(entries)]
    conversations = Conversations("vicuna_v1", byte_tokenizer())
    return LazySamples(found, ["a.png", "b.png"], conversations, "data.json", 1000, tokens_per_image=4)


def said(question: str, answer: str, *images: str) -> dict[str, Any]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"image": list(images), "conversations": turns} if images else {"conversations": turns}


CHINESE = said("讲个故事。", "从前有个国王。" * 20)
ENGLISH = said("Tell me a story.", "Once there was a king. " * 12)
PICTURES = said("Is <image> like <image>?", "No.", "a.png", "b.png")


def test_the_longest_sample_is_tokenised_whatever_its_language() -> None:
    found = samples(PICTURES, ENGLISH, CHINESE)
    tokens = [len(found[number].tokens) for number in range(3)]
    assert found.longest(4) == max(tokens) == tokens[2] > 20 * len("从前有个国王。".encode())


def test_pictures_are_counted_with_their_tokens() -> None:
    found = samples(ENGLISH, PICTURES)
    assert found.longest(400) == len(found[1].tokens) + 2 * 399
