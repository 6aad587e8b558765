"""A trained VLM on disk: what was trained as safetensors, and everything else by its config."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from vlmatch.encoders.base import Encoder
from vlmatch.errors import VlmatchError
from vlmatch.files import renamed
from vlmatch.llms.language_model import LanguageModel
from vlmatch.moved import to_todays_names
from vlmatch.objects import build
from vlmatch.processes import process_rank
from vlmatch.vlm.building import build_vlm
from vlmatch.vlm.lora import add_lora, lora_state
from vlmatch.vlm.model import VLM
from vlmatch.vlm.sharding import gathered

DESCRIPTION = "vlm.json"


def save_vlm(vlm: VLM, folder: Path, about: Mapping[str, Any]) -> None:
    """Write projector, adapters, and LLM and encoder where they were trained; the description comes last.

    about: plain values, with the configs of 'encoder' and 'llm', the 'recipe', and 'shape' (features an image, width).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for part, state in _states(vlm, about["recipe"]).items():
        whole = {key: gathered(value.detach()).cpu().contiguous() for key, value in state.items()}  # by all processes
        if process_rank() == 0:
            with renamed(folder / f"{part}.safetensors") as temporary:
                save_file(whole, temporary)
    if process_rank() > 0:
        return
    with renamed(folder / DESCRIPTION) as temporary:
        temporary.write_text(json.dumps({"format": 1, **about}, indent=1))


def load_vlm(folder: Path, *, llm: LanguageModel | None = None) -> VLM:
    """The VLM that `save_vlm` wrote; `llm`: the one of its description, where it has been loaded already.

    Raises VlmatchError where the folder holds no whole VLM, NotHereError where its encoder or LLM can't be had.
    """
    about = description(folder)
    if llm is None:
        llm = build(about["llm"])
    encoder: Encoder | None = None
    if not about["recipe"]["visual"]["cached"]:
        encoder = build(about["encoder"])
    vlm = build_vlm(about["recipe"], llm, encoder, tuple(about["shape"]))
    if (folder / "lora.safetensors").is_file():
        add_lora(llm.causal_lm, about["recipe"]["lora"])
    restore(vlm, folder)
    return vlm.eval().requires_grad_(False)


def restore(vlm: VLM, folder: Path) -> None:
    """Give a VLM of the same recipe the weights in `folder`."""
    recipe = description(folder)["recipe"]
    for part, own in _states(vlm, recipe).items():
        state = load_file(folder / f"{part}.safetensors")
        if state.keys() != own.keys():
            raise VlmatchError(f"{folder / part}.safetensors is not of this recipe: other tensors than the model has")
        for key, value in own.items():
            value.data.copy_(state[key])


def description(folder: Path) -> dict[str, Any]:
    """What is known of the VLM in `folder`."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise VlmatchError(f"'{folder}' holds no trained VLM ({DESCRIPTION} is missing); task=train makes one")
    return dict(to_todays_names(json.loads(path.read_text())))


def _states(vlm: VLM, recipe: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """The tensors of each part that some stage of the recipe trains; tied ones once."""
    trained = {"projector"} | {part for stage in recipe["stages"] for part in stage["trains"]}
    states: dict[str, dict[str, Tensor]] = {"projector": dict(vlm.projector.state_dict())}
    if adapters := lora_state(vlm.causal_lm):
        states["lora"] = adapters
    if "llm" in trained:
        states["llm"] = {n: p.data for n, p in vlm.causal_lm.named_parameters() if "lora_" not in n}
    if "encoder" in trained and vlm.visual is not None:
        states["encoder"] = {name: parameter.data for name, parameter in vlm.visual.named_parameters()}
    return states
