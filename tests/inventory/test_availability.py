"""Where a model's weights are: every status, as the loaders themselves would find it."""

import csv
import threading
from pathlib import Path

import pytest
from huggingface_hub import constants

from made_caches import Put
from vlmatch import paths
from vlmatch.configs import composed
from vlmatch.errors import VlmatchError
from vlmatch.inventory.models import KINDS, model, models
from vlmatch.inventory.sizes import SIZES, size_on_disk, size_to_come
from vlmatch.objects import admitted
from vlmatch.packages.availability import (
    CACHED,
    GATED,
    HERE,
    HUB,
    LOGIN,
    MISSING,
    PACKAGED,
    UNNAMED,
    availability,
    found_offline,
)
from vlmatch.packages.package import Package

ENTRY = {"name": "a-model", "version": "1.0", "sha256": "0" * 64}
OTHER = {"name": "b-model", "version": "2.0", "sha256": "1" * 64}
TIMM = {"_target_": "vlmatch.encoders.timm_models.TimmEncoder", "name": "t", "model": "resnet18.a1_in1k"}
OPENCLIP = {
    "_target_": "vlmatch.encoders.openclip.OpenClipEncoder", "name": "o", "architecture": "ViT-SO400M-14-SigLIP-384",
    "pretrained": "webli",
}  # fmt: skip
TORCHVISION = {
    "_target_": "vlmatch.encoders.torchvision_models.TorchvisionHubEncoder", "name": "v", "architecture": "resnet50",
    "weights": "IMAGENET1K_V2",
}  # fmt: skip
FOLDER = {
    "_target_": "vlmatch.encoders.transformers_models.TransformersEncoder", "name": "f", "repository": "some/tower",
}  # fmt: skip
PACKAGED_CONVNET = {"_target_": "vlmatch.encoders.convnets.TorchvisionEncoder", "name": "a"}
FUSED = {"_target_": "vlmatch.encoders.derived.FusedEncoder", "name": "d"}
LLM = {"_target_": "vlmatch.llms.language_model.LanguageModel", "name": "l", "repository": "some/llm"}


def test_a_value_that_a_yaml_asks_for_may_be_given_with_the_sweep(tmp_path: Path) -> None:
    root = composed()
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    assert model(root, "llm", "gguf").availability.status == UNNAMED
    for place, status in ((tmp_path / "m.gguf", HERE), (tmp_path / "not-there", MISSING)):
        found = model(root, "llm", "gguf", {"checkpoint": str(place), "not_a_key": 1})
        assert found.availability.status == status


def test_two_threads_that_look_offline_leave_the_hub_as_reachable_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    entered, second_entered = threading.Event(), threading.Event()

    def first() -> Path:
        entered.set()
        second_entered.wait(0.5)
        return tmp_path

    def second() -> Path:
        second_entered.set()
        thread.join(1)  # so that the first one, if it is still inside, leaves before
        return tmp_path

    thread = threading.Thread(target=found_offline, args=[first])
    thread.start()
    entered.wait(5)
    found_offline(second)
    thread.join()
    assert constants.HF_HUB_OFFLINE is False


def test_a_package_comes_at_first_use_and_is_here_afterwards(put_package: Put) -> None:
    config = {**PACKAGED_CONVNET, "package": ENTRY}
    before = availability(config)
    assert (before.status, before.weights, before.files) == (PACKAGED, "a-model 1.0", ())
    assert before.absent == (Package.of(ENTRY),)
    folder = put_package(ENTRY, 5000)
    after = availability(config)
    assert (after.status, after.files, after.absent) == (HERE, (folder,), ())
    assert size_on_disk(after.files) == 5000


def test_one_package_of_several_is_not_enough(put_package: Put) -> None:
    put_package(ENTRY, 1000)
    found = availability({**LLM, "packages": [ENTRY, OTHER], "repository": None})
    assert (found.status, found.absent) == (PACKAGED, (Package.of(OTHER),))


def test_the_dequantised_copy_of_a_gguf_counts_as_room_on_disk(put_package: Put, empty_caches: Path) -> None:
    folder = put_package(ENTRY, 1000)
    copy = empty_caches / "cache" / "models" / "a-12345678"
    copy.mkdir(parents=True)
    (copy / "model.safetensors").write_bytes(b"0" * 900)
    found = availability({**LLM, "name": "a", "packages": [ENTRY], "sha256": "1234567890", "repository": None})
    assert found.files == (folder, copy)
    assert size_on_disk(found.files) == 1900


def test_a_repository_takes_precedence_over_packages(empty_caches: Path) -> None:
    found = availability({**LLM, "packages": [ENTRY]})
    assert (found.status, found.weights) == (HUB, "some/llm")


@pytest.mark.parametrize(
    ("kind", "config", "repository", "files"),
    [
        ("encoder", TIMM, "timm/resnet18.a1_in1k", ["model.safetensors"]),
        ("encoder", OPENCLIP, "timm/ViT-SO400M-14-SigLIP-384", ["open_clip_model.safetensors"]),
        ("encoder", FOLDER, "some/tower", ["config.json", "preprocessor_config.json", "model.safetensors"]),
        ("llm", LLM, "some/llm", ["config.json", "tokenizer.json", "model.safetensors"]),
    ],
)
def test_what_the_hubs_cache_has_is_found_as_the_loader_would(
    put_in_hub_cache: Put, kind: str, config: dict, repository: str, files: list[str]
) -> None:
    assert availability(config).status == HUB
    put_in_hub_cache("another/model", "model.safetensors")
    assert availability(config).status == HUB
    offline = constants.HF_HUB_OFFLINE
    snapshot = put_in_hub_cache(repository, *files)
    found = availability(config)
    assert found.status == CACHED
    assert found.files[0] in (snapshot, snapshot / files[-1])
    assert size_on_disk(found.files) in (1000, 1000 * len(files))
    assert offline == constants.HF_HUB_OFFLINE


def test_a_folder_that_lacks_its_weights_is_not_in_cache(put_in_hub_cache: Put) -> None:
    put_in_hub_cache("some/llm", "config.json", "tokenizer.json")
    assert availability(LLM).status == HUB


def test_torch_hubs_cache_counts_for_torchvisions_weights(empty_caches: Path) -> None:
    assert availability(TORCHVISION).status == HUB
    weights = empty_caches / "torch" / "hub" / "checkpoints" / "resnet50-11ad3fa6.pth"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"0" * 300)
    assert availability(TORCHVISION).status == CACHED


@pytest.mark.parametrize("prefix", GATED)
def test_a_gated_repository_needs_a_login_until_it_is_in_cache(put_in_hub_cache: Put, prefix: str) -> None:
    config = {**LLM, "repository": f"{prefix}model"}
    assert availability(config).status == LOGIN
    put_in_hub_cache(f"{prefix}model", "config.json", "tokenizer.json", "model.safetensors")
    assert availability(config).status == CACHED


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (FOLDER, "checkpoint"),
        (LLM, "repository"),
        (LLM, "checkpoint"),
        ({"_target_": "vlmatch.encoders.precomputed.PrecomputedEncoder", "name": "p"}, "path"),
        ({"_target_": "vlmatch.llms.precomputed.PrecomputedLanguageModel", "name": "p"}, "path"),
    ],
)
def test_a_path_is_here_or_missing(tmp_path: Path, config: dict, key: str) -> None:
    config = {**config, key: str(tmp_path / "weights")}
    assert availability(config).status == MISSING
    (tmp_path / "weights").mkdir()
    assert availability(config).status == HERE


def test_a_path_in_the_checkout_is_shown_from_its_root() -> None:
    found = availability({**TIMM, "checkpoint": str(paths.root() / "pyproject.toml")})
    assert (found.status, found.weights) == (HERE, "pyproject.toml")


def test_a_derived_encoder_is_as_far_as_the_farthest_of_its_parts(put_package: Put, tmp_path: Path) -> None:
    folder = put_package(ENTRY, 1000)
    own = tmp_path / "own.safetensors"
    config = {**FUSED, "checkpoint": str(own), "parts": [{**PACKAGED_CONVNET, "package": ENTRY}]}
    assert availability(config).status == MISSING
    own.write_bytes(b"0" * 10)
    found = availability(config)
    assert (found.status, found.files) == (HERE, (own, folder))
    far = availability({**config, "parts": [*config["parts"], TIMM]})
    assert (far.status, far.files) == (HUB, (own, folder))


@pytest.mark.parametrize("config", [FOLDER, LLM])
def test_an_adapter_that_is_not_there_is_missing(put_in_hub_cache: Put, tmp_path: Path, config: dict) -> None:
    put_in_hub_cache(config["repository"], "config.json", "preprocessor_config.json", "tokenizer.json")
    put_in_hub_cache(config["repository"], "model.safetensors")
    assert availability(config).status == CACHED
    config = {**config, "adapter": str(tmp_path / "adapter")}
    assert availability(config).status == MISSING
    (tmp_path / "adapter").mkdir()
    assert availability(config).status == CACHED


def test_a_class_of_the_users_own_is_asked_only_if_it_is_admitted(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "mine.py").write_text("class Mine: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = {"_target_": "mine.Mine", "name": "mine"}
    refused = availability(config)
    assert (refused.status, refused.weights) == (UNNAMED, "targets=[mine.]")
    with admitted("mine."):
        assert availability(config).status == HERE


def test_a_misspelt_class_of_ours_is_an_error() -> None:
    with pytest.raises(VlmatchError, match=r"_target_='vlmatch.encoders.nothing.X' does not exist"):
        availability({"_target_": "vlmatch.encoders.nothing.X", "name": "x"})


def test_models_whose_weights_the_user_names_say_which_key() -> None:
    gguf, fused = model(composed(), "llm", "gguf").availability, model(composed(), "encoder", "fused").availability
    assert (gguf.status, gguf.weights) == (UNNAMED, "llm.checkpoint=...")
    assert (fused.status, fused.weights) == (UNNAMED, "encoder.members=...")
    given = model(composed(), "encoder", "fused", {"members": ["pixels16", "mean_colour"]})
    assert given.availability.status == HERE


def test_on_a_new_machine_only_what_needs_no_package_is_here(empty_caches: Path) -> None:
    found = list(models(composed()))
    assert {each.kind for each in found} == set(KINDS)
    here = {each.name for each in found if each.availability.status == HERE}
    controls = {"pixels16", "mean_colour", "random_resnet18", "blind"}
    assert controls <= here
    trained = {path.name for path in (paths.root() / "study" / "weights").glob("*")}
    assert {name.partition("_layer")[0] for name in here - controls} <= trained
    status = {each.name: each.availability.status for each in found}
    assert status["mobilenetv2"] == status["smollm2"] == PACKAGED
    assert status["siglip"] == status["qwen2.5-7b"] == HUB
    assert status["llama3.1-8b"] == status["gemma2-2b"] == LOGIN


def test_every_package_that_a_yaml_names_has_a_measured_size(empty_caches: Path) -> None:
    absent = {package for each in models(composed()) for package in each.availability.absent}
    assert {package.name for package in absent if size_to_come([package]) is None} == set()


def test_the_measured_sizes_are_those_of_the_packages_that_are_here() -> None:
    with SIZES.open(newline="") as rows:
        measured = {
            f"{row['package'].replace('/', '-')}-{row['version']}": int(row["bytes"]) for row in csv.DictReader(rows)
        }
    folders = {
        name: folder
        for name in measured
        for folder in [paths.cache() / "packages" / name, paths.cache() / "packages" / f"npm-{name}"]
        if folder.is_dir()
    }
    if not folders:
        pytest.skip("no package is in the cache")
    for name, folder in folders.items():
        assert measured[name] == pytest.approx(size_on_disk([folder]), rel=0.02), name


def test_a_size_that_was_not_measured_is_unknown() -> None:
    assert size_to_come([Package.of(ENTRY)]) is None
    assert size_to_come([]) == 0
