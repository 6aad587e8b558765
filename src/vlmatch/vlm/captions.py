"""The embedded recipe's data: captions and categories of one share of the split."""

from collections.abc import Mapping
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.probes.items import Item, Split
from vlmatch.probes.llava_format import PLACE
from vlmatch.vlm.tokens import answered, encode
from vlmatch.vlm.training_data import DataContext, DataSource, Listed, Sample, TrainingData


class SplitData(DataSource):
    """Captions and categories of the items of one share, one part for each question.

    weights: each question's part of the mixture. prompts: the text of each, with '<image>' in it. 'caption' asks for
    an item's caption, 'category' for its category, which items without one are not asked.
    """

    def __init__(self, split: Split, share: str, *, weights: Mapping[str, float], prompts: Mapping[str, str]) -> None:
        self.split, self.items = split, split.share(share)
        self.weights, self.prompts = weights, prompts

    def load(self, context: DataContext) -> TrainingData:
        """The samples of all items; the picture of an item has the item's number.

        Raises VlmatchError on a prompt without exactly one '<image>', on a question that is unknown or that no item
        answers, and where features are not cached.
        """
        if context.encoder is not None:
            raise VlmatchError(
                "recipe.visual.cached=false, but the split's pictures are trained on by their cached features; make it "
                "true, or give conversations about pictures (recipe=llava15)"
            )
        parts = {
            question: (weight, self._part(question, context.tokenizer)) for question, weight in self.weights.items()
        }
        return TrainingData(parts, context.features(self.items), self.split.fingerprint)

    def _part(self, question: str, tokenizer: Any) -> Listed:
        prompt = encode(tokenizer, prompt_of(self.prompts, question), special=True)
        found = Listed(
            Sample(f"{item.id} ({question})", answered(prompt, answer_ids(tokenizer, text, ends=True)), (number,))
            for number, item in enumerate(self.items)
            if (text := answer_of(item, question))
        )
        if not found:
            raise VlmatchError(f"recipe.weights has '{question}', and no item of recipe.data has one; leave it out")
        return found


def prompt_of(prompts: Mapping[str, str], question: str) -> str:
    """The text of a question; VlmatchError if there is none, or not one '<image>' in it."""
    prompt = prompts.get(question, "")
    if prompt.count(PLACE) != 1:
        raise VlmatchError(f"recipe.prompts.{question}='{prompt}': wanted a text with one '{PLACE}' in it")
    return prompt


def answer_ids(tokenizer: Any, text: str, *, ends: bool) -> list[int]:
    """The tokens of an answer: a space in front, as within a sentence, and an end-of-text token if it `ends`."""
    ids = tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
    return [*ids, tokenizer.eos_token_id] if ends else list(ids)


def answer_of(item: Item, question: str) -> str | None:
    """The answer to a question about an item; None where it has none. VlmatchError on an unknown question."""
    answers = {"caption": item.caption.lower(), "category": item.category}
    if question not in answers:
        raise VlmatchError(f"recipe.weights has '{question}'; choose of {', '.join(answers)}")
    return answers[question]
