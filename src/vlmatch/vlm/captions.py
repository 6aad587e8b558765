"""The data of the embedded recipe: captions and categories of one share of the split."""

from collections.abc import Mapping
from typing import Any

from vlmatch.errors import VlmatchError
from vlmatch.probes.items import Item, Split
from vlmatch.probes.llava_format import PLACE
from vlmatch.vlm.tokens import answered, encode
from vlmatch.vlm.training_data import DataContext, DataSource, Listed, Sample, TrainingData


class SplitData(DataSource):
    """Captions and categories of the items of one share of the split: one part of the data for each question.

    weights: the weight of each question in the mixture. prompts: the text of each question, with '<image>' in it. The
    questions are 'caption' and 'category'; items without a category have no sample for 'category'.
    """

    def __init__(self, split: Split, share: str, *, weights: Mapping[str, float], prompts: Mapping[str, str]) -> None:
        self.split, self.items = split, split.share(share)
        self.weights, self.prompts = weights, prompts

    def load(self, context: DataContext) -> TrainingData:
        """The samples of all items; a picture has the same number as its item.

        Raises VlmatchError on a prompt without exactly one '<image>', on a question that is unknown or that no item can
        answer, or if features are not cached.
        """
        if context.encoder is not None:
            raise VlmatchError(
                "recipe.visual.cached=false, but this recipe trains on cached features of the split's pictures; give "
                "recipe.visual.cached=true, or a recipe with conversations about pictures (recipe=llava15)"
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
            raise VlmatchError(
                f"recipe.stages.N.data.weights has '{question}', but no item of recipe.data has one; leave it out"
            )
        return found


def prompt_of(prompts: Mapping[str, str], question: str) -> str:
    """The text of a question. Raises VlmatchError if there is none, or if it has not exactly one '<image>'."""
    prompt = prompts.get(question, "")
    if prompt.count(PLACE) != 1:
        raise VlmatchError(f"recipe.prompts.{question}='{prompt}'; wanted a text with exactly one '{PLACE}'")
    return prompt


def answer_ids(tokenizer: Any, text: str, *, ends: bool) -> list[int]:
    """The token ids of an answer, with a space in front as inside a sentence; `ends`: add the end-of-text token."""
    ids = tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
    return [*ids, tokenizer.eos_token_id] if ends else list(ids)


def answer_of(item: Item, question: str) -> str | None:
    """The answer to a question about an item; None if it has none. Raises VlmatchError on an unknown question."""
    answers = {"caption": item.caption.lower(), "category": item.category}
    if question not in answers:
        raise VlmatchError(f"recipe.stages.N.data.weights has '{question}'; choose one of {', '.join(answers)}")

    return answers[question]
