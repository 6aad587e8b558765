"""Conversations and templates that can't be written are errors of one line."""

import pytest

from made_templates import GEMMA, TWO_TURNS, family, tokenizer_of, unmarked
from vlmatch.errors import VlmatchError
from vlmatch.probes.llava_format import ASSISTANT, SYSTEM, USER, Turn
from vlmatch.vlm.conversations import Conversations


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([], "the conversation is empty"),
        ([Turn(SYSTEM, "Be brief.")], "the conversation is empty"),
        ([Turn(ASSISTANT, "A cat.")], "turn 1 is the assistant's; wanted the user's"),
        ([*TWO_TURNS[:2], Turn(ASSISTANT, "A dog.")], "turn 3 is the assistant's; wanted the user's"),
        ([Turn(USER, "What?"), Turn(SYSTEM, "No.")], "turn 2 is the system's; wanted the assistant's"),
        ([Turn(USER, "What?"), Turn(ASSISTANT, " ")], "turn 2, the assistant's, is empty"),
        (TWO_TURNS[:3], "the conversation ends with the user's turn"),
        ([Turn(USER, "What?"), Turn(ASSISTANT, "<image>")], "an answer .*'<image>'"),
    ],
)
def test_a_malformed_conversation_is_an_error_of_one_line(turns: list[Turn], message: str) -> None:
    with pytest.raises(VlmatchError, match=message) as caught:
        Conversations("vicuna_v1", family("gemma")).tokenised(turns)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("template", "chat", "turns", "message"),
    [
        ("vicuna", None, TWO_TURNS, "template='vicuna' .*plain, vicuna_v1, chat"),
        ("plain", None, TWO_TURNS, "template='plain' .*'<image>'"),
        ("chat", None, TWO_TURNS, "template='chat': .*template=vicuna_v1"),
        ("chat", "{{ messages[0].content }}", TWO_TURNS, "template='chat': .*user, assistant"),
        ("chat", unmarked(GEMMA), [Turn(SYSTEM, "Hi."), *TWO_TURNS], "System role not"),
        (
            "chat",
            "{% for m in messages %}{{ m.content | replace('cat', 'dog') }}<end_of_turn>{% endfor %}",
            TWO_TURNS,
            "chat template changes",
        ),
        (
            "chat",
            "{% for m in messages %}{{ m.content }}\n{% endfor %}",
            TWO_TURNS,
            "'chat': .*not learn to stop",
        ),
    ],
)
def test_a_template_that_cannot_write_a_conversation_is_an_error(
    template: str, chat: str | None, turns: list[Turn], message: str
) -> None:
    tokenizer = tokenizer_of(("<start_of_turn>", "<end_of_turn>"), chat, "<bos>")
    with pytest.raises(VlmatchError, match=message):
        Conversations(template, tokenizer).tokenised(turns)


def test_vicuna_needs_an_end_token_and_offsets() -> None:
    tokenizer = tokenizer_of(("<s>", "</s>"), None, "<s>", "</s>")
    tokenizer.eos_token = None
    with pytest.raises(VlmatchError, match=r"template='vicuna_v1': .*template=chat"):
        Conversations("vicuna_v1", tokenizer)

    class Slow:
        is_fast = False

    with pytest.raises(VlmatchError, match=r"template='plain': Slow .*tokenizer\.json"):
        Conversations("plain", Slow())
