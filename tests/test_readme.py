"""The README's code does what the README says."""

import re

import pytest

from vlmatch import paths


def example_under(heading: str) -> str:
    section = (paths.root() / "README.md").read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)[0]


def test_the_solver_alone_recovers_a_shuffled_rotation(capsys: pytest.CaptureFixture[str]) -> None:
    code = example_under("The solver alone")
    assert len(code.replace("\n\n", "\n").strip().splitlines()) <= 10
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    found, other = names["found"], names["other"]
    assert found.energy == 0  # type: ignore[attr-defined]
    assert (found.coupling.permutation == names["shuffle"]).all()  # type: ignore[attr-defined]
    assert 0 < other.lower_bound <= other.distance  # type: ignore[attr-defined]
    assert other.coupling.dense().shape == (300, 200)  # type: ignore[attr-defined]
    assert capsys.readouterr().out.count("\n") == 2
