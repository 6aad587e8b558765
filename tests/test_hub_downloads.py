"""Models from a hub on this machine: fetched once and whole, and each of the hub's refusals is one line."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
from huggingface_hub import constants

from encoders.stand_ins import of_transformers
from hub_server import Hub
from llms.conftest import *  # noqa: F403 - the tiny language models
from vlmatch import paths
from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.packages import downloading, hub
from vlmatch.packages.model_folders import holds_weights
from vlmatch.settings.buildable import EncoderSettings, LlmSettings

pytestmark = pytest.mark.slow  # a server, and the libraries' own waits

ENCODER, LLM = "facebook/dinov2-base", "org/tiny-llm"
WEIGHTS = "model.safetensors"

BUILDS: dict[str, tuple[str, Callable[[], Any]]] = {
    "encoder": (
        ENCODER,
        lambda: EncoderSettings.of(
            "encoder",
            {
                "_target_": "vlmatch.encoders.transformers_models.TransformersEncoder",
                "name": "e",
                "repository": ENCODER,
            },
        ).build(),
    ),
    "llm": (
        LLM,
        lambda: LlmSettings.of(
            "llm", {"_target_": "vlmatch.llms.language_model.LanguageModel", "name": "l", "repository": LLM}
        ).build(),
    ),
}
both_kinds = pytest.mark.parametrize("kind", ["encoder", "llm"])


@pytest.fixture(scope="module")
def model_folders(
    tmp_path_factory: pytest.TempPathFactory, save_tiny: Callable[..., tuple[Path, Any]]
) -> dict[str, Path]:
    """The files of a small encoder and a small LLM, as their repositories have them."""
    encoder = tmp_path_factory.mktemp("encoder")
    of_transformers(ENCODER, encoder)
    return {ENCODER: encoder, LLM: save_tiny()[0]}


@pytest.fixture
def published(hub: Hub, model_folders: dict[str, Path]) -> Hub:
    """The hub with both repositories."""
    for repository, folder in model_folders.items():
        hub.put(repository, folder)
    return hub


def fetched(repository: str) -> dict[str, bytes]:
    """The files of a repository in the cache, by name."""
    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def leftovers() -> list[Path]:
    """Files of downloads that did not end."""
    return list(Path(constants.HF_HUB_CACHE).rglob("*.incomplete"))


@both_kinds
def test_a_model_is_fetched_once_and_whole(published: Hub, kind: str) -> None:
    repository, build = BUILDS[kind]
    build()
    files = fetched(repository)
    assert files[WEIGHTS] == published.repositories[repository][WEIGHTS]
    assert files.items() <= published.repositories[repository].items()
    asked = len(published.asked)
    build()
    assert len(published.asked) == asked, "what is in the cache needs no hub"
    assert (
        sum(method == "GET" and path.startswith("/cdn/") and WEIGHTS in path for method, path, _ in published.asked)
        == 1
    )


MEANINGS = {
    "401": "no such repository, or shows it only to those who log in",
    "403": "gated: accept its licence on its page, log in with 'hf auth login'",
    "404": "lacks a file of the model",
    "429": "too many requests from here: wait some minutes",
    "500": "out of order: try again later (500)",
    "503": "out of order: try again later (503)",
}
REFUSALS: dict[str, dict[str, Any]] = {
    "401": {"where": "", "status": 401, "code": "RepoNotFound"},
    "403": {"where": "/resolve/", "status": 403, "code": "GatedRepo"},
    "404": {"where": f"/{WEIGHTS}", "status": 404, "code": "EntryNotFound"},
    "429": {"where": "/api/", "status": 429},
    "500": {"where": "/api/", "status": 500},
    "503": {"where": "/api/", "status": 503},
}


@both_kinds
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_is_one_line_and_passes(published: Hub, kind: str, refusal: str) -> None:
    repository, build = BUILDS[kind]
    published.fails(**REFUSALS[refusal])
    started = time.monotonic()
    with pytest.raises(NotHereError) as caught:
        build()
    assert time.monotonic() - started < 20
    message = str(caught.value)
    assert repository in message
    assert "\n" not in message
    assert "trust_remote_code" not in message
    assert MEANINGS[refusal] in message
    assert {"encoder": "encoder.checkpoint=", "llm": "llm.repository="}[kind] in message
    published.mend()
    build()
    assert not leftovers()


@both_kinds
def test_a_gated_repository_is_one_line_that_names_it(published: Hub, kind: str) -> None:
    repository, build = BUILDS[kind]
    published.gated.add(repository)
    with pytest.raises(NotHereError, match=repository) as caught:
        build()
    assert "\n" not in str(caught.value)


@both_kinds
def test_a_body_that_is_cut_short_goes_on_where_it_ended(
    published: Hub, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, build = BUILDS[kind]
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1)  # what has arrived counts from the first byte
    size = len(published.repositories[repository][WEIGHTS])
    published.fails(f"/{WEIGHTS}", method="GET", times=1, after=size // 2)
    build()
    assert fetched(repository)[WEIGHTS] == published.repositories[repository][WEIGHTS]
    assert [asked[2] for asked in published.asked if WEIGHTS in asked[1] and asked[2]] == [f"bytes={size // 2}-"]


def test_a_slow_body_arrives(published: Hub) -> None:
    repository, build = BUILDS["llm"]
    size = len(published.repositories[repository][WEIGHTS])
    published.fails(f"/{WEIGHTS}", method="GET", times=1, bytes_per_second=2 * size)
    build()
    assert fetched(repository)[WEIGHTS] == published.repositories[repository][WEIGHTS]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_download_ends_at_once_and_is_taken_up_by_the_same_command(
    published: Hub, tmp_path: Path, how: int
) -> None:
    published.fails(f"/{WEIGHTS}", method="GET", times=1, after=1000, stalls=True)
    script = (
        "import signal; from vlmatch.cli import leave; from vlmatch.llms.repository import repository_folder\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # shells ignore it in background jobs
        f"signal.signal(signal.SIGTERM, leave); print(repository_folder('l', '{LLM}'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(paths.root() / "src")}
    first = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=-3, stderr=-3)
    deadline = time.monotonic() + 60
    while not any(path.startswith("/cdn/") for _, path, _ in published.asked) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    first.send_signal(how)
    stopped = time.monotonic()
    assert first.wait(30) != 0
    assert time.monotonic() - stopped < 5, "the library by itself waits for its threads"
    assert WEIGHTS not in fetched(LLM)
    again = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert LLM.rpartition("/")[2] in again.stdout
    assert fetched(LLM)[WEIGHTS] == published.repositories[LLM][WEIGHTS]


@both_kinds
def test_pickled_weights_are_fetched_only_where_there_are_no_safetensors(published: Hub, kind: str) -> None:
    repository, build = BUILDS[kind]
    files = published.repositories[repository]
    state = io.BytesIO()
    torch.save(safetensors.torch.load(files[WEIGHTS]), state)
    published.put(repository, {**files, "pytorch_model.bin": state.getvalue()})
    build()
    assert "pytorch_model.bin" not in fetched(repository)
    published.put(f"{repository}-old", {name: file for name, file in files.items() if name != WEIGHTS})
    published.repositories[f"{repository}-old"]["pytorch_model.bin"] = state.getvalue()
    wanted = hub.Wanted(kind, "x", repository, f"{repository}-old")
    folder = hub.hub_folder(wanted, ["*.json"], ["*.safetensors", "pytorch_model*.bin"], holds_weights)
    assert (folder / "pytorch_model.bin").read_bytes() == state.getvalue()


@both_kinds
def test_a_cached_file_that_has_changed_is_removed_and_fetched_again(published: Hub, kind: str) -> None:
    repository, build = BUILDS[kind]
    build()
    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    (weights,) = folder.rglob(WEIGHTS)
    whole = weights.read_bytes()
    for damage in (whole[:-1000], whole[:-1000] + bytes(1000)):
        weights.resolve().write_bytes(damage)
        with pytest.raises(VlmatchError, match=re.escape(f"remove '{folder}' and run the same command")) as caught:
            build()
        assert "trust_remote_code" not in str(caught.value)
    shutil.rmtree(folder)  # the advice, followed
    build()
    assert fetched(repository)[WEIGHTS] == whole


def test_a_path_names_a_folder_for_encoders_and_llms_alike(model_folders: dict[str, Path], tmp_path: Path) -> None:
    for kind, (repository, _) in BUILDS.items():
        wanted = hub.Wanted(kind, "x", "w", str(model_folders[repository]))
        assert hub.named_folder(wanted, f"{kind}.repository") == model_folders[repository]
        with pytest.raises(NotHereError, match=rf"{kind}.repository={tmp_path}/none is not a folder"):
            hub.named_folder(hub.Wanted(kind, "x", "w", f"{tmp_path}/none"), f"{kind}.repository")
    target = "vlmatch.encoders.transformers_models.TransformersEncoder"
    EncoderSettings.of("encoder", {"_target_": target, "name": "e", "repository": str(model_folders[ENCODER])}).build()


@both_kinds
def test_a_download_says_its_size_first_and_needs_room(
    published: Hub, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    repository, build = BUILDS[kind]
    with monkeypatch.context() as small:
        small.setattr(downloading.shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
        with pytest.raises(VlmatchError, match=rf"'{repository}' takes .* GB left; free some, or set HF_HOME"):
            build()
    assert not any(path.startswith("/cdn/") for _, path, _ in published.asked)
    build()
    size = sum(map(len, published.repositories[repository].values())) / 1e6
    assert re.search(rf"fetching \d+ files, {size:.1f} MB, of '{repository}' into", caplog.text)
