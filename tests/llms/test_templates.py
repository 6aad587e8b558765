"""`template: chat` is the tokenizer's own chat template, tokenised as transformers does, and the same every day."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from vlmatch.errors import VlmatchError
from vlmatch.llms.language_model import LanguageModel

SaveTiny = Callable[..., tuple[Path, Any]]
LLAMA_LIKE = (
    "{{ bos_token }}{% for message in messages %}[{{ message['role'] }}]{{ message['content'] | trim }}</s>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def with_chat(folder: Path, template: str) -> str:
    """Gives the saved tokenizer a chat template."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return str(folder)


@torch.inference_mode()
@pytest.mark.parametrize("bos", [True, False])
def test_chat_embeds_what_transformers_makes_of_the_message(
    save_tiny: SaveTiny, captions: list[str], bos: bool
) -> None:
    folder, original = save_tiny(bos=bos)
    model = LanguageModel("tiny", repository=with_chat(folder, LLAMA_LIKE), template="chat")
    embedded = model(model.collate([model.prepare(caption) for caption in captions]))
    for row, caption in zip(embedded, captions, strict=True):
        tokens = model.tokenizer.apply_chat_template(
            [{"role": "user", "content": caption}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        assert tokens["input_ids"][0].tolist().count(model.tokenizer.bos_token_id) == 1
        expected = original(**tokens, output_hidden_states=True).hidden_states[-2][0, -1]
        torch.testing.assert_close(row, expected, rtol=1e-5, atol=1e-5)
    assert model.preprocessing["template"] == "<s>[user]{caption}</s>[assistant]"
    assert model.preprocessing["bos"] is True


def test_a_template_that_states_the_date_is_given_the_same_one_every_day(save_tiny: SaveTiny) -> None:
    folder, _ = save_tiny()
    dated = "Today: {{ date_string or strftime_now('%d %b %Y') }}\n{{ messages[0]['content'] }}"
    model = LanguageModel("tiny", repository=with_chat(folder, dated), template="chat")
    assert model.prepare("A frog.") == "Today: 26 Jul 2024\nA frog."


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (None, "can't be used"),
        ("{{ raise_exception('no user here') }}", "no user here"),
        ("{{ strftime_now('%d %b %Y') }} {{ messages[0]['content'] }}", "today's date"),
        ("silence", "user's message 0 times"),
        ("{{ messages[0]['content'] }}{{ messages[0]['content'] }}", "user's message 2 times"),
    ],
)
def test_a_tokenizer_without_a_usable_chat_template_is_told_in_one_line(
    save_tiny: SaveTiny, template: str | None, reason: str
) -> None:
    folder, _ = save_tiny()
    repository = str(folder) if template is None else with_chat(folder, template)
    with pytest.raises(VlmatchError, match=reason) as caught:
        LanguageModel("tiny", repository=repository, template="chat")
    assert "llm.template='... {caption} ...'" in str(caught.value)
    assert "\n" not in str(caught.value)
