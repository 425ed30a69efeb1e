"""The tools for users' own tests."""

import builtins
import importlib
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npgpt import testing
from npgpt.gradients import GradcheckError
from npgpt.layers import Layer, LayerNorm, Linear, MultiHeadAttention
from npgpt.ops import reference
from tests.layers.configs import block_config


def test_a_right_gradient_passes_and_a_wrong_one_names_the_array():
    x = np.linspace(-1.0, 1.0, 5)
    testing.assert_gradients_correct(np.exp, x, backward=lambda dy, x: dy * np.exp(x))
    with pytest.raises(GradcheckError, match="input 0"):
        testing.assert_gradients_correct(np.exp, x, backward=lambda dy, x: 1.01 * dy * np.exp(x))


# --- three bugs that people write, and where the report points ---------------------------------


class NormWithoutVariance(LayerNorm):
    """A layer norm whose backward forgets that the variance depends on x."""

    def backward(self, dy):
        x, mean, rstd = self.recall()
        x_hat = (x - mean) * rstd
        self.gamma.grad += (dy * x_hat).reshape(-1, self.d_model).sum(axis=0)
        self.beta.grad += dy.reshape(-1, self.d_model).sum(axis=0)
        dx_hat = dy * self.gamma.value
        return rstd * (dx_hat - dx_hat.mean(axis=-1, keepdims=True))


class LinearUntransposed(Linear):
    """A square linear map whose backward multiplies by the weight the wrong way round."""

    def backward(self, dy):
        super().backward(dy)
        return dy @ self.weight.value.T


class AttentionWithoutMask(MultiHeadAttention):
    """Attention whose backward forgets that the future was masked."""

    def _attend_fused(self, *arrays):
        return self._attend_in_steps(*arrays)

    def _attend_in_steps_backward(self, dcontext, dbias, saved):
        scores = self.scale * (saved.q @ np.swapaxes(saved.k, -1, -2))
        saved = saved._replace(softmax=reference.softmax_forward(scores))
        return super()._attend_in_steps_backward(dcontext, dbias, saved)


@pytest.mark.parametrize(
    ("layer", "wrong"),
    [
        (NormWithoutVariance(6), {"input 0"}),
        (LinearUntransposed(6, 6, std=0.5, rng=0), {"input 0"}),
        (AttentionWithoutMask(block_config(6, 2)), {"input 0", "qkv.weight", "qkv.bias"}),
    ],
    ids=["dropped layer-norm term", "untransposed weight", "forgotten mask"],
)
def test_a_planted_bug_is_found_and_the_report_points_at_it(layer, wrong):
    from npgpt.gradients import gradcheck

    x = np.random.default_rng(3).standard_normal((2, 5, 6))
    for method in testing.checks.METHODS:
        report = gradcheck(layer, x, method=method)
        assert not report.passed
        assert {check.name for check in report.failures} == wrong


# --- strategies --------------------------------------------------------------------------------


@given(testing.shapes(7, min_axes=2, max_axes=3, max_side=4))
def test_shapes_end_as_asked_for(shape):
    assert shape[-1] == 7
    assert 3 <= len(shape) <= 4
    assert all(1 <= side <= 4 for side in shape[:-1])


@given(testing.arrays(testing.shapes(3), dtype=testing.dtypes), st.data())
def test_arrays_have_the_drawn_shape_and_dtype(x, data):
    assert x.shape[-1] == 3
    assert x.dtype in (np.float32, np.float64)
    assert data.draw(testing.arrays((2, 2), np.float32)).dtype == np.float32


@settings(max_examples=20)
@given(testing.layers())
def test_a_drawn_layer_runs_and_its_gradients_are_right(drawn):
    layer, inputs = drawn
    assert isinstance(layer, Layer)
    testing.assert_gradients_correct(layer, *inputs, methods=["complex"], max_coordinates=5)


def test_without_hypothesis_the_import_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "npgpt.testing")
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "hypothesis":
            raise ModuleNotFoundError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'npgpt\[test\]'"):
        importlib.import_module("npgpt.testing")
