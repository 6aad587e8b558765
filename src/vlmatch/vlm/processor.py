"""The processor of an exported VLM: the encoder's image processor, and a tokenizer that knows `<image>`."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from vlmatch.encoders.transformers_models import TransformersEncoder
from vlmatch.llms.templates import DAY, on_that_day
from vlmatch.probes.llava_format import PLACE
from vlmatch.vlm.conversations import VICUNA_SYSTEM, adds_bos
from vlmatch.vlm.lazy_samples import on_square
from vlmatch.vlm.tokens import encode

READ_PARTS = f"""\
{{%- set date_string = date_string if date_string is defined else "{DAY}" -%}}
{{%- set enable_thinking = enable_thinking if enable_thinking is defined else false -%}}
{{%- set plain = namespace(messages=[]) -%}}
{{%- for message in messages -%}}
{{%- if message.content is iterable and message.content is not string -%}}
{{%- set found = namespace(all="", text="", pictures=0) -%}}
{{%- for part in message.content -%}}
{{%- if part.type == "image" -%}}
{{%- set found.all = found.all + "{PLACE}" -%}}
{{%- set found.pictures = found.pictures + 1 -%}}
{{%- else -%}}
{{%- set found.all = found.all + part.text -%}}
{{%- set found.text = found.text + part.text -%}}
{{%- endif -%}}
{{%- endfor -%}}
{{%- set content = ("{PLACE}\\n" + found.text | trim) if found.pictures == 1 else found.all -%}}
{{%- set plain.messages = plain.messages + [dict(message, content=content | trim)] -%}}
{{%- else -%}}
{{%- set plain.messages = plain.messages + [message] -%}}
{{%- endif -%}}
{{%- endfor -%}}
{{%- set messages = plain.messages -%}}
"""
"""Jinja code that is put in front of a chat template for texts.

Users of a processor give messages in parts (texts and images). The code turns them into the texts that the VLM was
trained on: a question with one picture has the picture on a line of its own in front.
"""

VICUNA_TEMPLATE = f"""\
{{%- if messages[0].role == "system" -%}}
{{{{- messages[0].content + " " -}}}}
{{%- set messages = messages[1:] -%}}
{{%- else -%}}
{{{{- "{VICUNA_SYSTEM} " -}}}}
{{%- endif -%}}
{{%- for message in messages -%}}
{{%- if message.role == "user" -%}}
{{{{- "USER: " + message.content + " ASSISTANT:" -}}}}
{{%- else -%}}
{{{{- " " + message.content + eos_token -}}}}
{{%- endif -%}}
{{%- endfor -%}}
"""
"""The template 'vicuna_v1' of `conversations`, in Jinja."""


def image_token(tokenizer: Any, template: str | None) -> tuple[Any, int]:
    """A copy of the tokenizer that has `<image>` as a special token, and the id of that token.

    As in training, the copy adds the beginning-of-sequence token to a text, if there is one and the template of the
    conversations is not 'chat', and no other token.
    """
    found = copy.deepcopy(tokenizer)
    found.add_tokens([PLACE], special_tokens=True)
    begins = adds_bos(template)
    if found("a")["input_ids"] != encode(tokenizer, "a", special=begins):
        found.add_bos_token = begins and tokenizer.bos_token_id is not None
        found.add_eos_token = False
    return found, int(found.convert_tokens_to_ids(PLACE))


def processor_of(
    tower: TransformersEncoder, tokenizer: Any, prefix: int, template: str | None, pad: Sequence[int] | None
) -> Any:
    """LLaVA's processor for an encoder (LLaVA calls it the tower) and a tokenizer.

    prefix: how many tokens (CLS) in front of the encoder's patches LLaVA leaves out. template: the conversation
    template of the training (`conversations.TEMPLATES`); if it is not 'vicuna_v1', the processor gets the LLM's own
    template, if there is one. pad: the colour of the square that pictures were put on in training; None: no square.
    """
    from transformers import LlavaProcessor

    chosen = VICUNA_TEMPLATE if template == "vicuna_v1" else tokenizer.chat_template
    if isinstance(chosen, dict):
        chosen = chosen.get("default")
    return LlavaProcessor(
        image_processor=_image_processor(tower, pad),
        tokenizer=tokenizer,
        patch_size=tower.model.config.patch_size,
        vision_feature_select_strategy="default" if prefix else "full",
        num_additional_image_tokens=prefix,
        chat_template=READ_PARTS + on_that_day(chosen) if chosen else None,
    )


def prepared_example(tower: TransformersEncoder, pad: Sequence[int] | None) -> torch.Tensor:
    """The example picture, prepared as in training, (1, 3, h, w)."""
    picture = example_picture()
    return tower.collate([tower.prepare(picture if pad is None else on_square(picture, tuple(pad)))])


def example_picture() -> Image.Image:
    """The picture on which an exported VLM is compared with the trained one: a gradient with a bright corner."""
    picture = Image.linear_gradient("L").convert("RGB").resize((321, 243))
    picture.paste((255, 200, 0), (10, 20, 90, 120))
    return picture


def _image_processor(tower: TransformersEncoder, pad: Sequence[int] | None) -> Any:
    """The image processor of an exported VLM: the encoder's own, or LLaVA's with the encoder's settings.

    LLaVA's can put pictures on a square. It is used if the training did so, and if it gives the same pixels as the
    training for the example picture.
    """
    from transformers import LlavaImageProcessor

    own = tower._processor
    if pad is None:
        return own
    settings = {key: value for key, value in own.to_dict().items() if key != "image_processor_type"}
    padding = LlavaImageProcessor(**{"do_center_crop": False, **settings, "do_pad": True})
    found = padding(images=example_picture(), return_tensors="pt")["pixel_values"]
    wanted = prepared_example(tower, pad)
    return padding if found.shape == wanted.shape and torch.allclose(found, wanted, atol=1e-5) else own
