"""The examples in the docstrings of the Python API run and print what they say."""

import doctest
import importlib

import pytest

import vlmatch


@pytest.mark.parametrize("name", ["score"])
def test_the_examples_hold(name: str) -> None:
    public = getattr(vlmatch, name)
    module = importlib.import_module(public.__module__)
    examples = doctest.DocTestFinder(recurse=False).find(public, name, module=module)
    results = [doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example) for example in examples]
    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0
