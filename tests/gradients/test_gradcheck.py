"""The gradient check itself."""

import numpy as np
import pytest

from npgpt import layers, ops
from npgpt.gradients import SUITE, GradcheckError, check_suite, gradcheck
from npgpt.gradients.suite import LAYER_EXAMPLES
from npgpt.models import GPT, GPTConfig
from npgpt.ops import reference
from tests.layers.configs import block_config
from tests.mutations import mutated
from tests.strategies import normal

METHODS = {"central": 1e-6, "complex": 1e-11}


def x(*shape, seed=0):
    return normal(seed, shape, np.float64)


PLAIN = [
    ("reference", "complex", SUITE),
    ("compiled", "central", LAYER_EXAMPLES),
]  # others are slow


@pytest.mark.parametrize(
    ("backend", "method", "name"),
    [
        pytest.param(
            backend, method, name,
            marks=[] if any(case[:2] == (backend, method) and name in case[2] for case in PLAIN)
            else pytest.mark.slow,
        )
        for backend in ("reference", "compiled")
        for method in METHODS
        for name in SUITE
    ],
    indirect=["backend"],
)  # fmt: skip
def test_every_layer_passes(name, method, backend):
    for _, report in check_suite(method, [name]):
        assert report.max_error <= METHODS[method]
        report.raise_if_failed()


PLANTED = [
    (reference.layer_norm_backward, " - through_mean", "", {"input 0"}),
    (reference.layer_norm_backward, "dgamma += ", "dgamma += 1.001 * ", {"gamma"}),
    (reference.layer_norm_backward, "dbeta += dy.sum(axis=rows)", "pass", {"beta"}),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("function", "old", "new", "names"), PLANTED)
def test_the_report_names_the_arrays_that_are_wrong(function, old, new, names, method):
    with mutated(function, old, new):
        report = gradcheck(layers.LayerNorm(5), x(2, 3, 5), method=method)
    assert {check.name for check in report.failures} == names
    for name in names:
        with pytest.raises(GradcheckError, match=f"the gradient of {name} is wrong"):
            report.raise_if_failed()
    (failure,) = report.failures
    assert "FAILED" in str(report)
    assert f"! {failure.name}" in str(report)


def test_the_report_says_where_and_gives_both_values():
    def backward(dy, x):
        dx = 2.0 * x * dy
        dx[1, 2] += 7.0
        return dx

    report = gradcheck(lambda x: x * x, x(3, 4), backward=backward)
    (failure,) = report.failures
    assert failure.where in ("[1, 2]", "direction 0", "direction 1")
    assert abs(failure.analytic - failure.numeric) > 1.0


def test_a_gradient_of_nan_fails():
    report = gradcheck(lambda x: x, x(3), backward=lambda dy, x: dy * np.nan)
    assert not report.passed


def test_functions_of_several_inputs_give_a_tuple():
    def product(a, b):
        return a * b

    arguments = (x(3), x(3, seed=1))
    assert gradcheck(product, *arguments, backward=lambda dy, a, b: (dy * b, dy * a)).passed
    swapped = gradcheck(product, *arguments, backward=lambda dy, a, b: (dy * a, dy * b))
    assert {check.name for check in swapped.failures} == {"input 0", "input 1"}
    with pytest.raises(ValueError, match="returned 1 gradients for 2 float inputs"):
        gradcheck(product, *arguments, backward=lambda dy, a, b: dy * b)


def test_integers_are_constants():
    ids = np.array([[0, 1, 1]])
    report = gradcheck(layers.Embedding(3, 2), ids)
    assert [check.name for check in report.arrays] == ["weight"]


def test_large_arrays_are_sampled_and_directions_still_see_every_element():
    def backward(dy, x):
        dx = dy.copy()
        dx[-1] *= 1.5  # one wrong element of 5,000
        return dx

    report = gradcheck(lambda x: x, x(5000), backward=backward, max_coordinates=10)
    (check,) = report.arrays
    assert check.compared == 12
    assert not report.passed


def test_the_layer_that_is_checked_is_not_changed():
    layer = layers.MultiHeadAttention(block_config(6, 2, dropout=0.3))
    inputs = x(1, 3, 6).astype(np.float32)
    y = layer.forward(inputs)
    before = {name: value.copy() for name, value in layer.state_dict().items()}
    gradcheck(layer, inputs)
    assert layer.dropout.step == 1
    assert layer.qkv.weight.value.dtype == np.float32
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert layer.backward(np.ones_like(y)).dtype == np.float32  # what it saved is still there
    assert ops.backend() == "compiled"


def test_a_tied_weight_is_one_array():
    config = GPTConfig(vocab_size=5, context_length=3, n_layers=1, n_heads=1, d_model=2)
    ids = np.array([[0, 1, 1]])
    report = gradcheck(GPT(config), ids, ids, method="complex")
    names = [check.name for check in report.arrays]
    assert names.count("token_embedding.weight") == 1
    assert "head.weight" not in names
    assert report.passed


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match="method must be 'central' or 'complex', got 'forward'"):
        gradcheck(layers.GELU(), x(3), method="forward")
    with pytest.raises(ValueError, match="a function needs its backward"):
        gradcheck(np.sin, x(3))
