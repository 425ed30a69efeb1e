"""Where new layers get their numbers."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt import GPT, GPTConfig, layers
from npgpt.layers import Dropout, Init
from tests.layers.configs import CHOICES, block_config
from tests.mutations import mutated

SHAPE = {"vocab_size": 11, "context_length": 8, "n_layers": 2, "n_heads": 2, "d_model": 8}


def streams(layer):
    return [inner.stream for inner in layer.layers() if isinstance(inner, Dropout)]


def test_dropout_streams_are_counted_in_the_order_of_making():
    init = Init(seed=5)
    made = [init.dropout(p) for p in (0.1, 0.0, 0.3)]
    assert [dropout.stream for dropout in made] == [0, 1, 2]
    assert [dropout.p for dropout in made] == [0.1, 0.0, 0.3]
    assert {dropout.seed for dropout in made} == {5}


@pytest.mark.parametrize("dropout", [0.0, 0.2])  # the streams of a run must not depend on it
def test_every_dropout_layer_of_a_model_has_a_stream_of_its_own(dropout):
    model = GPT(GPTConfig(**SHAPE, dropout=dropout))
    assert streams(model) == list(range(1 + 3 * 2))
    assert model.embedding_dropout.stream == 0
    assert streams(model.blocks[1]) == [4, 5, 6]
    init = Init()
    encoder = layers.Stack(block_config(4, n_layers=2), init)
    decoder = layers.Stack(block_config(4, n_layers=1), init, cross=True)
    assert streams(encoder) == list(range(6))
    assert streams(decoder) == list(range(6, 11))


@given(
    st.integers(0, 2**32 - 1), st.sampled_from(CHOICES["position"]),
    st.sampled_from(CHOICES["activation"]), st.booleans(),
)  # fmt: skip
def test_the_numbers_are_the_same_for_every_dtype(seed, position, activation, tied):
    config = GPTConfig(**SHAPE, position=position, activation=activation, tie_embeddings=tied)
    single, double = (GPT(config, seed, dtype) for dtype in (np.float32, np.float64))
    for ours, exact in zip(single.parameters(), double.parameters(), strict=True):
        assert ours.value.dtype == np.float32
        np.testing.assert_array_equal(ours.value, exact.value.astype(np.float32))


def test_an_init_is_the_seed_and_dtype_of_a_model():
    config = GPTConfig(**SHAPE, dropout=0.1)
    by_seed, by_init = GPT(config, 3, np.float64), GPT(config, init=Init(3, np.float64))
    for ours, theirs in zip(by_seed.parameters(), by_init.parameters(), strict=True):
        np.testing.assert_array_equal(ours.value, theirs.value)
    assert (by_init.seed, by_init.dtype) == (by_seed.seed, by_seed.dtype) == (3, np.float64)


def test_the_maps_into_the_residual_stream_start_smaller_the_more_blocks_there_are():
    for n_layers in (1, 8):
        block = layers.TransformerBlock(block_config(64, 4, n_layers=n_layers), Init(0))
        for linear in (block.attention.projection, block.feed_forward.down):
            std = 0.02 / np.sqrt(2 * n_layers)
            assert linear.weight.value.std() == pytest.approx(std, rel=0.05)
        assert block.attention.qkv.weight.value.std() == pytest.approx(0.02, rel=0.05)


@given(
    st.sampled_from(CHOICES["position"]), st.sampled_from(CHOICES["norm"]),
    st.sampled_from(CHOICES["activation"]), st.booleans(), st.booleans(),
)  # fmt: skip
def test_a_model_without_content_has_the_names_and_shapes_of_one_with(
    position, norm, activation, bias, tied
):
    config = GPTConfig(
        **SHAPE, position=position, norm=norm, activation=activation, bias=bias,
        tie_embeddings=tied,
    )  # fmt: skip
    filled, empty = GPT(config), GPT(config, init=Init(fill=False))
    shapes = {name: value.shape for name, value in filled.state_dict().items()}
    assert {name: value.shape for name, value in empty.state_dict().items()} == shapes
    assert str(empty.summary()) == str(filled.summary())
    assert streams(empty) == streams(filled)


def test_a_layer_without_content_takes_the_memory_of_a_number():
    weight = layers.Linear(10_000, 10_000, rng=Init(fill=False).rng).weight.value
    assert weight.shape == (10_000, 10_000)
    assert weight.base.nbytes <= 8


LARGEST = """
import resource
from npgpt import GPT, GPTConfig
from npgpt.layers import Init

GPT(GPTConfig(3, 4, n_layers=1, n_heads=1, d_model=2), init=Init(fill=False)).summary()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
summary = GPT(GPTConfig.gpt2("1558M"), init=Init(fill=False)).summary()
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(summary.total, after - before)
"""


def test_the_largest_gpt2_is_counted_in_a_few_megabytes():
    pytest.importorskip("resource")
    found = subprocess.run(
        [sys.executable, "-c", LARGEST], capture_output=True, text=True, check=True
    )
    parameters, taken = map(int, found.stdout.split())
    assert parameters == 1_557_611_200  # 6.2 GB if they were there
    assert taken < (8 * 2**20 if sys.platform == "darwin" else 8 * 2**10)  # bytes there, KiB here


@pytest.mark.parametrize(
    ("function", "old", "new", "test"),
    [
        (
            Init.dropout, "next(self._streams)", "0",
            lambda: test_every_dropout_layer_of_a_model_has_a_stream_of_its_own(0.2),
        ),
        (
            Init.dropout, "next(self._streams)", "next(self._streams) if p else 0",
            lambda: test_every_dropout_layer_of_a_model_has_a_stream_of_its_own(0.0),
        ),
    ],
    ids=["one stream for all", "no stream without dropout"],
)  # fmt: skip
def test_streams_that_are_not_counted_are_noticed(function, old, new, test):
    with mutated(function, old, new), pytest.raises(AssertionError):
        test()
