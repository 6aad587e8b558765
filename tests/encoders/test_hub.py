"""The hub: its cache is enough, it is asked once and quickly, and its absence is one line that says what to do.

What it does where it answers is in tests/test_hub_downloads.py.
"""

import errno
import json
import re
import time
from types import SimpleNamespace

import pytest
from huggingface_hub import constants, set_client_factory
from huggingface_hub.utils._http import default_client_factory
from hydra.utils import get_class

from encoders.conftest import encoder_configs
from vlmatch import paths
from vlmatch.errors import NotHereError
from vlmatch.packages import hub
from vlmatch.packages.hub import Wanted
from vlmatch.packages.model_folders import holds_weights

WANTED = Wanted("encoder", "x", "tag", "org/model")
HUB_ENCODERS = ("siglip", "dfn5b_h14_378", "clip_l336", "dinov2_l", "dinov2_b_hf")


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty hub cache, and a way to put files of a repository into it."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(repository: str, *filenames: str):
        folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        snapshot = folder / "snapshots" / "abc"
        snapshot.mkdir(parents=True, exist_ok=True)
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text("abc")
        for filename in filenames:
            (snapshot / filename).write_text(filename)
        return snapshot

    return put


@pytest.fixture
def online(hub_cache, monkeypatch):
    """As if HF_HUB_OFFLINE were not set; gives a way to set where the hub is."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return lambda endpoint: monkeypatch.setattr(constants, "ENDPOINT", endpoint)


@pytest.mark.parametrize("name", HUB_ENCODERS)
def test_a_hub_encoder_without_weights_is_one_line_within_seconds(hub_cache, name):
    config = encoder_configs()[name]
    encoder = get_class(config.pop("_target_"))
    started = time.monotonic()
    with pytest.raises(NotHereError) as caught:
        encoder(**config)
    assert time.monotonic() - started < 20  # most of it the import of the library
    message = str(caught.value)
    weights = config.get("pretrained") or config.get("model") or config["repository"]
    assert f"encoder '{name}': weights '{weights}' are not here: HF_HUB_OFFLINE is set; give" in message
    assert "encoder.checkpoint=" in message
    assert "task=check" in message
    assert "\n" not in message


def test_every_encoder_says_where_its_weights_come_from():
    for name, config in encoder_configs().items():
        ways = [
            "package" in config,
            "parts" in config,
            re.search("/(weights|transforms)/", config.get("checkpoint") or "") is not None,
            ".controls." in config["_target_"],
            config.get("path") == "???",
            any(config.get(key) for key in ("pretrained", "model", "repository", "weights")),
        ]
        assert any(ways), name
        assert sum(ways) == 1 or "parts" in config, name


def test_a_cached_file_needs_no_network_and_the_first_name_wins(hub_cache):
    snapshot = hub_cache("org/model", "a.bin", "b.safetensors")
    assert hub.hub_file(WANTED, ["b.safetensors", "a.bin"]) == snapshot / "b.safetensors"
    assert hub.hub_file(WANTED, ["c.bin", "a.bin"]) == snapshot / "a.bin"


def test_a_cached_folder_needs_its_config_and_weights(hub_cache):
    def whole(folder):
        return holds_weights(folder) and (folder / "config.json").is_file()

    hub_cache("org/model", "model.safetensors")
    with pytest.raises(NotHereError):
        hub.hub_folder(WANTED, ["*.json"], ["model*.safetensors"], whole)
    snapshot = hub_cache("org/model", "config.json")
    assert hub.hub_folder(WANTED, ["*.json"], ["model*.safetensors"], whole) == snapshot


def test_a_cached_folder_that_lacks_a_shard_does_not_serve(hub_cache):
    snapshot = hub_cache("org/model", "config.json", "model-1.safetensors")
    shards = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(shards))
    with pytest.raises(NotHereError):
        hub.hub_folder(WANTED, ["*.json"], ["model*.safetensors"], holds_weights)
    hub_cache("org/model", "model-2.safetensors")
    assert hub.hub_folder(WANTED, ["*.json"], ["model*.safetensors"], holds_weights) == snapshot


def test_an_unreachable_hub_is_asked_once(hub_cache, online):
    online("http://127.0.0.1:9")
    started = time.monotonic()
    told = (
        r"weights 'tag' are not here: the hub can't be reached at HF_ENDPOINT=http://127\.0\.0\.1:9 \(.*refused\); give"
    )
    with pytest.raises(NotHereError, match=told):
        hub.hub_file(WANTED, ["a.bin"])
    assert time.monotonic() - started < hub.SECONDS_TO_ANSWER + 1


def test_a_silent_hub_is_given_up_after_seconds(hub_cache, online, monkeypatch):
    import socket

    monkeypatch.setattr(hub, "SECONDS_TO_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        online(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(NotHereError, match="can't be reached"):
            hub.hub_file(WANTED, ["a.bin"])


def test_the_hub_is_asked_by_the_session_that_the_user_configured(hub_cache, online):
    """As behind a company's proxy, whose certificate huggingface_hub was told of."""
    answers = [OSError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate in certificate chain"), None]

    def head(address, timeout):
        if error := answers.pop(0):
            raise error

    online("https://hub.test")
    set_client_factory(lambda: SimpleNamespace(head=head, close=lambda: None))
    try:
        with pytest.raises(NotHereError, match=r"can't be reached at HF_ENDPOINT=https://hub\.test .*self-signed"):
            hub.hub_file(WANTED, ["a.bin"])
        hub.require_hub(WANTED)
    finally:
        set_client_factory(default_client_factory)


def test_an_address_of_the_hub_that_is_none_is_one_line_that_names_it(hub_cache, online):
    online("mirror.test")
    with pytest.raises(NotHereError, match=r"can't be reached at HF_ENDPOINT=mirror\.test \(.*http.*\); give"):
        hub.hub_file(WANTED, ["a.bin"])


def test_a_disk_that_fills_up_during_a_download_is_no_refusal_of_the_hub(hub_cache, online, monkeypatch):
    def full(*_: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/hub/x")

    monkeypatch.setattr(hub, "require_hub", lambda *_: None)
    monkeypatch.setattr(hub, "announce", full)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **options: None)
    with pytest.raises(OSError, match="No space left") as caught:
        hub.hub_file(WANTED, ["a.bin"])
    assert not isinstance(caught.value, NotHereError)


def test_an_installed_wheel_is_told_its_own_command(monkeypatch):
    assert "(python src/run.py task=check)" in str(WANTED.not_here("no"))
    monkeypatch.setattr(paths, "in_checkout", lambda: False)
    assert "(vlmatch task=check)" in str(WANTED.not_here("no"))
