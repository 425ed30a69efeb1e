"""Examples in docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import npgpt

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(npgpt.__path__, "npgpt.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
