"""Hessian and Gauss-Newton products, eigenvalues, the loss along lines."""

import sys

import numpy as np
import pytest

from npgpt.gradients.curvature import (
    GaussNewton,
    Hessian,
    flat_weights,
    loss_along,
    set_flat_weights,
)
from npgpt.models import GPTConfig
from tests.models.tiny import batch_for, shaken_model

CONFIG = GPTConfig(vocab_size=5, context_length=4, n_layers=1, n_heads=2, d_model=4, d_ff=5)


@pytest.fixture(scope="module")
def model():
    return shaken_model(CONFIG)


def gradient_at(model, weights, inputs, targets):
    moved = shaken_model(CONFIG)
    set_flat_weights(moved, weights)
    moved.loss(inputs, targets)
    moved.backward()
    return np.concatenate([parameter.grad.ravel() for parameter in moved.parameters()])


def test_a_hessian_product_is_the_change_of_the_gradient(model):
    inputs, targets = batch_for(CONFIG)
    v = np.random.default_rng(0).standard_normal(model.num_parameters())
    h, theta = 1e-5, flat_weights(model)
    above, below = (gradient_at(model, theta + sign * h * v, inputs, targets) for sign in (1, -1))
    product = Hessian(model, inputs, targets) @ v
    np.testing.assert_allclose(product, (above - below) / (2 * h), atol=1e-7)


@pytest.mark.parametrize("matrix", [Hessian, GaussNewton])
def test_the_matrix_is_symmetric_to_rounding(model, matrix):
    dense = matrix(model, *batch_for(CONFIG)) @ np.eye(model.num_parameters())
    np.testing.assert_allclose(dense, dense.T, atol=1e-13)


def test_gauss_newton_is_made_of_the_jacobian_and_the_losss_own_hessian(model):
    inputs, targets = batch_for(CONFIG)
    n, size = CONFIG.vocab_size, model.num_parameters()
    theta, h = flat_weights(model), 1e-6
    jacobian = np.empty((inputs.size * n, size))
    moved = shaken_model(CONFIG)
    for i in range(size):
        values = []
        for sign in (1, -1):
            set_flat_weights(moved, theta + sign * h * np.eye(size)[i])
            values.append(moved.forward(inputs).ravel())
        jacobian[:, i] = (values[0] - values[1]) / (2 * h)
    logits = model.forward(inputs).reshape(-1, n)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = np.zeros((size, size))
    counted = np.flatnonzero(targets.ravel() != -100)
    for row in counted:
        j = jacobian[row * n : (row + 1) * n]
        expected += j.T @ (np.diag(p[row]) - np.outer(p[row], p[row])) @ j / len(counted)
    dense = GaussNewton(model, inputs, targets) @ np.eye(size)
    np.testing.assert_allclose(dense, expected, atol=1e-7)
    assert np.linalg.eigvalsh(dense).min() > -1e-12


def test_products_leave_the_model_as_it_is(model):
    before = flat_weights(model)
    Hessian(model, *batch_for(CONFIG)) @ np.ones(model.num_parameters())
    np.testing.assert_array_equal(flat_weights(model), before)


def test_lanczos_finds_the_dense_hessians_eigenvalues(model):
    pytest.importorskip("scipy")
    hessian = Hessian(model, *batch_for(CONFIG))
    exact = np.linalg.eigvalsh(hessian @ np.eye(model.num_parameters()))
    np.testing.assert_allclose(hessian.eigenvalues(3), exact[-3:], rtol=1e-9)
    np.testing.assert_allclose(hessian.eigenvalues(1, which="SA"), exact[:1], rtol=1e-9)


def test_without_scipy_eigenvalues_say_what_to_install(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse.linalg", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'npgpt\[lab\]'"):
        Hessian(model, *batch_for(CONFIG)).eigenvalues()


def test_a_vector_of_another_size_is_refused(model):
    with pytest.raises(ValueError, match=r"Hessian: a vector must have shape .* got \(3,\)"):
        Hessian(model, *batch_for(CONFIG)) @ np.ones(3)


def test_the_loss_in_a_plane_is_that_of_the_moved_model(model):
    inputs, targets = batch_for(CONFIG)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, model.num_parameters()))
    steps = np.array([-0.1, 0.0, 0.2])
    plane = loss_along(model, inputs, targets, [a, b], steps)
    line = loss_along(model, inputs, targets, [a], steps)
    np.testing.assert_allclose(plane[:, 1], line)
    assert plane[1, 1] == pytest.approx(float(model.loss(inputs, targets)))
    moved = shaken_model(CONFIG)
    set_flat_weights(moved, flat_weights(model) - 0.1 * a + 0.2 * b)
    assert plane[0, 2] == pytest.approx(float(moved.loss(inputs, targets)))
    with pytest.raises(ValueError, match="1 or 2 directions, got 3"):
        loss_along(model, inputs, targets, [a, a, a], steps)
