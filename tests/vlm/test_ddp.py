"""The recipes for many GPUs: ten steps of each stage by two processes, on tiny models of the real classes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from mlflow import MlflowClient
from PIL import Image
from safetensors.torch import load_file

from made_vlms import tiny_llm
from vlmatch import paths

pytestmark = pytest.mark.slow

CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
N = 48


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP encoder, Llama and Qwen2 with a chat template, and data of both stages, partly without pictures."""
    home = tmp_path_factory.mktemp("home")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**sizes, image_size=28, patch_size=14)).save_pretrained(
        home / "tower"
    )
    transformers.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(
        home / "tower"
    )
    for family in ("llama", "qwen2"):
        tokenizer = tiny_llm(home / family, family).tokenizer
        tokenizer.chat_template = CHAT
        tokenizer.save_pretrained(home / family)
    colours = np.random.default_rng(0).integers(0, 256, (N, 3))
    for number, colour in enumerate(colours.tolist()):
        Image.new("RGB", (20, 28), tuple(colour)).save(home / f"{number}.png")
    pretrain, instruct = [], []
    for number in range(N):
        turns = [("human", "What is it?\n<image>"), ("gpt", f"Colour {number}."), ("human", "Sure?"), ("gpt", "Yes.")]
        said = [{"from": who, "value": text} for who, text in turns]
        pretrain.append({"id": str(number), "image": f"{number}.png", "conversations": said[:2]})
        instruct.append({"id": str(number), "image": f"{number}.png", "conversations": said})
        if number % 5 == 0:
            instruct[-1] = {"id": str(number), "conversations": said[2:]}
    (home / "pretrain.json").write_text(json.dumps(pretrain))
    (home / "instruct.json").write_text(json.dumps(instruct))
    return home


def arguments(home: Path, recipe: str, llm: str) -> list[str]:
    """A user's command, with tiny models and ten steps a stage."""
    stages = ("steps=10", "epochs=null", "batch_size=4", "workers=0")
    kinds = ("pretrain", "instruct")
    return [
        *("task=train", f"recipe={recipe}", "trainer=ddp_cpu"),
        *("encoder=dinov2_b_hf", "encoder.name=tiny_clip", f"encoder.checkpoint={home}/tower"),
        *("llm=qwen2.5-0.5b", f"llm.name={llm}", f"llm.repository={home}/{llm}"),
        *(f"recipe.{kind}_{key}" for kind in kinds for key in (f"json={home}/{kind}.json", f"images={home}")),
        *(f"recipe.stages.{number}.{setting}" for number in (0, 1) for setting in stages),
        *(f"task.runs={home}/runs", f"store={home}/store", f"outputs={home}/outputs"),
        f"tracking.folder={home}/mlruns",
    ]


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    """Both recipes by two processes, started as torchrun does, and one by a third alone.

    Commands of a process come one after the other, since imports take longest.
    """
    commands = [
        arguments(home, "paper", "qwen2"),
        arguments(home, "llava15", "llama"),
        [*arguments(home, "paper", "qwen2"), "trainer.strategy=fsdp", f"task.runs={home}/fsdp"],
    ]
    alone = [
        *arguments(home, "llava15", "llama"),
        *("trainer.strategy=auto", "trainer.devices=1", f"task.runs={home}/alone", f"tracking.folder={home}/alone"),
    ]
    script = (
        "import json, sys\nfrom vlmatch.cli import main\nfor command in json.loads(sys.argv[1]):\n    main(command)"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("VLMATCH_")}
    own = {**inherited, "PYTHONPATH": str(paths.root() / "src"), "OMP_NUM_THREADS": "1"}
    shared = {**own, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [{**shared, "RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, json.dumps(asked)], cwd=home, env=env,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for env, asked in ((ranks[0], commands), (ranks[1], commands), (own, [alone]))
    ]  # fmt: skip
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], "\n".join(text[-3000:] for text in said)
    return home


def finished(run: Path) -> Path:
    """The folder of the only finished training of a run."""
    (final,) = run.rglob("final")
    return final.parent


@pytest.mark.parametrize(
    ("recipe", "llm", "data", "learnt"),
    [
        ("paper", "qwen2", "cc3m595k_mix665k", {"projector", "llm", "encoder"}),
        ("llava15", "llama", "lcs558k_mix665k", {"projector", "llm"}),
    ],
)
def test_ten_steps_a_stage_by_two_processes(trained: Path, recipe: str, llm: str, data: str, learnt: set[str]) -> None:
    folder = finished(trained / "runs" / recipe / f"{llm}-{data}" / "tiny_clip-0")
    losses = json.loads((folder / "training.json").read_text())["losses"]
    assert len(losses) == 20
    assert np.isfinite(losses).all()
    for part in learnt:
        state = load_file(folder / "final" / f"{part}.safetensors")
        assert all(torch.isfinite(value).all() for value in state.values())
    assert {file.stem for file in (folder / "final").glob("*.safetensors")} == learnt


def test_two_processes_have_the_losses_of_one_that_computes_whole_batches(trained: Path) -> None:
    both, alone = (
        json.loads((finished(trained / runs / "llava15") / "training.json").read_text()) for runs in ("runs", "alone")
    )
    np.testing.assert_allclose(both["losses"], alone["losses"], rtol=1e-4)


def test_fsdp_gives_the_losses_and_weights_of_ddp(trained: Path) -> None:
    ddp, fsdp = (finished(trained / runs / "paper") for runs in ("runs", "fsdp"))
    losses = [json.loads((folder / "training.json").read_text())["losses"] for folder in (ddp, fsdp)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    for part in ("projector", "llm", "encoder"):
        one, other = (load_file(folder / "final" / f"{part}.safetensors") for folder in (ddp, fsdp))
        assert one.keys() == other.keys()
        for name, value in one.items():
            torch.testing.assert_close(other[name], value, atol=1e-4, rtol=1e-3)


def test_the_second_process_starts_no_run(trained: Path) -> None:
    client = MlflowClient(f"sqlite:///{trained}/mlruns/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'vlmatch'")
    runs = [run for run in client.search_runs([experiment.experiment_id]) if "loss" in run.data.metrics]
    assert sorted(run.data.tags["recipe"] for run in runs) == ["llava15 v2", "paper v2", "paper v2"]
