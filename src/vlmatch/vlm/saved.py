"""A trained VLM on disk: the weights of the trained parts as safetensors, and the settings of all parts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor

from vlmatch.encoders.base import Encoder
from vlmatch.errors import VlmatchError, one_line
from vlmatch.files import renamed, write_text
from vlmatch.llms.language_model import LanguageModel
from vlmatch.machine.disk import reading
from vlmatch.machine.processes import process_rank
from vlmatch.moved import to_todays_names
from vlmatch.settings.buildable import EncoderSettings, LlmSettings
from vlmatch.settings.node import Node
from vlmatch.settings.recipe import RecipeSettings
from vlmatch.vlm.building import build_vlm
from vlmatch.vlm.lora import add_lora, lora_state
from vlmatch.vlm.model import VLM
from vlmatch.vlm.sharding import gathered

DESCRIPTION = "vlm.json"


class Description(Node):
    """The settings that a VLM was made from.

    shape: how many features of an image the projector gets, and their width.
    """

    format: Literal[1]
    encoder: EncoderSettings
    llm: LlmSettings
    recipe: RecipeSettings
    shape: Annotated[Sequence[int], Field(min_length=2, max_length=2)]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The description of the VLM in `folder`, with the class names of this version of vlmatch.

        Raises VlmatchError if there is none, or if a key in it is wrong.
        """
        path = folder / DESCRIPTION
        if not path.is_file():
            raise VlmatchError(f"'{folder}' has no trained VLM ({DESCRIPTION} is missing); task=train makes one")
        try:
            return cls.of("", to_todays_names(json.loads(path.read_text())))
        except (ValueError, VlmatchError) as error:
            raise VlmatchError(
                f"'{path}' is damaged: {one_line(error)}; restore it, or remove '{folder}' and run task=train again"
            ) from error


def save_vlm(vlm: VLM, folder: Path, about: Description) -> None:
    """Write the projector, any adapters, and LLM and encoder if they were trained; the description is written last."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, state in _states(vlm, about.recipe).items():
        whole = {key: gathered(value.detach()).cpu().contiguous() for key, value in state.items()}  # in all processes
        if process_rank() == 0:
            with renamed(folder / f"{part}.safetensors") as temporary:
                save_file(whole, temporary)
    if process_rank() > 0:
        return
    write_text(folder / DESCRIPTION, json.dumps(about.plain(), indent=1))


def load_vlm(folder: Path, *, llm: LanguageModel | None = None) -> VLM:
    """The VLM that `save_vlm` wrote, in evaluation mode and frozen.

    llm: the LLM of its description, if it is loaded already. Raises VlmatchError if the folder has no complete VLM,
    NotHereError if its encoder or LLM is not available.
    """
    about = Description.read(folder)
    if llm is None:
        llm = about.llm.build()
    encoder: Encoder | None = None if about.recipe.visual.cached else about.encoder.build()
    vlm = build_vlm(about.recipe, llm, encoder, (about.shape[0], about.shape[1]))
    if about.recipe.lora is not None and (folder / "lora.safetensors").is_file():
        add_lora(llm.causal_lm, about.recipe.lora)
    restore(vlm, folder)
    return vlm.eval().requires_grad_(False)


def restore(vlm: VLM, folder: Path) -> None:
    """Load the weights in `folder` into a VLM of the same recipe."""
    for part, own in _states(vlm, Description.read(folder).recipe).items():
        path = folder / f"{part}.safetensors"
        with reading(path, f"restore it, or remove '{folder}' and run task=train again"):
            state = load_file(path)
        if state.keys() != own.keys():
            raise VlmatchError(
                f"'{path}' has other tensors than the model of this recipe; restore it, or remove '{folder}' and run "
                "task=train again"
            )
        for key, value in own.items():
            value.data.copy_(state[key])


def _states(vlm: VLM, recipe: RecipeSettings) -> dict[str, dict[str, Tensor]]:
    """The tensors of each part that a stage of the recipe trains; tied tensors occur once."""
    states: dict[str, dict[str, Tensor]] = {"projector": dict(vlm.projector.state_dict())}
    if adapters := lora_state(vlm.causal_lm):
        states["lora"] = adapters
    if recipe.trains("llm"):
        states["llm"] = {n: p.data for n, p in vlm.causal_lm.named_parameters() if "lora_" not in n}
    if recipe.trains("encoder") and vlm.visual is not None:
        states["encoder"] = {name: parameter.data for name, parameter in vlm.visual.named_parameters()}
    return states
