"""Memory that operations use again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from npgpt import ops
from npgpt.models import GPT, GPTConfig, MemoryPlan
from npgpt.ops.workspace import empty

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 40), st.sampled_from([3, 8]))


@given(st.lists(st.tuples(SHAPES, st.booleans()), max_size=30))
def test_an_array_that_is_held_is_never_overwritten(wanted):
    held = []
    with ops.Workspace():
        for value, (shape, is_kept) in enumerate(wanted):
            array = empty(shape, np.float32)
            assert array.shape == shape
            assert array.flags.c_contiguous
            array[...] = value
            if is_kept:
                held.append((array[:, :1], value))  # a view keeps the memory too
            del array
    assert all((array == value).all() for array, value in held)


def test_batches_of_all_lengths_need_little_more_than_the_longest():
    config = GPTConfig(50, 64, 2, 2, 32)
    model = GPT(config)
    rng = np.random.default_rng(0)
    with ops.use("compiled"), ops.Workspace() as workspace:
        for time in rng.permutation(np.arange(1, 65)):
            ids = rng.integers(0, 50, (4, time + 1))
            targets = np.where(rng.random((4, time)) < 0.5, -100, ids[:, 1:])
            model.zero_grad()
            model.loss_and_backward(ids[:, :-1], targets)
    plan = MemoryPlan.of(config, 4, 64)
    assert workspace.bytes_made < 3 * (plan.saved + plan.working + plan.logits)
