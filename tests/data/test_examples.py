"""The examples in the docstrings of npgpt.data and npgpt.tokenizers."""

import doctest
import importlib

import pytest

MODULES = [
    "data.corpora",
    "data.held_out",
    "data.loader",
    "data.windows",
    "data.batch_loader",
    "data.samplers",
]
MODULES += ["tokenizers.bpe", "tokenizers.char"]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_print_what_they_show(name):
    result = doctest.testmod(importlib.import_module(f"npgpt.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
