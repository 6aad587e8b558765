"""A sweep that can't be run ends before its first job; what can't be had is said before, and the others go on."""

from pathlib import Path

import pytest
from omegaconf import open_dict

from vlmatch.configs import composed
from vlmatch.errors import VlmatchError
from vlmatch.inventory.models import Model
from vlmatch.packages.availability import STATUSES, Availability
from vlmatch.sweep import callback, validation

EMBED = ("task=embed", "task.side=encoder", "multirun")


@pytest.fixture
def folder_probe(picture_folder: Path) -> list[str]:
    """The overrides for the twelve drawn pictures."""
    return ["probe=folder", f"probe.path={picture_folder}"]


@pytest.fixture
def untouched(tmp_path: Path):
    """That no job has started and no run was made."""

    def check() -> None:
        assert not (tmp_path / "mlruns").exists()
        assert not (tmp_path / "store").exists()

    return check


@pytest.mark.parametrize(
    ("axis", "parts"),
    [
        ("encoder=pixels16,moblenetv2", ["encoder='moblenetv2' is unknown", "did you mean mobilenetv2"]),
        ("llm=smollm2,smollm3", ["llm='smollm3' is unknown", "smollm2"]),
        ("probe=folder,stmps", ["probe='stmps' is unknown", "did you mean stamps"]),
    ],
)
def test_a_misspelt_choice_stops_before_the_first_job(
    cli, untouched, folder_probe, axis: str, parts: list[str]
) -> None:
    code, out, err = cli(*folder_probe, axis, "multirun")
    assert code == 2
    assert err.startswith("vlmatch: ")
    assert err.count("\n") == 1
    assert all(part in err for part in parts)
    assert out == ""
    untouched()


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ("selection=typo", "selection=typo is neither evidence nor paper nor a score"),
        ("budget.params=abc", "budget.params='abc'"),
    ],
)
def test_a_wrong_question_stops_before_the_first_job(cli, untouched, folder_probe, wrong: str, part: str) -> None:
    code, out, err = cli(*folder_probe, "encoder=pixels16,mean_colour", wrong, "multirun")
    assert (code, out) == (2, "")
    assert part in err
    assert err.count("\n") == 1
    untouched()


def test_an_unreadable_probe_stops_before_the_first_job(cli, untouched, tmp_path: Path) -> None:
    code, out, err = cli("encoder=pixels16,mean_colour", "probe=folder", f"probe.path={tmp_path}/nothing", "multirun")
    assert code == 2
    assert err.count("\n") == 1
    assert f"{tmp_path}/nothing" in err
    assert out == ""
    untouched()


def test_one_unreadable_probe_of_two_is_enough(cli, untouched, picture_folder: Path, tmp_path: Path) -> None:
    code, _, err = cli(
        "encoder=pixels16", "probe=folder,stamps", f"probe.path={picture_folder}", f"data={tmp_path}", *EMBED
    )
    assert code == 2
    assert "stamps" in err
    untouched()


def test_models_that_cannot_be_had_are_said_first_and_the_others_go_on(
    cli,
    empty_caches: Path,
    folder_probe: list[str],
    tmp_path: Path,
) -> None:
    _, out, _ = cli(*folder_probe, "encoder=pixels16,resnet50_v2,fused,mobilenetv2", "offline=true", *EMBED)
    notes = [line for line in out.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: mobilenetv2: not here: the package is missing, and offline=true",
        "note: resnet50_v2: not here: offline=true",
        "note: fused: not here: yours to name, encoder.members=...",
    ]
    assert out.index("note: fused") < out.index("encoder 'pixels16': 12 x 768")


@pytest.mark.parametrize(
    "axis", ["llm.dtype=float32,bfloat16", "encoder.checkpoint=a,b", "score.mutual_nn.k=5,20", "score=[gw],[cka]"]
)
def test_what_an_answer_can_not_tell_apart_is_not_swept_over(
    cli, untouched, folder_probe: list[str], axis: str
) -> None:
    code, _, err = cli(*folder_probe, "encoder=pixels16", axis, "multirun")
    assert code == 2
    assert f"{axis}: can't be swept, because results in a sweep may only differ in encoder, llm, " in err
    assert err.count("\n") == 1
    untouched()


def test_a_job_whose_model_has_no_name_fails_by_its_yamls() -> None:
    config = composed("encoder=fused", "llm=smollm2")
    with open_dict(config):
        config.hydra = {
            "runtime": {"choices": {"encoder": "fused", "llm": "smollm2"}},
            "overrides": {"task": ["encoder=fused"]},
        }
    outcome = callback._failure(config, VlmatchError("no members"))
    assert (outcome.encoder, outcome.llm, outcome.message) == ("fused", "smollm2", "no members")


@pytest.mark.slow
def test_a_full_disk_at_the_end_of_a_sweep_is_its_exit_code(cli, folder_probe: list[str], tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file, not a folder")
    code, _, err = cli(
        *folder_probe, "encoder=pixels16", "llm=smollm2", "score=[parameters]", f"hydra.sweep.dir={tmp_path}/jobs",
        "multirun",
    )  # fmt: skip
    assert code == 2
    assert "a file stands where a folder is needed" in err


def test_a_sweep_that_has_all_it_needs_shows_its_pairs_and_no_note(cli, folder_probe: list[str]) -> None:
    code, out, err = cli(*folder_probe, "encoder=pixels16,mean_colour", *EMBED)
    assert (code, err) == (0, "")
    assert "note:" not in out
    assert out.index("12 pairs kept of 12 read") < out.index("encoder 'pixels16': 12 x 768")


def test_overrides_of_the_models_count(cli, folder_probe: list[str], tmp_path: Path) -> None:
    """With a checkpoint given, even a missing one, the hub is not what is needed."""
    given = [f"encoder.checkpoint={tmp_path}/nothing.safetensors"]
    _, out, _ = cli(*folder_probe, "encoder=resnet50_v2", *given, *EMBED)
    assert "note: resnet50_v2: not here: the file that the yaml names is missing" in out
    _, out, _ = cli(*folder_probe, "encoder=resnet50_v2,resnet152_v2", *given, *EMBED)
    assert "note: resnet50_v2, resnet152_v2: not here: the file that the yaml names is missing" in out


def test_members_that_do_not_exist_are_a_note(cli, folder_probe: list[str]) -> None:
    _, out, _ = cli(*folder_probe, "encoder=fused", "encoder.members=[pixels16,mean_color]", *EMBED)
    assert all(part in out for part in ("note: fused: ", "'mean_color'", "mean_colour"))


def test_a_bug_in_the_look_ahead_stops_the_sweep_with_its_traceback(cli, untouched, folder_probe, monkeypatch) -> None:
    monkeypatch.setattr(validation, "axes_of", lambda config: 1 / 0)
    code, _, err = cli(*folder_probe, "encoder=pixels16", "multirun")
    assert code == 1
    assert "ZeroDivisionError" in err
    untouched()


@pytest.mark.parametrize(
    ("overrides", "matters"),
    [
        ([], True),
        (["task=embed"], True),
        (["task=check"], False),
        (["task=fetch"], False),
        (["pool=store"], False),
    ],
)
def test_only_sweeps_that_embed_are_looked_through(overrides: list[str], matters: bool) -> None:
    assert callback._embeds(composed(*overrides)) is matters


def test_a_hub_that_answers_makes_models_come_at_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmatch.packages.hub.require_hub", lambda *arguments: None)
    found = [Model("llm", status.replace(" ", "_"), Availability(status, ""), "MIT", "yes") for status in STATUSES[:5]]
    assert list(validation._notes(found)) == [
        "at_first_use: comes at first use, from a package",
        "needs_the_hub: comes at first use, from the hub",
        "needs_a_login: comes at first use, from the hub, where you are logged in and have access",
    ]


def test_a_setting_of_all_models_of_an_axis_is_read_as_hydra_reads_it() -> None:
    axes = {"llm": ["smollm2", "phi2"], "llm.template": [r"'it\'s {caption}: \''"]}
    found = list(validation._models(composed(), "llm", axes))
    assert [each.name for each in found if isinstance(each, Model)] == ["smollm2", "phi2"]
