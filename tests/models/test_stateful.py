"""Truncated backpropagation: a state that is carried from batch to batch, without its gradient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npgpt
from npgpt.data import DataLoader, TokenStreams
from npgpt.gradients.untouched import untouched
from npgpt.models import GPT, GPTConfig, StatefulModel
from tests.models.test_recurrent_and_convolutional import ids_of, make
from tests.strategies import backends, seeds

KINDS = ["rnn", "gru", "lstm"]


def pieces_of(text, lengths):
    """Cut inputs and targets of streams, (rows, time + 1), in pieces."""
    ends = np.cumsum(lengths)
    for begin, end in zip(ends - lengths, ends, strict=True):
        begins = np.full(len(text), begin == 0)
        yield text[:, begin:end], text[:, begin + 1 : end + 1], begins


def gradients(model):
    return {name: p.grad.copy() for name, p in model.named_parameters()}


texts = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@settings(max_examples=15)
@given(st.sampled_from(KINDS), texts, st.integers(1, 3), seeds, backends)
def test_pieces_one_after_another_are_the_whole_text(kind, lengths, rows, seed, backend):
    model, text = make(kind), ids_of(seed, rows, sum(lengths) + 1)
    with npgpt.ops.use(backend):
        losses = [float(model.loss(*piece)) for piece in pieces_of(text, lengths)]
        np.testing.assert_allclose(
            np.average(losses, weights=lengths), model.loss(text[:, :-1], text[:, 1:]), rtol=1e-12
        )
        held_out = [model.evaluation_loss(*piece) for piece in pieces_of(text, lengths)]
        np.testing.assert_allclose(held_out, losses, rtol=1e-12)


@settings(max_examples=15)
@given(st.sampled_from(KINDS), texts, seeds, backends)
def test_gradients_are_those_of_a_loop_that_hands_the_state_on(kind, lengths, seed, backend):
    model, by_hand, text = make(kind).train(), make(kind), ids_of(seed, 2, sum(lengths) + 1)
    state = None
    with npgpt.ops.use(backend):
        for inputs, targets, begins in pieces_of(text, lengths):
            model.loss_and_backward(inputs, targets, begins, dloss=0.5)
            x = by_hand.token_embedding.forward(inputs)
            y, state = by_hand.network.forward(x, state)
            by_hand.cross_entropy.forward(by_hand.head.forward(y), targets)
            dy = by_hand.head.backward(by_hand.cross_entropy.backward(0.5))
            dx, _ = by_hand.network.backward(dy)  # the gradient of the state is thrown away
            by_hand.token_embedding.backward(dx)
    for name, expected in gradients(by_hand).items():
        np.testing.assert_allclose(gradients(model)[name], expected, rtol=0, atol=1e-12)
    for ours, theirs in zip(model.carried_state().values(), state, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_something_is_cut_off(kind):
    whole, pieces, text = make(kind), make(kind), ids_of(0, 2, 9)
    whole.loss_and_backward(text[:, :-1], text[:, 1:])
    for piece in pieces_of(text, [4, 4]):
        pieces.loss_and_backward(*piece, dloss=0.5)
    kept, cut = gradients(whole)["network.weight_hh_l0"], gradients(pieces)["network.weight_hh_l0"]
    assert abs(kept - cut).max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_a_piece_is_right_with_the_state_held_fixed(kind):
    model = make(kind, n_layers=1, d_model=4).train()
    first, second = pieces_of(ids_of(0, 2, 9), [4, 4])
    model.loss(*first)
    model.carried_state()["h"][...] *= 3.0  # and not 0
    assert npgpt.gradcheck(model, *second, method="complex").passed


def test_rows_begin_and_go_on_each_for_itself():
    model, text = make("lstm"), ids_of(0, 2, 9)
    first, second = pieces_of(text, [4, 4])
    model.loss(*first)
    both = model.loss(second[0], second[1], np.array([True, False]))
    alone = model.loss(second[0][:1], second[1][:1])
    model.loss(*(array[1:] for array in first))
    after = model.loss(*(array[1:] for array in second))
    assert both == pytest.approx((alone + after) / 2, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_training_moves_the_state_of_training(kind):
    """Not an evaluation of streams or of windows, nor writing, nor a look at the model."""
    model, text = make(kind).train(), ids_of(0, 2, 13)
    first, second, third = pieces_of(text, [4, 4, 4])
    model.loss_and_backward(*first)
    before = {name: array.copy() for name, array in model.carried_state().items()}
    with model.evaluating():
        for piece in pieces_of(ids_of(1, 3, 9), [4, 4]):
            model.evaluation_loss(*piece)
    model.evaluation_loss(*second[:2])
    model.generate([1, 2], 5, seed=0)
    model.log_likelihood([1], [2, 3])
    with untouched(model):
        model.loss_and_backward(*third)
    assert model.carried_state().keys() == before.keys()
    for name, array in model.carried_state().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_state_goes_on(kind):
    model, other = make(kind), make(kind)
    first, second = pieces_of(ids_of(0, 2, 9), [4, 4])
    assert model.train().carried_state() == {}
    model.loss(*first)
    other.train().load_carried_state(model.carried_state())
    assert model.loss(*second) == other.loss(*second)
    other.load_carried_state({})
    with pytest.raises(ValueError, match="there was none before this batch of 2 rows"):
        other.loss(*second)


def test_a_batch_of_streams_goes_by_place_and_by_name():
    model = make("gru")
    batch = DataLoader(TokenStreams(ids_of(0, 50), 4, 6), 4)
    inputs, targets, begins = next(batch.forever())
    named = {"token_ids": inputs, "targets": targets, "begins": begins}
    assert model.loss(**named) == model.loss_and_backward(**named, dloss=0.5)
    assert model.num_targets(**named) == model.num_tokens(inputs, targets, begins) == 24
    assert isinstance(model, StatefulModel)


def state(*shapes):
    return {name: np.zeros(shape) for name, shape in zip("hc", shapes, strict=False)}


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda m, ids: m.loss(ids, ids, [True, True]), r"LSTMLM: expected begins of shape \(3,\)"),
        (lambda m, ids: m.loss(ids, ids, 0.5), r"begins of shape \(3,\), booleans, got float64"),
        (lambda m, ids: m.loss(ids, ids, [True, False, True]), "there was none before"),
        (
            lambda m, ids: (m.loss(ids[:2], ids[:2], [True] * 2), m.loss(ids, ids, [False] * 3)),
            "there was one of 2 rows before this batch of 3",
        ),
        (lambda m, ids: m.load_carried_state(state((2, 3, 8))), "expected a carried state of h, c"),
        (lambda m, ids: m.load_carried_state(state((2, 3, 8), (2, 3, 4))), "carried state"),
        (lambda m, ids: m.load_carried_state(state((2,), (2,))), "carried state"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt(make("lstm"), ids_of(0, 3, 4))


def test_a_model_without_a_state_refuses_one():
    model = GPT(GPTConfig(5, 4, n_layers=1, n_heads=1, d_model=4))
    model.load_carried_state(model.carried_state())
    with pytest.raises(ValueError, match="GPT carries no state, got one of h"):
        model.load_carried_state(state((1, 2, 4)))


def test_reading_a_text_after_a_batch_of_streams_moves_no_state():
    config = npgpt.models.GRUConfig(7, 4, n_layers=1, d_model=3)
    model, ids = npgpt.models.GRULM(config), np.arange(6).reshape(2, 3)
    model.loss(ids, ids, np.array([True, True]))
    before = model.carried_state()["h"].copy()
    model.forward(ids + 1)
    np.testing.assert_array_equal(model.carried_state()["h"], before)
    assert model.loss(ids, ids) == model.loss(ids, ids)  # each row a text of its own again
