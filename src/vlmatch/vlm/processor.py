"""The processor of an exported VLM: the tower's image processor, and a tokenizer that knows `<image>`."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from vlmatch.encoders.transformers_models import TransformersEncoder
from vlmatch.llms.templates import DAY
from vlmatch.vlm.conversations import VICUNA_SYSTEM
from vlmatch.vlm.lazy_samples import on_square
from vlmatch.vlm.tokens import PLACE, encode

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
"""In front of a chat template of texts: messages in parts, as processors have them, become the texts of the training,
where one picture has a line of its own in front of its question."""

VICUNA = f"""\
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


def image_token(tokenizer: Any) -> tuple[Any, int]:
    """A copy of the tokenizer with `<image>` as a special token, and its id: a new one unless it had it already.

    It begins a text as the VLM was trained: with its beginning-of-sequence token where it has one, and no other.
    """
    found = copy.deepcopy(tokenizer)
    found.add_tokens([PLACE], special_tokens=True)
    if found("a")["input_ids"] != encode(tokenizer, "a", special=True):
        found.add_bos_token = tokenizer.bos_token_id is not None
        found.add_eos_token = False
    return found, int(found.convert_tokens_to_ids(PLACE))


def processor_of(
    tower: TransformersEncoder, tokenizer: Any, prefix: int, template: str | None, pad: Sequence[int] | None
) -> Any:
    """LLaVA's processor.

    prefix: tokens in front of the tower's patches, which are left out. template: the training's, of
    `conversations.TEMPLATES`; all but 'vicuna_v1' leave the LLM's own, if it has one. pad: the colour of the square
    that the training put pictures on.
    """
    from transformers import LlavaProcessor

    chosen = VICUNA if template == "vicuna_v1" else tokenizer.chat_template
    if isinstance(chosen, dict):
        chosen = chosen.get("default")
    return LlavaProcessor(
        image_processor=_image_processor(tower, pad),
        tokenizer=tokenizer,
        patch_size=tower.model.config.patch_size,
        vision_feature_select_strategy="default" if prefix else "full",
        num_additional_image_tokens=prefix,
        chat_template=READ_PARTS + chosen if chosen else None,
    )


def prepared(tower: TransformersEncoder, pad: Sequence[int] | None) -> torch.Tensor:
    """The picture of the comparison as the training would have prepared it, (1, 3, h, w)."""
    picture = example()
    return tower.collate([tower.prepare(picture if pad is None else on_square(picture, tuple(pad)))])


def example() -> Image.Image:
    """A picture of an odd size: a bright corner in a gradient."""
    picture = Image.linear_gradient("L").convert("RGB").resize((321, 243))
    picture.paste((255, 200, 0), (10, 20, 90, 120))
    return picture


def _image_processor(tower: TransformersEncoder, pad: Sequence[int] | None) -> Any:
    """The tower's own; LLaVA's with the same settings where the training padded, if that comes to the same."""
    from transformers import LlavaImageProcessor

    own = tower._processor
    if pad is None:
        return own
    settings = {key: value for key, value in own.to_dict().items() if key != "image_processor_type"}
    padding = LlavaImageProcessor(**{"do_center_crop": False, **settings, "do_pad": True})
    found = padding(images=example(), return_tensors="pt")["pixel_values"]
    wanted = prepared(tower, pad)
    return padding if found.shape == wanted.shape and torch.allclose(found, wanted, atol=1e-5) else own
