"""Folders and hub ids: the cache first, safetensors only, complete, and one line where the weights are not here."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import IncompleteSnapshotError
from safetensors.torch import load_file, save_file

from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.llms.language_model import LanguageModel
from vlmatch.llms.repository import repository_folder, weights_sha256

SaveTiny = Callable[..., tuple[Path, Any]]


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Puts a folder into an empty Hugging Face cache as the snapshot of 'some/tiny'."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(folder: Path) -> Path:
        repository = tmp_path / "hub" / "models--some--tiny"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs/main").write_text("0" * 40)
        return Path(shutil.copytree(folder, repository / "snapshots" / ("0" * 40)))

    return put


def test_a_local_folder_is_taken_as_it_is(save_tiny: SaveTiny) -> None:
    folder, _ = save_tiny()
    model = LanguageModel("tiny", repository=str(folder))
    assert model.weights_sha256 == digest(folder / "model.safetensors")


def test_the_checksum_of_several_files_is_that_of_their_digests(save_tiny: SaveTiny) -> None:
    folder, _ = save_tiny(shard_size="30KB")
    files = sorted(folder.glob("model-*.safetensors"))
    assert len(files) > 1
    expected = hashlib.sha256("".join(map(digest, files)).encode()).hexdigest()
    assert weights_sha256("tiny", folder) == expected


def test_a_hub_id_is_found_in_the_cache_without_network(
    save_tiny: SaveTiny, hub_cache: Callable[[Path], Path], captions: list[str]
) -> None:
    folder, _ = save_tiny()
    snapshot = hub_cache(folder)
    assert repository_folder("tiny", "some/tiny") == snapshot
    model = LanguageModel("tiny", repository="some/tiny")
    assert model(model.collate(captions)).shape == (4, 32)


def test_a_copy_without_what_is_not_wanted_serves_without_network(
    save_tiny: SaveTiny, hub_cache: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As our own downloads leave it: the cache knows of a README that it does not hold."""
    folder, _ = save_tiny()
    snapshot = hub_cache(folder)

    def incomplete(repository: str, **options: object) -> str:
        raise IncompleteSnapshotError("README.md is missing", str(snapshot))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", incomplete)
    assert repository_folder("tiny", "some/tiny") == snapshot


def test_a_cached_copy_that_lacks_a_weight_file_is_not_used(
    save_tiny: SaveTiny, hub_cache: Callable[[Path], Path]
) -> None:
    folder, _ = save_tiny(shard_size="30KB")
    snapshot = hub_cache(folder)
    next(snapshot.glob("model-*.safetensors")).unlink()
    with pytest.raises(NotHereError, match="cache is not complete"):
        repository_folder("tiny", "some/tiny")


def test_without_weights_one_line_names_the_ways_to_get_them(hub_cache: object) -> None:
    with pytest.raises(NotHereError) as caught:
        LanguageModel("qwen", repository="Qwen/Qwen2.5-7B-Instruct")
    line = str(caught.value)
    for words in ("llm 'qwen'", "Qwen/Qwen2.5-7B-Instruct", "llm.repository=/path", "task=check", "HF_HUB_OFFLINE"):
        assert words in line
    assert "\n" not in line


@pytest.mark.parametrize("repository", ["/no/such/folder", "./nothing", "~/nothing/here", "a/b/c", "https://hub/a/b"])
def test_a_path_that_is_not_there_is_not_taken_for_a_hub_id(repository: str) -> None:
    with pytest.raises(NotHereError, match="is not a folder; give the path of one, or a name on the hub"):
        repository_folder("tiny", repository)


def test_a_name_that_can_be_neither_is_refused(hub_cache: object) -> None:
    with pytest.raises(NotHereError, match="neither a folder nor a hub id"):
        repository_folder("tiny", "some model")


@pytest.mark.parametrize("files", ["one", "two and an index"])
def test_pickled_tensors_are_read_where_there_are_no_safetensors(
    save_tiny: SaveTiny, captions: list[str], files: str
) -> None:
    folder, _ = save_tiny()
    expected = LanguageModel("tiny", repository=str(folder))
    weights = load_file(folder / "model.safetensors")
    if files == "one":
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        first = dict(list(weights.items())[:5])
        second = {key: value for key, value in weights.items() if key not in first}
        names = {key: f"pytorch_model-0000{1 + (key in second)}-of-00002.bin" for key in weights}
        torch.save(first, folder / "pytorch_model-00001-of-00002.bin")
        torch.save(second, folder / "pytorch_model-00002-of-00002.bin")
        index = {"metadata": {"total_size": 1}, "weight_map": names}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    model = LanguageModel("tiny", repository=str(folder))
    assert torch.equal(model(model.collate(captions)), expected(expected.collate(captions)))
    assert len(model.weights_sha256) == 64
    if files == "one":
        assert model.weights_sha256 == digest(folder / "pytorch_model.bin")


class Code:
    """What a pickle makes when it is read with trust: here it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_wants_code_is_refused_by_name_and_runs_none(save_tiny: SaveTiny, tmp_path: Path) -> None:
    folder, _ = save_tiny()
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({**weights, "code": Code(tmp_path / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(
        VlmatchError, match=r"a pickle that holds more than tensors .*posix.mkdir.*; it is refused"
    ) as caught:
        LanguageModel("tiny", repository=str(folder))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_code_of_a_repository_is_named_in_the_log_before_it_may_run(
    save_tiny: SaveTiny, caplog: pytest.LogCaptureFixture
) -> None:
    folder, _ = save_tiny()
    LanguageModel("tiny", repository=str(folder))
    assert "trust_remote_code" not in caplog.text
    LanguageModel("tiny", repository=str(folder), trust_remote_code=True)
    assert f"trust_remote_code=true, the code in '{folder}' will run" in caplog.text


def test_a_vlm_as_llm_is_told_by_its_kind_and_a_shard_that_is_gone_by_its_name(save_tiny: SaveTiny) -> None:
    folder, _ = save_tiny()
    (folder / "config.json").write_text('{"model_type": "llava"}')
    with pytest.raises(VlmatchError, match=r"\(its config.json is a LlavaConfig, .* no AutoModelForCausalLM\)"):
        LanguageModel("tiny", repository=str(folder))
    folder, _ = save_tiny(shard_size="20KB")
    gone = sorted(folder.glob("model-*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(NotHereError, match=rf"llm 'tiny': '{folder}' lacks {gone.name}, which its index lists"):
        LanguageModel("tiny", repository=str(folder))


def test_a_weight_that_the_file_lacks_is_an_error_and_never_random(save_tiny: SaveTiny) -> None:
    folder, _ = save_tiny()
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        VlmatchError, match=r"lack 1 tensors of the architecture, first 'model\.layers\.1\.mlp\.up_proj"
    ):
        LanguageModel("tiny", repository=str(folder))
    renamed = {f"decoder.{key}": value for key, value in weights.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(VlmatchError, match=r"and hold decoder\.model .* instead; give all of them under transformers'"):
        LanguageModel("tiny", repository=str(folder))


@pytest.mark.parametrize(
    ("own", "wrapped"),
    [
        ("model", "_orig_mod.model"),  # torch.compile
        ("model", "module.model"),  # DataParallel
        ("model", "module._orig_mod.model"),
        ("layers.0", "layers.0._checkpoint_wrapped_module"),
        ("model.layers.1", "_fsdp_wrapped_module.model.layers.1._fsdp_wrapped_module._checkpoint_wrapped_module"),
    ],
)
def test_what_wrappers_put_into_the_names_of_tensors_changes_nothing(
    save_tiny: SaveTiny, own: str, wrapped: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder, causal_lm = save_tiny()
    weights = {key.replace(own, wrapped): value for key, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    loaded = LanguageModel("tiny", repository=str(folder)).causal_lm
    found = dict(loaded.state_dict())
    for key, value in causal_lm.state_dict().items():
        assert torch.equal(found[key], value), key
    assert "left out" not in caplog.text


def test_a_config_with_fewer_layers_than_the_weights_is_refused_and_other_tensors_are_said(
    save_tiny: SaveTiny, caplog: pytest.LogCaptureFixture
) -> None:
    folder, _ = save_tiny()
    weights = {**load_file(folder / "model.safetensors"), "value_head.weight": torch.ones(2)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    LanguageModel("tiny", repository=str(folder))
    assert f"llm 'tiny': left out of '{folder}': value_head (1 tensors)" in caplog.text
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    with pytest.raises(VlmatchError, match=r"llm 'tiny': .* of a deeper model .* such as 'model.layers.2") as caught:
        LanguageModel("tiny", repository=str(folder))
    assert "\n" not in str(caught.value)


def test_an_adapter_that_is_not_merged_is_refused(save_tiny: SaveTiny) -> None:
    folder, _ = save_tiny()
    weights = load_file(folder / "model.safetensors")
    layer = next(key for key in weights if key.endswith("q_proj.weight")).removesuffix("weight")
    save_file({**weights, f"{layer}lora_A.weight": torch.ones(2, 2)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(VlmatchError, match=r"llm 'tiny': .* LoRA adapter that is not merged .*q_proj\.lora_A"):
        LanguageModel("tiny", repository=str(folder))


@pytest.mark.parametrize(
    "damage",
    [
        "no config",
        "no tokenizer",
        "no weights",
        "pickled weights",
        "cut short",
        "shape",
        "index",
        "tokenizer",
        "config",
        "pipe",
    ],
)
def test_a_damaged_folder_is_told_in_one_line(save_tiny: SaveTiny, damage: str) -> None:
    folder, _ = save_tiny()
    weights = folder / "model.safetensors"
    if damage == "no config":
        (folder / "config.json").unlink()
    elif damage == "no tokenizer":
        for file in folder.glob("tokenizer*"):
            file.unlink()
    elif damage == "no weights":
        weights.unlink()
    elif damage == "pickled weights":
        weights.rename(folder / "pytorch_model.bin")
    elif damage == "cut short":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage in ("tokenizer", "config"):
        (folder / f"{damage}.json").write_text('{"model_type": "lla')
    elif damage == "pipe":
        (folder / "config.json").unlink()
        os.mkfifo(folder / "config.json")
    elif damage == "index":
        weights.rename(folder / "model-00001-of-00002.safetensors")
        (folder / "model.safetensors.index.json").write_text('{"weight_map": {"lm_head.weight": "model-0')
    else:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    with pytest.raises(VlmatchError, match="llm 'tiny'") as caught:
        LanguageModel("tiny", repository=str(folder))
    assert "\n" not in str(caught.value)
    assert damage != "shape" or "its weights have other shapes than config.json says" in str(caught.value)
    assert damage != "index" or f"'{folder}/model.safetensors.index.json'" in str(caught.value)
