"""What convolutions over time promise beside right gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npgpt import layers, ops
from npgpt.layers import CausalConv1d, GatedConv1d
from tests.strategies import backends, normal

X = normal(7, (4, 6, 3), np.float64)


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 11), backends)
def test_an_output_sees_its_receptive_field_and_nothing_else(kernel, dilation, place, backend):
    layer = CausalConv1d(2, 3, kernel, dilation, rng=0, dtype=np.float64)
    x = normal(0, (1, 12, 2), np.float64)
    changed = x.copy()
    changed[0, place] += 1.0
    with ops.use(backend):
        differs = (layer.forward(x) != layer.forward(changed)).any(axis=(0, 2))
    read = {
        t
        for t in range(12)
        if 0 <= t - place < layer.receptive_field and (t - place) % dilation == 0
    }
    assert set(np.flatnonzero(differs)) == read
    assert layer.receptive_field == 1 + (kernel - 1) * dilation


def test_a_gate_that_is_open_lets_the_values_through(backend):
    layer = GatedConv1d(3, 2, kernel=2, rng=0, dtype=np.float64)
    layer.conv.weight.value[2:] = 0.0
    layer.conv.bias.value[2:] = 50.0
    values = CausalConv1d(3, 2, 2, dtype=np.float64)
    values.weight.value[...] = layer.conv.weight.value[:2]
    np.testing.assert_allclose(layer.forward(X), values.forward(X), atol=1e-12)


@pytest.mark.parametrize("time", [0, 1])
def test_small_times(time, backend):
    layer = GatedConv1d(3, 2, kernel=3, dilation=4, rng=0, dtype=np.float64)
    y = layer.forward(X[:, :time])
    assert y.shape == (4, time, 2)
    assert layer.backward(np.ones_like(y)).shape == (4, time, 3)


ERRORS = [
    (lambda: CausalConv1d(3, 3, 0), "CausalConv1d: kernel must be at least 1, got 0"),
    (lambda: CausalConv1d(3, 3, dilation=0), "dilation must be at least 1, got 0"),
    (lambda: CausalConv1d(3, 3).forward(X[0]), r"\(batch, time, 3\), got \(6, 3\)"),
    (lambda: layers.GLU().forward(X), r"must be even, got \(4, 6, 3\)"),
]  # fmt: skip


@pytest.mark.parametrize(("attempt", "message"), ERRORS)
def test_what_does_not_fit_is_refused_with_what_came_and_what_was_expected(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()
