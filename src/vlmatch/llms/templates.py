"""The text around a caption: a plain one from the yaml, or the tokenizer's chat template."""

import json
import re
from datetime import datetime
from typing import Any

from vlmatch.errors import VlmatchError, one_line

PLACE = "{caption}"
CHAT = "chat"
DAY = "26 Jul 2024"  # the date in Llama's templates, which is their default; today's date would change embeddings
_THAT_DAY = datetime(2024, 7, 26)
_NOW = re.compile(r"strftime_now\(\s*(['\"])(.*?)\1\s*\)")


def on_that_day(template: str) -> str:
    """A chat template in which `strftime_now` gives `DAY`, whatever today is."""
    return _NOW.sub(lambda call: json.dumps(_THAT_DAY.strftime(call[2])), template)


def chat_template(name: str, tokenizer: Any) -> str:
    """The tokenizer's chat template as a plain one: its text around '{caption}', special tokens included.

    Raises VlmatchError if the tokenizer has none, or if it drops or repeats the user's message.
    """
    from jinja2 import TemplateError

    message = {"role": "user", "content": PLACE}
    try:
        text = str(
            tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True, date_string=DAY)
        )
    except (ValueError, TypeError, TemplateError) as error:
        raise _unusable(name, one_line(error)[:160]) from error
    source = str(tokenizer.chat_template)
    if "strftime_now" in source and "date_string" not in source:
        raise _unusable(name, "it contains today's date, so embeddings would change daily")
    if text.count(PLACE) != 1:
        raise _unusable(name, f"it contains the user's message {text.count(PLACE)} times")
    return text


def _unusable(name: str, reason: str) -> VlmatchError:
    return VlmatchError(
        f"llm '{name}': template={CHAT}, but its tokenizer's chat template can't be used ({reason}); "
        f"write llm.template='... {PLACE} ...'"
    )
