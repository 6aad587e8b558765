"""The examples in the docstrings of the Python API run and print what they say."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import vlmatch
from vlmatch.embeddings.own import OwnModel

FUNCTIONS = [name for name in vlmatch.__all__ if name[0].islower() and name != "gromov_wasserstein"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_examples_hold(name: str, here: Path, my_encoder: OwnModel, my_llm: OwnModel) -> None:
    public = inspect.unwrap(getattr(vlmatch, name))
    module = importlib.import_module(public.__module__)
    given = {"my_encoder": my_encoder, "my_llm": my_llm}
    examples = doctest.DocTestFinder(recurse=False).find(public, name, module=module, extraglobs=given)
    results = [doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example) for example in examples]
    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0
