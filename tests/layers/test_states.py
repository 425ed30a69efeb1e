"""What a block keeps of the positions that it has read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt import ops
from npgpt.layers import Init, KeyValueCache, Stack, TransformerBlock
from tests.layers.configs import CHOICES, block_config
from tests.mutations import mutated
from tests.strategies import normal, seeds


def cache(batch=2, capacity=6):
    return KeyValueCache(batch, 1, capacity, 3, np.float64)


def pairs(seed, batch, time):
    return normal(seed, (2, batch, 1, time, 3), np.float64)  # keys and values


def test_a_beginning_is_kept_whole_and_then_one_position_of_each_sequence():
    state = cache()
    k, v = pairs(0, 2, 3)
    state.append(k, v)
    assert state.lengths.tolist() == [3, 3]
    state.lengths = np.array([3, 1])  # the second sequence was padded
    next_k, next_v = pairs(1, 2, 1)
    state.append(next_k, next_v)
    assert state.lengths.tolist() == [4, 2]
    for kept, beginning, following in ((state.keys, k, next_k), (state.values, v, next_v)):
        for row, length in enumerate([3, 1]):  # the next one stands over the padding
            np.testing.assert_array_equal(kept[row, :, :length], beginning[row, :, :length])
            np.testing.assert_array_equal(kept[row, :, length], following[row, :, 0])


@pytest.mark.parametrize("time", [2, 3])
def test_several_positions_after_the_beginning_are_refused(time):
    state = cache()
    state.append(*pairs(0, 2, 1))
    before = state.keys.copy()
    with pytest.raises(ValueError, match=f"one position is added at a time, got {time}"):
        state.append(*pairs(1, 2, time))
    np.testing.assert_array_equal(state.keys, before)
    assert state.lengths.tolist() == [1, 1]


def test_rows_are_a_part_of_the_memory_with_nothing_read_yet():
    state = cache(batch=4)
    state.append(*pairs(0, 4, 2))
    part = state.rows(1, 3)
    assert part.lengths.tolist() == [0, 0]
    assert state.lengths.tolist() == [2, 2, 2, 2]
    k, v = pairs(1, 2, 5)
    part.append(k, v)
    np.testing.assert_array_equal(state.keys[1:3, :, :5], k)
    np.testing.assert_array_equal(state.values[1:3, :, :5], v)


def test_a_sequence_goes_on_as_a_copy_of_another():
    state = cache(batch=3)
    k, v = pairs(0, 3, 4)
    state.append(k, v)
    state.lengths = np.array([4, 2, 3])
    state.reorder(np.array([2, 2, 0]), 4)
    assert state.lengths.tolist() == [3, 3, 4]
    np.testing.assert_array_equal(state.keys[:, :, :4], k[[2, 2, 0]])
    np.testing.assert_array_equal(state.values[:, :, :4], v[[2, 2, 0]])


@given(
    position=st.sampled_from(CHOICES["position"]), norm_position=st.sampled_from(["pre", "post"]),
    n_kv_heads=st.sampled_from([1, 2]), window=st.sampled_from([None, 1, 3]),
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=3), cross=st.booleans(), seed=seeds,
    backend=st.sampled_from(ops.BACKENDS),
)  # fmt: skip
def test_a_stack_step_by_step_is_the_stack_on_the_whole(
    position, norm_position, n_kv_heads, window, lengths, cross, seed, backend
):
    config = block_config(
        8, 2, n_layers=2, position=position, norm_position=norm_position, n_kv_heads=n_kv_heads,
        window=window, layer_norm_eps=1e-2,
    )  # fmt: skip
    stack = Stack(config, Init(seed, np.float64), cross)
    for i, parameter in enumerate(stack.parameters()):
        parameter.value += normal(i, parameter.shape, np.float64, 0.3)
    stack.eval()
    batch, lengths = len(lengths), np.array(lengths)
    x = normal(seed, (batch, 7, 8), np.float64)
    memory = normal(seed + 1, (batch, 5, 8), np.float64) if cross else None
    with ops.use(backend):
        whole = stack.forward(x, memory)
        states = stack.new_states(batch, 7, np.float64)
        y = stack.forward(x[:, : lengths.max()], memory, states=states)
        for row, length in enumerate(lengths):
            np.testing.assert_allclose(y[row, :length], whole[row, :length], rtol=0, atol=1e-10)
        for step in range(3):
            places = lengths + step
            for state in states:
                state.lengths = places
            y = stack.forward(x[np.arange(batch), places][:, None], memory, states=states)
            np.testing.assert_allclose(y[:, 0], whole[np.arange(batch), places], rtol=0, atol=1e-10)
        assert all((state.lengths == lengths + 3).all() for state in states)


def test_a_stack_needs_a_state_for_each_block():
    stack = Stack(block_config(4, n_layers=2))
    with pytest.raises(ValueError, match="shorter"):
        stack.forward(np.ones((1, 1, 4), np.float32), states=stack.new_states(1, 3)[:1])


def test_a_state_has_places_for_the_heads_of_keys_and_values_only():
    config = block_config(16, 4, n_layers=3, n_kv_heads=1)
    states = Stack(config).new_states(rows=2, capacity=5)
    assert [state.keys.shape for state in states] == [(2, 1, 5, 4)] * 3
    assert states[0].keys.dtype == np.float32


def test_a_blocks_state_is_that_of_its_attention_to_itself():
    block = TransformerBlock(block_config(4), Init(0, np.float64), cross=True)
    state = KeyValueCache(1, 1, 6, 4, np.float64)
    x, memory = normal(0, (2, 1, 3, 4), np.float64)
    block.forward(x, memory, state=state)
    assert state.lengths.tolist() == [3]
    normed = block.attention_norm.forward(x)
    k = block.attention.qkv.forward(normed)[..., 4:8]
    np.testing.assert_allclose(state.keys[0, 0, :3], k[0], atol=1e-15)


@pytest.mark.parametrize(
    ("function", "old", "new", "test"),
    [
        (
            KeyValueCache.append, "self.keys[rows, :, self.lengths]",
            "self.keys[rows, :, self.lengths.max()]",
            test_a_beginning_is_kept_whole_and_then_one_position_of_each_sequence,
        ),
        (
            KeyValueCache.append, "elif time == 1", "elif time",
            lambda: test_several_positions_after_the_beginning_are_refused(2),
        ),
        (
            KeyValueCache.rows, "self.keys[begin:end], self.values[begin:end]",
            "self.keys[begin:end].copy(), self.values[begin:end]",
            test_rows_are_a_part_of_the_memory_with_nothing_read_yet,
        ),
        (
            KeyValueCache.reorder, "self.lengths[rows]", "self.lengths",
            test_a_sequence_goes_on_as_a_copy_of_another,
        ),
    ],
    ids=["all at the longest's place", "several are added", "a copy", "lengths stay"],
)  # fmt: skip
def test_a_state_that_mixes_up_its_sequences_is_noticed(function, old, new, test):
    with (
        mutated(function, old, new),
        pytest.raises((AssertionError, pytest.fail.Exception)),
    ):
        test()
