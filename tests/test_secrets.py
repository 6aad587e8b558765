"""Secrets: refused in a config before anything is written, masked wherever a config or an address is shown."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vlmatch import paths
from vlmatch.configs import words
from vlmatch.errors import VlmatchError
from vlmatch.messages import user_message
from vlmatch.secrets import masked, masked_addresses, secrets_in, secrets_in_overrides


def test_secrets_are_masked_by_key_and_in_addresses() -> None:
    config = {
        "hub": {"token": "hf_x", "name": "n"},
        "list": [{"api_key": "k"}, {"private_key": "p", "aws_access_key": "a"}],
        "token_empty": None,
        "tokens_per_image": 3,
        "tracking": {"uri": "https://me:hidden@host:5000/a"},
    }
    assert masked(config) == {
        "hub": {"token": "***", "name": "n"},
        "list": [{"api_key": "***"}, {"private_key": "***", "aws_access_key": "***"}],
        "token_empty": None,
        "tokens_per_image": 3,
        "tracking": {"uri": "https://***@host:5000/a"},
    }
    assert masked_addresses("see a@b.c and postgresql://u:p@h/db") == "see a@b.c and postgresql://***@h/db"
    assert masked_addresses("http://me:p@ss@host/x") == "http://***@host/x"


def test_an_error_shows_no_password() -> None:
    assert user_message(VlmatchError("can't reach https://me:hidden@host/x")) == "can't reach https://***@host/x"


def test_secrets_are_found_and_names_of_variables_are_none() -> None:
    config = {
        "a": {"api_key": "k", "token": None, "password": "${oc.env:P}", "tokens": 3, "cls_token": True},
        "uri": ["http://me:hidden@host"],
        "fine": "http://${oc.env:U}:${oc.env:P}@host",
        "plain": "http://host:5000/a:b",
        "b": {"secret": "${oc.env:S,hidden}", "passwd": "${oc.env:S,null}"},
    }
    assert list(secrets_in(config)) == ["a.api_key", "uri", "b.secret"]
    words = [
        "+encoder.hub_token=x,y",
        "++a.secret='${oc.env:S}'",
        "a.b=3",
        "tracking.uri=http://me:hidden@host",
        "~a.token",
    ]
    assert list(secrets_in_overrides(words)) == ["encoder.hub_token", "tracking.uri"]


def test_a_secret_in_an_environment_variable_is_used_and_written_nowhere(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the refusal advises. The address leads nowhere, so the command ends when it is used."""
    monkeypatch.setenv("SERVER", "http://me:hidden@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    code, stdout, stderr = cli("tracking.uri=${oc.env:SERVER}", "encoder=pixels16", "probe.limit=40")
    assert code == 2
    assert "tracking.uri='http://***@127.0.0.1:9': MLflow can't" in stderr
    assert "hidden" not in stdout + stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "overrides.yaml" for path in written)
    assert not any(b"hidden" in path.read_bytes() for path in written)


def test_the_command_in_a_report_names_the_variable_and_not_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER", "http://me:hidden@host")
    overrides = OmegaConf.create({"hydra": {"overrides": {"task": ["tracking.uri=${oc.env:SERVER}"]}}})
    assert words(overrides.hydra.overrides.task) == ["tracking.uri=${oc.env:SERVER}"]


@pytest.mark.parametrize(
    ("override", "name"),
    [("tracking.uri=http://me:hidden@host:5000", "tracking.uri"), ("+encoder.api_key=hidden,other", "encoder.api_key")],
)
def test_a_command_line_with_a_secret_leaves_nothing_on_disk(override: str, name: str, tmp_path: Path) -> None:
    own = [f"store={tmp_path}/store", f"outputs={tmp_path}/outputs", f"tracking.folder={tmp_path}/mlruns"]
    sweep = ["multirun"] if "," in override else []
    run = [sys.executable, str(paths.root() / "src" / "run.py"), override, *own, *sweep]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"vlmatch: {name} looks like a secret")
    assert "'${oc.env:NAME}'" in line
    assert "hidden" not in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())
