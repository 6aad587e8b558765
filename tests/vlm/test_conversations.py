"""The tokens of a conversation in each template, and which of them have labels."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_templates import CHATML, FAMILIES, TWO_TURNS, family, tokenizer_of, unmarked
from vlmatch.errors import VlmatchError
from vlmatch.probes.llava_format import ASSISTANT, SYSTEM, USER, Turn
from vlmatch.vlm.conversations import VICUNA_SYSTEM, Conversations
from vlmatch.vlm.tokens import IGNORED, IMAGE, expanded


@pytest.fixture(scope="module")
def metaspace() -> Any:
    """A tokenizer like that of Llama 2 and Vicuna: a word holds the space in front of it; with BOS and EOS."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    alphabet = sorted({*VICUNA_SYSTEM, *"".join(t.text for t in TWO_TURNS), *"USERASSISTANT:\n▁"})
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([VICUNA_SYSTEM, "USER: ASSISTANT: A cat. Two."] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def learnt(tokenizer: Any, tokens: Any) -> list[str]:
    """The text of each unbroken run of labels."""
    runs: list[list[int]] = [[]]
    for label in tokens.labels:
        if label != IGNORED:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.decode(run) for run in runs if run]


def read(tokenizer: Any, tokens: Any) -> str:
    """The text that the LLM reads, with '#' for a picture."""
    parts: list[list[int]] = [[]]
    for token in tokens.ids:
        if token == IMAGE:
            parts.append([])
        else:
            parts[-1].append(token)
    return "#".join(tokenizer.decode(part) for part in parts)


def test_plain_has_picture_and_caption_and_drops_the_question() -> None:
    tokenizer = tokenizer_of(("<s>", "</s>"), None, "<s>", "</s>")
    conversations = Conversations("plain", tokenizer)
    tokens = conversations.tokenised([Turn(USER, "Describe it briefly.\n<image>"), Turn(ASSISTANT, " a cat ")])
    caption = tokenizer("a cat\n", add_special_tokens=False)["input_ids"]
    assert tokens.ids == (tokenizer.bos_token_id, IMAGE, *caption)
    assert tokens.labels == (IGNORED, IGNORED, *caption)
    assert conversations.prompt([Turn(USER, "Describe it.<image>")]) == [tokenizer.bos_token_id, IMAGE]


def test_vicuna_ends_each_answer_and_only_answers_have_labels() -> None:
    tokenizer = tokenizer_of(("<s>", "</s>"), None, "<s>", "</s>")
    turns = [Turn(USER, "What is it?\n<image>"), *TWO_TURNS[1:]]
    tokens = Conversations("vicuna_v1", tokenizer).tokenised(turns)
    assert read(tokenizer, tokens) == (
        f"<s>{VICUNA_SYSTEM} USER: #\nWhat is it? ASSISTANT: A cat, 5 years old.</s>USER: And here? ASSISTANT: Two.</s>"
    )
    assert learnt(tokenizer, tokens) == [" A cat, 5 years old.</s>", " Two.</s>"]


def test_vicuna_with_a_tokenizer_whose_words_hold_the_space_in_front(metaspace: Any) -> None:
    conversations = Conversations("vicuna_v1", metaspace)
    tokens = conversations.tokenised(TWO_TURNS)
    assert [text.strip() for text in learnt(metaspace, tokens)] == ["A cat, 5 years old.</s>", "Two.</s>"]
    prompt = conversations.prompt(TWO_TURNS[:1])
    assert list(tokens.ids[: len(prompt)]) == prompt  # what is learnt follows at once on what a prompt ends with
    assert tokens.labels[len(prompt) - 1] == IGNORED
    assert tokens.labels[len(prompt)] != IGNORED


def test_a_system_turn_replaces_vicunas_system_prompt() -> None:
    tokenizer = tokenizer_of(("<s>", "</s>"), None, "<s>", "</s>")
    tokens = Conversations("vicuna_v1", tokenizer).tokenised([Turn(SYSTEM, "Be brief."), *TWO_TURNS[:2]])
    assert read(tokenizer, tokens) == "<s>Be brief. USER: What is it? ASSISTANT: A cat, 5 years old.</s>"


@pytest.mark.parametrize(
    ("name", "text", "answers"),
    [
        (
            "qwen2.5",
            "<|im_start|>system\nYou are Qwen.<|im_end|>\n<|im_start|>user\n#\nWhat is it?<|im_end|>\n"
            "<|im_start|>assistant\nA cat.<|im_end|>\n",
            ["A cat.<|im_end|>"],
        ),
        (
            "llama3.1",
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\n#\nWhat is it?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nA cat.<|eot_id|>",
            ["A cat.<|eot_id|>"],
        ),
        (
            "gemma",
            "<bos><start_of_turn>user\n#\nWhat is it?<end_of_turn>\n<start_of_turn>model\nA cat.<end_of_turn>\n",
            ["A cat.<end_of_turn>"],
        ),
    ],
)
def test_chat_is_the_tokenizers_own_template(name: str, text: str, answers: list[str]) -> None:
    tokenizer = family(name)
    tokens = Conversations("chat", tokenizer).tokenised([Turn(USER, "<image>\nWhat is it?"), Turn(ASSISTANT, "A cat.")])
    assert read(tokenizer, tokens) == text
    assert learnt(tokenizer, tokens) == answers


WORDS = st.text(alphabet="aé 5.\n:<|user", min_size=1, max_size=12).filter(lambda text: text.strip())


@pytest.mark.parametrize("name", FAMILIES)
@settings(deadline=None, max_examples=25)
@given(said=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3), system=st.none() | WORDS)
def test_chat_labels_are_those_of_transformers_mask_and_of_growing_conversations(
    name: str, said: list[tuple[str, str]], system: str | None
) -> None:
    turns = [Turn(role, text) for pair in said for role, text in zip((USER, ASSISTANT), pair, strict=True)]
    if system is not None and name != "gemma":
        turns.insert(0, Turn(SYSTEM, system.strip()))
    tokens = Conversations("chat", TOKENIZERS[name]).tokenised(turns)
    messages = [{"role": turn.role, "content": turn.text.strip()} for turn in turns]

    masked = MARKED[name].apply_chat_template(
        messages, return_dict=True, return_assistant_tokens_mask=True, date_string="26 Jul 2024"
    )
    assert list(tokens.ids) == masked["input_ids"]
    assert [label != IGNORED for label in tokens.labels] == [bool(each) for each in masked["assistant_masks"]]

    grown = [IGNORED] * len(tokens)
    for number, turn in enumerate(turns):
        if turn.role == ASSISTANT:
            before = rendered(name, messages[:number], add_generation_prompt=True)
            until = rendered(name, messages[: number + 1]).rstrip()
            start, end = (len(ids(name, text)) for text in (before, until))
            grown[start:end] = ids(name, until)[start:end]
    assert list(tokens.labels) == grown


TOKENIZERS = {name: family(name) for name in FAMILIES}
MARKED = {name: family(name, marked=True) for name in FAMILIES}


def rendered(name: str, messages: list[dict[str, str]], **options: Any) -> str:
    return str(TOKENIZERS[name].apply_chat_template(messages, tokenize=False, date_string="26 Jul 2024", **options))


def ids(name: str, text: str) -> list[int]:
    return list(TOKENIZERS[name](text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prompt_is_the_text_in_front_of_the_answer(name: str) -> None:
    conversations = Conversations("chat", TOKENIZERS[name])
    tokens = conversations.tokenised(TWO_TURNS)
    prompt = conversations.prompt(TWO_TURNS[:3])
    assert list(tokens.ids[: len(prompt)]) == prompt
    assert learnt(TOKENIZERS[name], tokens)[1].startswith("Two.")
    assert tokens.labels[len(prompt)] == tokens.ids[len(prompt)]


def test_an_answer_that_repeats_the_templates_own_words_is_found() -> None:
    """A search for the answer 'a' in the text would find it in 'assistant'."""
    tokens = Conversations("chat", TOKENIZERS["qwen2.5"]).tokenised([Turn(USER, "user"), Turn(ASSISTANT, "a")])
    assert learnt(TOKENIZERS["qwen2.5"], tokens) == ["a<|im_end|>"]


THINKING = unmarked(CHATML.replace("⟦", "{% if loop.last %}<think></think>{% endif %}"))
UNASKED = "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"


def test_an_empty_thought_before_the_last_answer_is_also_in_the_prompt() -> None:
    """Qwen3's template writes one."""
    end = "<|im_start|>assistant\n{% endif %}"
    thinking = THINKING.removesuffix(end) + end.replace("{% endif %}", UNASKED + "{% endif %}")
    tokenizer = tokenizer_of(("<|im_start|>", "<|im_end|>"), thinking, None)
    conversations = Conversations("chat", tokenizer)
    tokens = conversations.tokenised(TWO_TURNS)
    assert learnt(tokenizer, tokens) == ["A cat, 5 years old.<|im_end|>", "Two.<|im_end|>"]
    prompt = conversations.prompt(TWO_TURNS[:3])
    assert list(tokens.ids[: len(prompt)]) == prompt
    assert tokens.labels[len(prompt)] != IGNORED


def test_a_template_whose_prompt_differs_from_training_is_refused() -> None:
    tokenizer = tokenizer_of(("<|im_start|>", "<|im_end|>"), THINKING, None)
    with pytest.raises(VlmatchError, match=r"template='chat'.*template=vicuna_v1"):
        Conversations("chat", tokenizer)


def test_a_template_that_asks_for_the_date_gives_the_same_tokens_at_any_time() -> None:
    dated = CHATML.replace("DEFAULT", "{{ strftime_now('%d %B %Y, %f') }}")  # the day and the microsecond
    conversations = Conversations("chat", tokenizer_of(("<|im_start|>", "<|im_end|>"), unmarked(dated), None))
    first = conversations.tokenised(TWO_TURNS)
    assert "26 July 2024, 000000" in read(conversations.tokenizer, first)
    assert conversations.tokenised(TWO_TURNS) == first


def test_an_end_token_after_a_space_has_a_label() -> None:
    """Llama 2's chat template has such a space."""
    spaced = (
        "{% for m in messages %}{% if m.role == 'user' %}<s>[INST] {{ m.content }} [/INST]"
        "{% else %} {{ m.content }} </s>{% endif %}{% endfor %}"
    )
    tokenizer = tokenizer_of(("<s>", "</s>"), spaced, "<s>", "</s>")
    conversations = Conversations("chat", tokenizer)
    assert learnt(tokenizer, conversations.tokenised(TWO_TURNS)) == [" A cat, 5 years old. </s>", " Two. </s>"]
    prompt = conversations.prompt(TWO_TURNS[:3])
    tokens = conversations.tokenised(TWO_TURNS)
    assert list(tokens.ids[: len(prompt)]) == prompt
    assert tokens.labels[len(prompt)] != IGNORED
    assert conversations.ends == (tokenizer.eos_token_id,)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_end_tokens_are_those_that_end_answers(name: str) -> None:
    conversations = Conversations("chat", TOKENIZERS[name])
    taught = [label for label in conversations.tokenised(TWO_TURNS).labels if label != IGNORED]
    assert conversations.ends == (taught[-1],)


def test_one_picture_goes_in_front_and_several_stay_where_they_are() -> None:
    tokenizer = TOKENIZERS["gemma"]
    conversations = Conversations("chat", tokenizer)
    one = conversations.tokenised([Turn(USER, "What <image> is it?"), Turn(ASSISTANT, "A cat.")])
    two = conversations.tokenised([Turn(USER, "Is <image> like <image>?"), Turn(ASSISTANT, "No.")])
    assert "user\n#\nWhat  is it?" in read(tokenizer, one)
    assert "user\nIs # like #?" in read(tokenizer, two)
    assert (one.images, two.images) == (1, 2)
    assert len(expanded(two, 5)) == len(two) + 8
