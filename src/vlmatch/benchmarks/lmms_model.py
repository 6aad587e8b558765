"""A VLM as a model of lmms-eval, in this process: with any encoder and any projector, in batches."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from lmms_eval.api.instance import GenerationResult
from lmms_eval.api.model import lmms
from PIL import Image
from torch import Tensor, nn

from vlmatch.errors import VlmatchError
from vlmatch.probes.llava_format import ASSISTANT, PLACE, USER, Turn
from vlmatch.vlm.batches import Collate
from vlmatch.vlm.conversations import Conversations
from vlmatch.vlm.lazy_samples import on_square
from vlmatch.vlm.model import VLM
from vlmatch.vlm.tokens import IGNORED, Tokenised, expanded
from vlmatch.vlm.training_data import Sample

TEMPLATES = ("vicuna_v1", "chat")  # 'plain' has no place for a question
NOT_OF_GENERATE = ("until", "image_aspect_ratio")  # transformers' generate doesn't have these options; encoders resize


class VlmatchModel(lmms):
    """Answers lmms-eval's requests with a VLM.

    template, pad: the template of the conversations and the colour of the squares that the VLM was trained with
    (`LlavaJson`). max_new_tokens: for tasks that don't set it.
    Raises VlmatchError if the VLM has no encoder, or if the template can't write questions.
    """

    def __init__(
        self, vlm: VLM, *, template: str, pad: Sequence[int] | None, batch_size: int, max_new_tokens: int
    ) -> None:
        super().__init__()
        if vlm.visual is None:
            raise VlmatchError("this VLM has cached features and no encoder, so it can't see pictures; add its encoder")
        if template not in TEMPLATES:
            raise VlmatchError(f"template='{template}' can't write questions; choose one of {', '.join(TEMPLATES)}")
        self.vlm = vlm.eval()
        self.encoder = vlm.visual.encoder
        self.conversations = Conversations(template, vlm.tokenizer)
        self.pad = tuple(pad) if pad else None
        self.batch_size = batch_size
        self.max_new_tokens = max_new_tokens

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """The generated answers, in the order of the requests.

        A request has (question, generation options, function that gives a document's pictures, the document's number,
        task, split). Decoding is greedy unless the options have `do_sample: true`, or no `do_sample` and a temperature
        above 0.
        """
        answers = [""] * len(requests)
        for numbers in self._batches(requests):
            options = dict(requests[numbers[0]].args[1])
            asked = [self._asked(requests[n].args[0], *requests[n].args[2:]) for n in numbers]
            prompts = [self.conversations.prompt([Turn(USER, text)]) for text, _ in asked]
            found = self.vlm.generate(
                self._visual([picture for _, pictures in asked for picture in pictures]),
                [self._expanded(prompt) for prompt in prompts],
                int(options.pop("max_new_tokens", self.max_new_tokens)),
                ends=self.conversations.ends,
                **sampling(options),
            )
            for number, text in zip(numbers, found, strict=True):
                answers[number] = until(text, options.get("until"))
        return answers

    @torch.inference_mode()
    def loglikelihood(self, requests: Sequence[Any]) -> list[Any]:
        """For each request, the loss of an answer, and whether greedy decoding would give it.

        A request has (question, answer, function that gives a document's pictures, the document's number, task, split).
        The loss is the negative log-likelihood, in nats, summed over the answer and the token that ends it. lmms-eval
        calls it a likelihood and takes the answer with the smallest as the model's choice. Each pair is wrapped in a
        `GenerationResult`, because lmms-eval 0.7 turns anything else into a string.
        """
        found: list[Any] = [None] * len(requests)
        for numbers in self._batches(requests):
            losses, greedy = self._likelihood([requests[n].args for n in numbers])
            for number, loss, same in zip(numbers, losses.tolist(), greedy.tolist(), strict=True):
                found[number] = GenerationResult((loss, same))
        return found

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Raise VlmatchError: tasks of several rounds are not supported."""
        raise VlmatchError(
            f"task.tasks={requests[0].task_name} asks in several rounds, which vlmatch does not support; leave it out"
        )

    def _likelihood(self, asked: Sequence[tuple[Any, ...]]) -> tuple[Tensor, Tensor]:
        samples = []
        for question, answer, to_visual, document, task, split in asked:
            text, pictures = self._asked(question, to_visual, document, task, split)
            wanted = answer(self.task_dict[task][split][document]) if callable(answer) else answer
            tokens = self.conversations.tokenised([Turn(USER, text), Turn(ASSISTANT, str(wanted))])
            samples.append((Sample(task, tokens, ()), [self._prepared(picture) for picture in pictures]))
        batch = Collate(self.vlm.tokens_per_image)(samples).to(self._device)
        logits, targets = self.vlm(batch)
        losses = nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="none"
        )
        greedy = ((logits.argmax(dim=-1) == targets) | (targets == IGNORED)).all(dim=1)
        return losses.reshape(targets.shape).sum(dim=1), greedy

    def _batches(self, requests: Sequence[Any]) -> Iterator[list[int]]:
        """The requests' numbers, in batches of equal options; the longest first, because they need most memory."""
        from rich.progress import Progress

        def options(number: int) -> str:
            given = requests[number].args[1]
            return repr(given) if isinstance(given, Mapping) else ""

        order = sorted(range(len(requests)), key=lambda n: (options(n), -len(requests[n].args[0])))
        with Progress(transient=True) as progress:
            bar = progress.add_task("asking", total=len(requests))
            for _, group in groupby(order, key=options):
                same = list(group)
                for start in range(0, len(same), self.batch_size):
                    numbers = same[start : start + self.batch_size]
                    yield numbers
                    progress.advance(bar, len(numbers))

    def _asked(self, question: str, to_visual: Any, document: int, task: str, split: str) -> tuple[str, list[Any]]:
        """The question with one '<image>' for each of its pictures, and the pictures."""
        pictures = list(to_visual(self.task_dict[task][split][document]) or [])
        for picture in pictures:
            if not isinstance(picture, Image.Image):
                raise VlmatchError(
                    f"task.tasks={task}, item {document} has a {type(picture).__name__}, but vlmatch supports only "
                    "pictures; leave the task out"
                )
        places = question.count(PLACE)
        if places not in (0, len(pictures)):
            raise VlmatchError(
                f"task.tasks={task}, item {document}: the question has {places} times '{PLACE}', but the item has "
                f"{len(pictures)} pictures; wanted one for each picture, or none; leave the task out"
            )
        in_front = "" if places else " ".join([PLACE] * len(pictures)) + "\n"
        return (in_front + question).strip(), pictures

    def _expanded(self, prompt: list[int]) -> tuple[int, ...]:
        return expanded(Tokenised(tuple(prompt), tuple(prompt)), self.vlm.tokens_per_image).ids

    def _prepared(self, picture: Image.Image) -> Tensor:
        image = picture.convert("RGB")
        return self.encoder.prepare(image if self.pad is None else on_square(image, self.pad))

    def _visual(self, pictures: Sequence[Image.Image]) -> Tensor | None:
        if not pictures:
            return None
        return self.encoder.collate([self._prepared(picture) for picture in pictures]).to(self._device)

    @property
    def _device(self) -> torch.device:
        device: torch.device = self.vlm.causal_lm.get_input_embeddings().weight.device
        return device


def sampling(options: Mapping[str, Any]) -> dict[str, Any]:
    """A task's generation options as arguments of transformers' generate, which refuses those that it doesn't know."""
    known = {key: value for key, value in options.items() if key not in NOT_OF_GENERATE and value is not None}
    if not known.get("do_sample", known.get("temperature", 0) > 0):
        return {key: value for key, value in known.items() if key not in ("do_sample", "temperature", "top_p", "top_k")}
    return {**known, "do_sample": True}


def until(text: str, stops: str | Sequence[str] | None) -> str:
    """The text up to the first of the `stops` in it."""
    wanted = [stops] if isinstance(stops, str) else stops or []
    return text[: min((text.index(stop) for stop in wanted if stop and stop in text), default=len(text))]
