"""Bugs that hand-written backward passes are known for: each must be found when it is put back."""

import numpy as np
import pytest

import npgpt
from npgpt import layers, ops
from npgpt.gradients import gradcheck
from npgpt.layers import Dropout, Embedding, Init, LayerNorm, MultiHeadAttention
from npgpt.models import GPT
from npgpt.ops import reference
from tests.layers.configs import block_config
from tests.mutations import mutated
from tests.strategies import normal


class Everything:
    """A listener that wants every array and changes none."""

    def wants(self, name):
        return True

    def on_activation(self, name, array):
        return array

    def on_gradient(self, name, array):
        return array


def repeated_ids_are_summed():
    layer = Embedding(3, 2, rng=0)
    layer.forward(np.array([[1, 1, 1, 0]]))
    layer.backward(np.ones((1, 4, 2), np.float32))
    np.testing.assert_array_equal(layer.weight.grad, [[1, 1], [3, 3], [0, 0]])


def test_repeated_token_ids_in_one_batch_sum_their_gradients(backend):
    repeated_ids_are_summed()


def test_repeated_token_ids_counted_once_are_noticed():
    scatter = ("np.add.at(dweight, token_ids, dy)", "dweight[token_ids] += dy")
    with mutated(reference.embedding_backward, *scatter), pytest.raises(AssertionError):
        repeated_ids_are_summed()


def tied_gradient_is_the_sum_of_both_uses():
    """The tied weight's gradient equals the two gradients of an untied twin, added."""
    shape = {"vocab_size": 7, "context_length": 4, "n_layers": 1, "n_heads": 1, "d_model": 4}
    tied = GPT(npgpt.GPTConfig(**shape), dtype=np.float64)
    untied = GPT(npgpt.GPTConfig(**shape, tie_embeddings=False), dtype=np.float64)
    untied.load_state_dict({**tied.state_dict(), "head.weight": tied.token_embedding.weight.value})
    ids = np.array([[1, 2, 2, 6]])
    for model in (tied, untied):
        model.loss(ids, ids)
        model.backward()
    lookup, head = untied.token_embedding.weight.grad, untied.head.weight.grad
    assert np.abs(lookup).max() > 1e-3
    assert np.abs(head).max() > 1e-3
    np.testing.assert_allclose(tied.token_embedding.weight.grad, lookup + head, atol=1e-15)


def test_tied_embedding_gets_both_gradients(backend):
    tied_gradient_is_the_sum_of_both_uses()


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        (layers.OutputHead.__init__, "self.weight = tied_to or", "self.weight ="),
        (GPT.backward_from_hidden, "self.token_embedding.backward(dx)", "pass"),
    ],
    ids=["the head is a copy", "no gradient of the lookup"],
)
def test_a_tied_embedding_without_both_gradients_is_noticed(function, old, new):
    with mutated(function, old, new), pytest.raises((AssertionError, ValueError)):
        tied_gradient_is_the_sum_of_both_uses()


def heads_gradients_add_up():
    """Whatever is in the gradient before stays in it, as the lookup's must."""
    head = layers.OutputHead(2, 3, rng=0)
    for _ in range(2):
        head.forward(np.ones((1, 2), np.float32))
        head.backward(np.ones((1, 3), np.float32))
    np.testing.assert_array_equal(head.weight.grad, np.full((3, 2), 2.0))


def test_a_heads_gradient_is_added_to_what_is_there(backend):
    heads_gradients_add_up()


def test_a_head_whose_gradient_overwrites_is_noticed():
    overwritten = "self.recall(); self.weight.grad = np.zeros_like(self.weight.value)"
    with (
        mutated(layers.OutputHead.backward, "self.recall()", overwritten),
        pytest.raises(AssertionError),
    ):
        heads_gradients_add_up()


def layer_norm_ignores_shift_and_scale_of_its_input():
    """The output does not change when a row is shifted or stretched, so dx has no such part."""
    x, dy = normal(0, (2, 5, 8), np.float64)
    layer = LayerNorm(8, eps=1e-14, dtype=np.float64)
    layer.gamma.value += normal(1, 8, np.float64)
    layer.forward(x)
    dx = layer.backward(dy)
    assert np.abs(dx).max() > 0.1
    np.testing.assert_allclose(dx.sum(axis=-1), 0.0, atol=1e-12)
    np.testing.assert_allclose((dx * x).sum(axis=-1), 0.0, atol=1e-12)
    gradcheck(layer, x).raise_if_failed()


def test_layer_norms_gradient_has_all_three_terms(backend):
    layer_norm_ignores_shift_and_scale_of_its_input()


@pytest.mark.parametrize("term", ["direct - ", " - through_mean", " - through_variance"])
def test_a_layer_norm_without_one_of_its_terms_is_noticed(term):
    dropped = "-" if term == "direct - " else ""
    with mutated(reference.layer_norm_backward, term, dropped), pytest.raises(AssertionError):
        layer_norm_ignores_shift_and_scale_of_its_input()


def softmax_gradient_sums_to_zero():
    """Weights must keep summing to 1, so score gradients of a row sum to 0; in both code paths."""
    layer = MultiHeadAttention(block_config(6, 2), Init(0, np.float64))
    x = normal(0, (2, 5, 6), np.float64, scale=3.0)
    gradcheck(layer, x).raise_if_failed()
    layer.listen(Everything())
    layer.forward(x)
    layer.backward(normal(1, x.shape, np.float64))
    scores = normal(2, (4, 7), np.float64)
    weights = reference.softmax_forward(scores)
    dscores = reference.softmax_backward(normal(3, (4, 7), np.float64), weights)
    np.testing.assert_allclose(dscores.sum(axis=-1), 0.0, atol=1e-14)


def test_softmax_uses_its_whole_jacobian(backend):
    softmax_gradient_sums_to_zero()


@pytest.mark.parametrize(
    ("function", "old"),
    [(reference.softmax_backward, " - shared"), (reference.attention_backward, " - shared")],
)
def test_a_softmax_with_the_jacobians_diagonal_alone_is_noticed(function, old):
    with mutated(function, old, ""), pytest.raises(AssertionError):
        softmax_gradient_sums_to_zero()


def dropout_keeps_the_mean_and_its_mask():
    layer = Dropout(0.25, seed=3)
    x = np.ones((200, 200))
    y = layer.forward(x)
    assert abs(y.mean() - 1.0) < 0.02
    np.testing.assert_array_equal(layer.backward(np.ones_like(x)), y)  # dy * mask = 1 * mask


def test_dropout_scales_by_one_over_the_kept_share(backend):
    dropout_keeps_the_mean_and_its_mask()


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        (reference.dropout_mask, "1.0 / (1.0 - p)", "1.0"),
        (reference.dropout_backward, "p, key,", "p, key._replace(step=key.step + 1),"),
        (Dropout.backward, "ops.dropout_backward(dy, p, key)", "dy"),
    ],
    ids=["no scale", "another mask in backward", "no mask in backward"],
)
def test_a_dropout_without_scale_or_with_another_mask_is_noticed(function, old, new):
    with mutated(function, old, new), pytest.raises(AssertionError):
        dropout_keeps_the_mean_and_its_mask()


def test_the_helper_refuses_a_fragment_that_is_not_there():
    with (
        pytest.raises(AssertionError, match="occurs 0 times"),
        mutated(reference.linear_backward, "no such code", ""),
    ):
        pass
    assert ops.backend() == "compiled"
