"""Optimisers, schedules, clipping. Whole trajectories are compared in tests/golden."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.layers import Linear, Parameter
from npgpt.optim import Adam, AdamW, WarmupCosine, clip_grad_norm, grad_norm
from tests.strategies import normal, seeds


def parameter(values, dtype=np.float64, **kwargs):
    return Parameter(np.array(values, dtype), **kwargs)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_the_first_step_moves_by_the_rate_whatever_the_gradients_size(size, backend):
    p = parameter([1.0, -1.0])
    p.grad[:] = [size, -size]
    AdamW([p], lr=0.1, eps=1e-30, weight_decay=0.0).step()
    np.testing.assert_allclose(p.value, [0.9, -0.9], rtol=1e-9)


def test_decay_shrinks_matrices_and_leaves_vectors_alone(backend):
    matrix, vector = parameter([[2.0]]), parameter([2.0])
    AdamW([matrix, vector], lr=0.1, weight_decay=0.5).step()  # gradients are zero
    np.testing.assert_allclose(matrix.value, [[2.0 * (1 - 0.1 * 0.5)]])
    np.testing.assert_allclose(vector.value, [2.0])


def test_adam_adds_its_decay_to_the_gradient(backend):
    p = parameter([[2.0]])
    Adam([p], lr=0.1, eps=1e-30, weight_decay=0.5).step()
    np.testing.assert_allclose(p.value, [[1.9]])  # a full step, as the penalty is all there is


def test_a_decay_can_be_chosen_for_a_parameter(backend):
    spared = parameter([[2.0]], decay=False)
    AdamW([spared], lr=0.1, weight_decay=0.5).step()
    np.testing.assert_allclose(spared.value, [[2.0]])


def test_adam_finds_the_minimum_of_a_parabola(backend):
    p = parameter([5.0, -3.0])
    optimizer = Adam([p], lr=0.1)
    for _ in range(500):
        optimizer.zero_grad()
        p.grad += 2.0 * (p.value - 1.0)
        optimizer.step()
    np.testing.assert_allclose(p.value, 1.0, atol=1e-3)


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_a_state_that_is_saved_and_loaded_goes_on_exactly(kind, backend):
    def make():
        layer = Linear(3, 2, rng=0)
        layer.assign_names()
        return layer, kind(layer.parameters(), lr=0.1, weight_decay=0.1)

    def steps(layer, optimizer, numbers):
        for i in numbers:
            for p in layer.parameters():
                p.grad[...] = normal(i, p.shape, np.float32)
            optimizer.step()

    layer, optimizer = make()
    steps(layer, optimizer, range(6))
    first, half = make()
    steps(first, half, range(3))
    second, rest = make()
    second.load_state_dict({k: v.copy() for k, v in first.state_dict().items()})
    rest.load_state_dict({k: v.copy() for k, v in half.state_dict().items()})
    steps(second, rest, range(3, 6))
    np.testing.assert_array_equal(second.weight.value, layer.weight.value)
    assert rest.step_count == 6


def test_a_state_that_does_not_fit_changes_nothing():
    layer = Linear(3, 2, rng=0)
    layer.assign_names()
    optimizer = AdamW(layer.parameters())
    state = {name: array + 1 for name, array in optimizer.state_dict().items()}
    with pytest.raises(ValueError, match=r"m\.bias is missing or does not have the shape \(2,\)"):
        optimizer.load_state_dict({**state, "m.bias": np.zeros(3)})
    assert all((array == 0).all() for array in optimizer.state_dict().values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": -1e-3}, "lr must be at least 0, got -0.001"),
        ({"lr": math.nan}, "lr must be at least 0, got nan"),
        ({"betas": (1.0, 0.9)}, r"betas must be at least 0 and below 1, got \(1.0, 0.9\)"),
        ({"eps": 0.0}, "eps must be positive"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, message):
    for kind in (Adam, AdamW):
        with pytest.raises(ValueError, match=f"{kind.__name__}: {message}"):
            kind([parameter([1.0])], **arguments)


def test_no_parameters_are_refused():
    with pytest.raises(ValueError, match="no parameters to optimise"):
        AdamW([])


@given(seeds, st.floats(1e-3, 1e3))
def test_clipping_keeps_the_direction_and_bounds_the_norm(seed, max_norm):
    parameters = [parameter(normal(seed + i, shape, np.float64)) for i, shape in enumerate([3, 4])]
    for i, p in enumerate(parameters):
        p.grad[...] = normal(seed + 9 + i, p.shape, np.float64)
    before = np.concatenate([p.grad for p in parameters])
    norm = clip_grad_norm(parameters, max_norm)
    after = np.concatenate([p.grad for p in parameters])
    assert norm == pytest.approx(np.linalg.norm(before))
    assert grad_norm(parameters) == pytest.approx(min(norm, max_norm))
    np.testing.assert_allclose(after * norm, before * min(norm, max_norm), rtol=1e-9)
    if norm <= max_norm:
        np.testing.assert_array_equal(after, before)


def test_a_limit_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="max_norm must be positive, got 0"):
        clip_grad_norm([parameter([1.0])], 0.0)


def test_the_rate_rises_in_a_line_and_falls_in_half_a_cosine():
    schedule = WarmupCosine(max_lr=1e-3, min_lr=1e-4, warmup_steps=100, total_steps=2000)
    assert schedule(0) == pytest.approx(1e-3 / 101)
    assert schedule(99) == pytest.approx(1e-3 * 100 / 101)
    assert schedule(100) == 1e-3
    assert schedule(1050) == pytest.approx((1e-3 + 1e-4) / 2)  # half way down
    assert schedule(2000) == schedule(10_000) == 1e-4
    rates = [schedule(step) for step in range(2001)]
    assert rates[:101] == sorted(rates[:101])
    assert rates[100:] == sorted(rates[100:], reverse=True)


@pytest.mark.parametrize(
    "arguments", [(1.0, 2.0, 0, 10), (1.0, -0.1, 0, 10), (1.0, 0.1, 11, 10), (1.0, 0.1, -1, 10)]
)
def test_a_schedule_that_cannot_be_is_refused(arguments):
    with pytest.raises(ValueError, match=r"WarmupCosine: .* must satisfy"):
        WarmupCosine(*arguments)
