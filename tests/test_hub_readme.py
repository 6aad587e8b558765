"""The README's hub command, against a hub on this machine."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
from PIL import Image

from encoders.conftest import encoder_configs
from encoders.stand_ins import build
from hub_server import Hub
from llms.conftest import *  # noqa: F403 - the tiny language models
from vlmatch import paths

pytestmark = pytest.mark.slow  # a server, and the libraries' own waits


def place_on_hub(config: dict[str, Any]) -> tuple[str, str]:
    """Repository and file of an encoder's weights, as its library names them."""
    if "architecture" in config:
        tag = open_clip.get_pretrained_cfg(config["architecture"], config["pretrained"])
        repository, _, filename = tag["hf_hub"].rpartition("/")
        return repository, filename.rpartition(".")[0] + ".safetensors" if filename else "open_clip_model.safetensors"
    entry = timm.get_pretrained_cfg(config["model"])
    return entry.hf_hub_id, entry.hf_hub_filename or "model.safetensors"


def readme_command(start: str) -> list[str]:
    """The arguments of the command in README.md that starts like this."""
    text = re.sub(r"\\\n\s*", "", (paths.root() / "README.md").read_text(encoding="utf-8"))
    (line,) = re.findall(rf"^python src/run\.py ({re.escape(start)}.*)$", text, flags=re.MULTILINE)
    return shlex.split(line)


@pytest.fixture
def laion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LLaVA's json of 24 drawn pictures in the current folder; the folder of the pictures."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    rows = []
    for number in range(24):
        name = f"{number:02d}.jpg"
        Image.effect_noise((40 + number, 32), 10 * number + 5).convert("RGB").save(tmp_path / "images" / name)
        turns = [("human", "<image>\nDescribe."), ("gpt", f"Noise of strength {number}.")]
        rows.append({"id": name, "image": name, "conversations": [{"from": who, "value": said} for who, said in turns]})
    (tmp_path / "blip_laion_cc_sbu_558k.json").write_text(json.dumps(rows))
    return tmp_path / "images"


def test_the_hub_command_of_the_readme_ranks_four_encoders_and_a_control(
    hub: Hub, save_tiny: Callable[..., Any], laion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Any
) -> None:
    """Word for word, but for the place of the pictures and the GPU; the models are small ones of the same classes."""
    command = readme_command("experiment=hub")
    names = next(word for word in command if word.startswith("encoder=")).removeprefix("encoder=").split(",")
    *ours, control = names
    assert control == "pixels16", "the control that tells whether the pairs separate the candidates from it"
    for name in ours:
        config = encoder_configs()[name]
        (tmp_path / name).mkdir()
        _, weights = build(config, tmp_path / name, monkeypatch)
        repository, filename = place_on_hub(config)
        hub.put(repository, {filename: weights.read_bytes()})
    hub.put("Qwen/Qwen2.5-7B-Instruct", save_tiny("qwen2")[0])
    code, out, err = cli(
        *[f"probe.images={laion}" if word.startswith("probe.images=") else word for word in command],
        "trainer.accelerator=cpu",
    )
    assert code == 0, err
    assert all(name in out for name in names)
    assert "24 pairs" in out
    table = (tmp_path / "outputs" / "ranking.csv").read_text()
    assert all(f"{name}," in table for name in names)
    asked = len(hub.asked)
    assert cli(*command[:-1], f"probe.images={laion}", "trainer.accelerator=cpu", "multirun")[0] == 0
    assert len(hub.asked) == asked, "what was fetched and embedded is not asked for again"
