"""Chat templates: how a conversation becomes the tokens that an LLM reads, and which of them have labels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlmatch.errors import VlmatchError, one_line
from vlmatch.llms.templates import DAY, on_that_day
from vlmatch.probes.llava_format import ASSISTANT, PLACE, SYSTEM, USER, Turn
from vlmatch.vlm.tokens import IGNORED, IMAGE, Tokenised

TEMPLATES = ("plain", "vicuna_v1", "chat")
VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)

_MARK = "\ue000{}\ue001"  # private-use characters, which every template treats as plain text
_MARKS = re.compile("\ue000[0-9]+\ue001")


@dataclass(frozen=True, slots=True)
class Written:
    """A conversation as one text. learnt: the (start, end) of each part of the text that has labels."""

    text: str
    learnt: tuple[tuple[int, int], ...] = ()


class Conversations:
    """Writes conversations in one template and tokenises them with one tokenizer.

    template:
    - 'plain': the picture, then the caption, with nothing between them (LLaVA's first stage).
    - 'vicuna_v1': a system prompt, then 'USER:' and 'ASSISTANT:' in turn; the tokenizer's end token ends each answer
      (Vicuna 1.1; LLaVA-1.5, Liu et al., 2024).
    - 'chat': the tokenizer's own template, with thinking switched off if it has the option `enable_thinking`. If it
      asks for the date, it gets the same one at any time.

    Only answers have labels, including the token that ends each answer (`ends`; 'plain' has no such token). If a
    question has one picture, the picture is put in front of its text, on a line of its own; several pictures stay where
    they are.

    Raises VlmatchError on an unknown template, or if the tokenizer can't be used with it.
    """

    def __init__(self, template: str, tokenizer: Any) -> None:
        if template not in TEMPLATES:
            raise VlmatchError(f"template='{template}' is unknown; choose one of {', '.join(TEMPLATES)}")
        if not tokenizer.is_fast:
            raise VlmatchError(
                f"template='{template}': {type(tokenizer).__name__} can't give the positions of its tokens in a text; "
                "use a folder with a tokenizer.json"
            )
        if template == "vicuna_v1" and tokenizer.eos_token is None:
            raise VlmatchError("template='vicuna_v1': the LLM's tokenizer has no end token; choose template=chat")
        self.template = template
        self.tokenizer = tokenizer
        self._special = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()} - {""}
        self._known: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
        self._lead = ""  # the space that a chat template puts between the request for an answer and the answer
        self.ends: tuple[int, ...] = (tokenizer.eos_token_id,) if template == "vicuna_v1" else ()
        if template == "chat":
            self.ends = (tokenizer.convert_tokens_to_ids(self._checked_end()),)

    def tokenised(self, turns: Sequence[Turn]) -> Tokenised:
        """Token ids and labels of a conversation that ends with an answer; only its answers have labels."""
        return self.tokens_of(self.written(turns))

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Token ids of a conversation that ends with a question, up to the place where the answer starts."""
        check_turns(turns, answered=False)
        return list(self.tokens_of(self._written(_prepared(turns), answer_next=True)).ids)

    def written(self, turns: Sequence[Turn]) -> Written:
        """The text of a conversation that ends with an answer.

        Raises VlmatchError if the turns are not such a conversation, or if the template can't write them.
        """
        check_turns(turns)
        return self._written(_prepared(turns), answer_next=False)

    def tokens_of(self, written: Written) -> Tokenised:
        """Token ids and labels of a text; a token has a label if it overlaps with a learnt part."""
        bos = self.tokenizer.bos_token_id
        ids: list[int] = [bos] if bos is not None and adds_bos(self.template) else []
        labels = [IGNORED] * len(ids)
        offset = 0
        for part in re.split(f"({PLACE})", written.text):
            if part == PLACE:
                ids.append(IMAGE)
                labels.append(IGNORED)
            elif part:
                found = self.tokenizer(part, add_special_tokens=False, return_offsets_mapping=True)
                for token, (start, end) in zip(found["input_ids"], found["offset_mapping"], strict=True):
                    learnt = any(
                        offset + start < last and offset + max(end, start + 1) > first for first, last in written.learnt
                    )
                    ids.append(token)
                    labels.append(token if learnt else IGNORED)
            offset += len(part)
        return Tokenised(tuple(ids), tuple(labels))

    def _written(self, turns: Sequence[Turn], *, answer_next: bool) -> Written:
        if self.template == "plain":
            return _plain(turns)
        if self.template == "vicuna_v1":
            return _vicuna(turns, self.tokenizer.eos_token)
        return self._chat(turns, answer_next)

    def _chat(self, turns: Sequence[Turn], answer_next: bool) -> Written:
        """The conversation in the tokenizer's template: the turns, and the template's text between them."""
        pieces = self._pieces(tuple(turn.role for turn in turns), answer_next)
        text = pieces[0]
        learnt = []
        for turn, behind in zip(turns, pieces[1:], strict=True):
            if turn.role == ASSISTANT:
                start = len(text) - len(self._lead if text.endswith(self._lead) else "")
                learnt.append((start, len(text) + len(turn.text) + len(self._end_token(behind))))
            text += turn.text + behind
        if text != self._rendered(turns, answer_next):
            raise VlmatchError("the tokenizer's chat template changes the texts of this conversation; leave it out")
        return Written(text, tuple(learnt))

    def _pieces(self, roles: tuple[str, ...], answer_next: bool) -> list[str]:
        """The template's text before, between and after turns of these roles; computed once for each order of roles."""
        if (answer_next, roles) not in self._known:
            self._known[answer_next, roles] = self._asked_pieces(roles, answer_next)
        return self._known[answer_next, roles]

    def _asked_pieces(self, roles: tuple[str, ...], answer_next: bool) -> list[str]:
        marks = [_MARK.format(number) for number in range(len(roles))]
        text = self._rendered([Turn(role, mark) for role, mark in zip(roles, marks, strict=True)], answer_next)
        if _MARKS.findall(text) != marks:
            raise VlmatchError(
                f"template='chat': the tokenizer's chat template does not write each of the turns {', '.join(roles)} "
                "once and in order; choose template=vicuna_v1"
            )
        return _MARKS.split(text)

    def _rendered(self, turns: Sequence[Turn], answer_next: bool) -> str:
        from jinja2 import TemplateError

        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages,
                    chat_template=on_that_day(self.tokenizer.get_chat_template()),
                    tokenize=False,
                    add_generation_prompt=answer_next,
                    date_string=DAY,
                    enable_thinking=False,
                )
            )
        except (ValueError, TypeError, TemplateError) as error:
            raise VlmatchError(
                f"template='chat': the tokenizer's chat template can't be used ({one_line(error)[:160]}); "
                "choose template=vicuna_v1"
            ) from error

    def _checked_end(self) -> str:
        """The token that ends an answer; also finds `_lead`.

        Raises VlmatchError if no token ends an answer, or if the template writes other text in front of an answer than
        where it asks for one: then the LLM would be asked in another way than it was trained.
        """
        asked, answered = self._pieces((USER,), answer_next=True), self._pieces((USER, ASSISTANT), answer_next=False)
        self._lead = answered[1].removeprefix(asked[1])
        if asked != [answered[0], answered[1].removesuffix(self._lead)] or self._lead.strip():
            raise VlmatchError(
                f"template='chat': the tokenizer's chat template asks for an answer with {asked[1][-40:]!r}, but in a "
                f"conversation it writes {answered[1][-40:]!r} in front of an answer; choose template=vicuna_v1"
            )
        end = self._end_token(answered[2]).strip()
        if not end:
            raise VlmatchError(
                "template='chat': no special token ends an answer in the tokenizer's chat template, so the LLM would "
                "not learn to stop; choose template=vicuna_v1"
            )
        return end

    def _end_token(self, text: str) -> str:
        """The special token at the start of a text, with the space in front of it; '' if there is none."""
        start = text.lstrip()
        token = max((token for token in self._special if start.startswith(token)), key=len, default="")
        return text[: len(text) - len(start)] + token if token else ""


def adds_bos(template: str | None) -> bool:
    """Whether a text in this template gets the beginning-of-sequence token; a chat template writes its own."""
    return template != "chat"


def check_turns(turns: Sequence[Turn], *, answered: bool = True) -> None:
    """Raise VlmatchError unless user and assistant take turns, and no turn is empty.

    A turn of the system may come first. answered: True: the assistant's turn must be the last; False: the user's.
    """
    spoken = turns[1:] if turns and turns[0].role == SYSTEM else turns
    if not spoken:
        raise VlmatchError("the conversation is empty")
    if any(PLACE in turn.text for turn in turns if turn.role != USER):
        raise VlmatchError(f"an answer or the system's turn has '{PLACE}'; only a question can have pictures")
    for number, turn in enumerate(spoken):
        wanted = (USER, ASSISTANT)[number % 2]
        if turn.role != wanted:
            raise VlmatchError(f"turn {number + 1} is the {turn.role}'s; wanted the {wanted}'s: they must take turns")
        if not turn.text.strip():
            raise VlmatchError(f"turn {number + 1}, the {turn.role}'s, is empty")
    if (spoken[-1].role == ASSISTANT) != answered:
        raise VlmatchError(f"the conversation ends with the {spoken[-1].role}'s turn")


def _prepared(turns: Sequence[Turn]) -> list[Turn]:
    return [Turn(turn.role, _picture_first(turn.text) if turn.role == USER else turn.text.strip()) for turn in turns]


def _picture_first(question: str) -> str:
    if question.count(PLACE) != 1:
        return question.strip()
    return f"{PLACE}\n{question.replace(PLACE, '').strip()}".strip()


def _plain(turns: Sequence[Turn]) -> Written:
    if len(turns) > 2 or turns[0].text.count(PLACE) != 1:
        raise VlmatchError(
            f"template='plain' needs one question with one '{PLACE}' and one answer; choose template=vicuna_v1 or chat"
        )
    text = "".join(f"{turn.text}\n" for turn in turns[1:])
    return Written(PLACE + text, ((len(PLACE), len(PLACE + text)),))


def _vicuna(turns: Sequence[Turn], end: str) -> Written:
    text = f"{VICUNA_SYSTEM} "
    learnt = []
    for turn in turns:
        if turn.role == SYSTEM:
            text = f"{turn.text} "
        elif turn.role == USER:
            text += f"USER: {turn.text} ASSISTANT:"
        else:
            learnt.append((len(text), len(text) + len(f" {turn.text}{end}")))
            text += f" {turn.text}{end}"
    return Written(text, tuple(learnt))
