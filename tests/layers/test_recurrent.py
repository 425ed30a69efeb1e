"""What recurrent and convolutional layers promise beside right gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npgpt
from npgpt import layers, ops
from npgpt.gradients import gradcheck, record
from npgpt.gradients.suite import WithStates
from npgpt.layers import GRU, LSTM, RNN, Init
from npgpt.testing import dtypes
from tests.layers.listeners import AllEars
from tests.strategies import backends, normal, seeds

KINDS = [RNN, GRU, LSTM]
D_IN, D_HIDDEN, BATCH, TIME = 3, 5, 4, 6

kinds = st.sampled_from(KINDS)


def make(kind, n_layers=2, bidirectional=False, dropout=0.0, dtype=np.float64, **choices):
    layer = kind(D_IN, D_HIDDEN, n_layers, bidirectional, dropout, 0, dtype, **choices)
    for i, parameter in enumerate(layer.parameters()):
        parameter.value += normal(i, parameter.shape, dtype, scale=0.3)
    return layer


def state_of(layer, batch=BATCH, seed=1):
    shape = (layer.n_layers * layer.num_directions, batch, layer.d_hidden)
    return tuple(normal(seed + i, shape, np.float64) for i in range(layer.STATES))


def gradients(layer):
    return [parameter.grad.copy() for parameter in layer.parameters()]


X = normal(7, (BATCH, TIME, D_IN), np.float64)


def assert_all_close(ours, theirs, atol=1e-12):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


# --- padding --------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(
    kinds, st.booleans(), st.lists(st.integers(0, TIME), min_size=1, max_size=4), seeds, backends
)
def test_each_sequence_of_a_batch_is_read_as_it_is_alone(kind, both, lengths, seed, backend):
    """Outputs, states and gradients are those of the sequences cut to their lengths."""
    layer = make(kind, bidirectional=both)
    batch = len(lengths)
    x, state = normal(seed, (batch, TIME, D_IN), np.float64), state_of(layer, batch)
    with ops.use(backend):
        y, after = layer.forward(x, state, lengths)
        dy = normal(seed + 1, y.shape, np.float64)
        dafter = state_of(layer, batch, seed=9)
        dx, dbefore = layer.backward(dy, dafter)
        together = gradients(layer)
        layer.zero_grad()
        for i, length in enumerate(lengths):
            one, rest = slice(i, i + 1), slice(length, None)
            y_i, after_i = layer.forward(x[one, :length], tuple(s[:, one] for s in state))
            assert_all_close([y[one, :length], *(s[:, one] for s in after)], [y_i, *after_i])
            dx_i, dbefore_i = layer.backward(dy[one, :length], tuple(s[:, one] for s in dafter))
            assert_all_close([dx[one, :length], *(s[:, one] for s in dbefore)], [dx_i, *dbefore_i])
            assert not y[i, rest].any()
            assert not dx[i, rest].any()
    assert_all_close(together, gradients(layer))


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_in_padding_changes_nothing(kind, backend):
    layer, lengths = make(kind, bidirectional=True), [TIME, 2, 0, 1]
    y, after = layer.forward(X, None, lengths)
    dy = normal(1, y.shape, np.float64)
    dx, _ = layer.backward(dy)
    expected = gradients(layer)
    x, garbage = X.copy(), dy.copy()
    for row, length in enumerate(lengths):
        x[row, length:], garbage[row, length:] = 99.0, -99.0
    layer.zero_grad()
    for ours, theirs in zip(
        (y, *after), (lambda r: (r[0], *r[1]))(layer.forward(x, None, lengths)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(layer.backward(garbage)[0], dx)
    assert_all_close(gradients(layer), expected, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_of_length_0_hands_its_state_on(kind, backend):
    layer = make(kind, bidirectional=True)
    state, dafter = state_of(layer), state_of(layer, seed=5)
    y, after = layer.forward(X, state, [0] * BATCH)
    dx, dbefore = layer.backward(np.ones_like(y), dafter)
    # the layer above reads nothing either
    for ours, theirs in zip((*after, *dbefore), (*state, *dafter), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not y.any()
    assert not dx.any()
    assert not any(gradient.any() for gradient in gradients(layer))


@pytest.mark.parametrize(("batch", "time"), [(1, TIME), (BATCH, 1), (1, 1), (0, TIME), (BATCH, 0)])
@pytest.mark.parametrize("kind", KINDS)
def test_small_batches_and_times(kind, batch, time, backend):
    layer = make(kind, bidirectional=True)
    y, after = layer.forward(X[:batch, :time])
    assert y.shape == (batch, time, 2 * D_HIDDEN)
    assert [s.shape for s in after] == [(4, batch, D_HIDDEN)] * layer.STATES
    dx, dbefore = layer.backward(np.ones_like(y))
    assert dx.shape == (batch, time, D_IN)
    assert [s.shape for s in dbefore] == [(4, batch, D_HIDDEN)] * layer.STATES


# --- states and repeated use ----------------------------------------------------------------------


@settings(max_examples=20)
@given(kinds, st.integers(1, 3), st.integers(0, TIME), seeds, backends)
def test_a_sequence_may_be_read_in_pieces(kind, n_layers, cut, seed, backend):
    """The state goes on, and its gradient goes back: as if the sequence were read at once."""
    whole, pieces = make(kind, n_layers), make(kind, n_layers)
    state, dafter = state_of(whole), state_of(whole, seed=4)
    dy = normal(seed, (BATCH, TIME, D_HIDDEN), np.float64)
    with ops.use(backend):
        y, after = whole.forward(X, state)
        dx, dbefore = whole.backward(dy, dafter)
        with pieces.unrolled():
            y_first, between = pieces.forward(X[:, :cut], state)
            y_second, end = pieces.forward(X[:, cut:], between)
        dx_second, dbetween = pieces.backward(dy[:, cut:], dafter)
        dx_first, dbegin = pieces.backward(dy[:, :cut], dbetween)
    assert_all_close([np.concatenate([y_first, y_second], axis=1), *end], [y, *after])
    assert_all_close([np.concatenate([dx_first, dx_second], axis=1), *dbegin], [dx, *dbefore])
    assert_all_close(gradients(pieces), gradients(whole))


@pytest.mark.parametrize("kind", KINDS)
def test_several_places_may_share_a_layer(kind, backend):
    class Twice(layers.Layer):
        """The layer reads its own outputs; the last states go on."""

        UNNAMED = ("inner",)

        def __init__(self):
            super().__init__()
            self.inner = kind(D_IN, D_IN, 2, dropout=0.3, rng=0, dtype=np.float64)

        def forward(self, x):
            """Read twice."""
            with self.inner.unrolled():
                y, state = self.inner.forward(x)
                return self.inner.forward(y, state)[0]

        def backward(self, dy):
            """Undo both."""
            dy, dstate = self.inner.backward(dy)
            return self.inner.backward(dy, dstate)[0]

    layer, x = Twice(), X[:2, :3]
    dy = normal(2, x.shape, np.float64)
    layer.forward(x)
    layer.backward(dy)
    step, base = 1e-6, gradients(layer)
    for parameter, gradient in zip(layer.parameters(), base, strict=True):
        direction = normal(3, parameter.shape, np.float64)
        sides = []
        for sign in (1, -1):
            parameter.value += sign * step * direction
            for dropout in layer.inner.dropouts:
                dropout.step = 0  # the same masks
            sides.append((layer.forward(x) * dy).sum())
            parameter.value -= sign * step * direction
        numeric = (sides[0] - sides[1]) / (2 * step)
        assert numeric == pytest.approx((gradient * direction).sum(), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_states_and_gradients_are_the_callers_to_keep(kind, backend):
    layer = make(kind, 1)
    y, after = layer.forward(X)
    dx, dbefore = layer.backward(np.ones_like(y))
    kept = [array.copy() for array in (y, *after, dx, *dbefore)]
    layer.forward(2 * X)
    layer.backward(3 * np.ones_like(y))
    for ours, theirs in zip((y, *after, dx, *dbefore), kept, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    expected = layer.forward(X)[0]
    dx, _ = layer.backward(np.ones_like(y))
    layer.forward(X)[0][...] = np.nan  # what the caller does with them is not the layer's concern
    np.testing.assert_array_equal(layer.backward(np.ones_like(y))[0], dx)
    np.testing.assert_array_equal(layer.forward(X)[0], expected)


# --- threads, dtypes ------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    kinds, st.integers(1, 40), st.integers(1, 9), st.integers(1, 150), st.integers(1, 150), seeds,
    dtypes,
)  # fmt: skip
def test_a_result_does_not_depend_on_the_number_of_threads(
    kind, batch, time, d_in, d_hidden, seed, dtype
):
    import numba

    x = normal(seed, (batch, time, d_in), dtype)
    results, available = [], numba.get_num_threads()
    try:
        for threads in {1, available, min(2, numba.config.NUMBA_NUM_THREADS)}:
            numba.set_num_threads(threads)
            layer = kind(d_in, d_hidden, rng=0, dtype=dtype)
            y, _ = layer.forward(x)
            dx, _ = layer.backward(y)
            results.append([y, dx, *gradients(layer)])
    finally:
        numba.set_num_threads(available)
    for others in results[1:]:
        for one, several in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(one, several)


@pytest.mark.parametrize("kind", KINDS)
def test_nan_goes_through(kind, backend):
    layer, x = make(kind, 1, dtype=np.float32), X.astype(np.float32)
    x[1, 2, 0] = np.nan
    y, _ = layer.forward(x)
    assert np.isnan(y[1, 2:]).all()
    assert not np.isnan(y[[0, 2, 3]]).any()
    assert not np.isnan(y[1, :2]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_large_sums_saturate(kind, backend):
    layer = make(kind, 1, dtype=np.float32)
    with np.errstate(over="ignore"):
        y, _ = layer.forward(1e4 * X.astype(np.float32))
    assert (np.abs(y) <= 1.0).all()


# --- taps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_gates_and_states_are_recorded_over_time(kind, backend):
    layer = make(kind, bidirectional=True)
    with record(layer) as tape:
        y, _ = layer.forward(X, None, [TIME, 2, 0, 3])
        layer.backward(np.ones_like(y))
    names = [
        f"{tap}_l{i}{end}" for i in (0, 1) for end in ("", "_reverse") for tap in kind.STEP_TAPS
    ]
    assert list(layer.tap_names()) == list(tape) == [*names, "output"]
    for name in names:
        assert tape[name].value.shape == tape[name].grad.shape == (BATCH, TIME, D_HIDDEN)
    np.testing.assert_array_equal(tape["output"].value, y)
    last = tape["hidden_l1"].value, tape["hidden_l1_reverse"].value
    np.testing.assert_array_equal(np.concatenate(last, axis=-1)[0], y[0])
    for name in names:
        if "gate" in name:
            assert (tape[name].value[1, 2:] == 0).all()


def test_a_gate_that_is_edited_changes_the_steps_after_it():
    layer = make(LSTM, 1)
    y, _ = layer.forward(X)

    def closed(gate):
        gate[:, 2] = 0.0
        return gate

    with layer.edit("forget_gate_l0", forward=closed), layer.edit("input_gate_l0", forward=closed):
        edited, _ = layer.forward(X)
    np.testing.assert_allclose(edited[:, :2], y[:, :2], atol=1e-12)
    np.testing.assert_allclose(edited[:, 2], 0.0)  # an empty cell
    assert (np.abs(edited[:, 3:] - y[:, 3:]).max(axis=(0, 1)) > 1e-3).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_that_is_edited_changes_the_steps_before_it(kind):
    layer = make(kind, 1)
    dy = np.zeros((BATCH, TIME, D_HIDDEN))
    dy[:, -1] = 1.0

    def cut(gradient):
        gradient[:, 3] = 0.0
        return gradient

    layer.forward(X)
    dx, _ = layer.backward(dy)
    assert dx[:, :3].any()
    with layer.edit("hidden_l0", backward=cut):
        layer.forward(X)
        dx_cut, dstate = layer.backward(dy)
    np.testing.assert_allclose(dx_cut[:, 4:], dx[:, 4:], atol=1e-12)
    if kind is LSTM:
        assert dx_cut[:, :3].any()  # the cell's own way is left
    else:
        assert not dx_cut[:, :4].any()
        assert not dstate[0].any()


def test_nobody_listening_costs_no_steps(monkeypatch):
    layer = make(LSTM)
    layer.listen(AllEars())
    listened, _ = layer.forward(X)
    layer.listen(None)
    monkeypatch.setattr(ops.reference, "lstm_forward", None)
    np.testing.assert_allclose(layer.forward(X)[0], listened, atol=1e-12)


# --- how they are made ----------------------------------------------------------------------------


def test_parameters_have_the_names_and_shapes_of_pytorch():
    layer = LSTM(3, 5, 2, bidirectional=True, rng=0)
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    expected = [f"{n}_l{i}{end}" for i in (0, 1) for end in ("", "_reverse") for n in names]
    assert list(layer.state_dict()) == expected
    assert layer.weight_ih_l0.shape == (20, 3)
    assert layer.weight_ih_l1_reverse.shape == (20, 10)
    assert layer.weight_hh_l1.shape == (20, 5)
    assert list(GRU(3, 5, bias=False).state_dict()) == ["weight_ih_l0", "weight_hh_l0"]


@pytest.mark.parametrize("forget_bias", [0.0, 1.0, 2.5])
def test_the_forget_gates_bias_is_what_was_asked_for(forget_bias):
    layer = LSTM(3, 5, 2, True, rng=0, forget_bias=forget_bias)
    for name, parameter in layer.named_parameters():
        if name.startswith("bias"):
            expected = np.zeros((4, 5))
            expected[1] = forget_bias if name.startswith("bias_ih") else 0.0
            np.testing.assert_array_equal(parameter.value, expected.reshape(-1))
    assert LSTM(2, 2).bias_ih_l0.value[2] == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_initial_weights_depend_on_the_seed_and_not_on_the_dtype(kind):
    single, double, other = (
        kind(3, 50, rng=1),
        kind(3, 50, rng=1, dtype=np.float64),
        kind(3, 50, rng=2),
    )
    for ours, theirs in zip(single.parameters(), double.parameters(), strict=True):
        np.testing.assert_array_equal(ours.value, theirs.value.astype(np.float32))
    assert (single.weight_hh_l0.value != other.weight_hh_l0.value).any()
    assert 0.9 / np.sqrt(50) < np.abs(double.weight_hh_l0.value).max() <= 1 / np.sqrt(50)


def test_a_model_hands_out_weights_and_dropout_streams():
    init = Init(3, np.float64)
    first, second = (LSTM(3, 3, 3, dropout=0.5, init=init) for _ in range(2))
    streams = [dropout.stream for layer in (first, second) for dropout in layer.dropouts]
    assert streams == [0, 1, 2, 3]
    assert {dropout.seed for dropout in first.dropouts} == {3}
    assert first.weight_ih_l0.value.dtype == np.float64
    assert (first.weight_ih_l0.value != second.weight_ih_l0.value).any()
    assert not LSTM(3, 400, init=Init(fill=False)).weight_ih_l0.value.any()


def test_dropout_acts_between_layers_and_only_in_training(backend):
    layer = make(GRU, 2, dropout=0.5)
    assert not np.array_equal(layer.forward(X)[0], layer.forward(X)[0])
    layer.eval()
    np.testing.assert_array_equal(layer.forward(X)[0], make(GRU, 2).forward(X)[0])
    alone = make(GRU, 1, dropout=0.5)
    np.testing.assert_array_equal(alone.forward(X)[0], alone.forward(X)[0])


ERRORS = [
    (lambda: LSTM(0, 3), "LSTM: d_in must be at least 1, got 0"),
    (lambda: GRU(3, 3, n_layers=0), "GRU: n_layers must be at least 1, got 0"),
    (lambda: RNN(3, 3, nonlinearity="gelu"), "RNN: nonlinearity must be one of tanh, relu, got 'gelu'"),
    (lambda: LSTM(3, 3, 2, dropout=1.0), "LSTM: dropout must be at least 0 and below 1, got 1.0"),
    (lambda: RNN(3, 3, dropout=-0.5), "RNN: dropout must be at least 0 and below 1, got -0.5"),
    (lambda: make(LSTM).forward(X[0]), r"LSTM: expected an input of shape \(batch, time, 3\), got \(6, 3\)"),
    (lambda: make(RNN).forward(X[..., :2]), r"got \(4, 6, 2\)"),
    (lambda: make(LSTM).forward(X, state_of(make(GRU))), r"2 arrays of shape \(2, 4, 5\).* got \[\(2, 4, 5\)\]"),
    (lambda: make(GRU).forward(X, state_of(make(GRU, 1))), r"one array of shape \(2, 4, 5\).* got \[\(1, 4, 5\)\]"),
    (lambda: make(GRU).forward(X, state_of(make(GRU))[0]), r"one array .* in a tuple, got \[\(4, 5\), \(4, 5\)\]"),
    (lambda: make(GRU).forward(X, None, [1, 2]), r"expected lengths of shape \(4,\)"),
    (lambda: make(GRU).forward(X, None, [1.0] * 4), "whole numbers, got float64"),
    (lambda: make(GRU).forward(X, None, [1, 2, 7, 0]), r"from 0 to the time, 6, got \[1, 2, 7, 0\]"),
    (lambda: make(GRU).forward(X, None, [1, 2, -1, 0]), r"from 0 to the time, 6"),
]  # fmt: skip


@pytest.mark.parametrize(("attempt", "message"), ERRORS)
def test_what_does_not_fit_is_refused_with_what_came_and_what_was_expected(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()


def test_a_repr_says_how_many_layers_and_directions_there_are():
    assert repr(LSTM(3, 4, 2, True)).splitlines()[1].strip() == (
        "d_in=3, d_hidden=4, n_layers=2, bidirectional=True"
    )


def test_a_gradient_of_a_state_that_does_not_fit_is_refused():
    layer = make(LSTM)
    y, _ = layer.forward(X)
    with pytest.raises(ValueError, match=r"LSTM: backward expected dstate of 2 arrays of shape"):
        layer.backward(y, (y,))


def test_a_wrong_gradient_of_a_state_is_noticed():
    class Detached(LSTM):
        def backward(self, dy, dstate=None):
            """Forget what reaches the last states."""
            return super().backward(dy)

    layer = Detached(3, 4, rng=0)
    report = gradcheck(WithStates(layer), X, method="complex")
    assert not report.passed
    assert npgpt.gradcheck(WithStates(LSTM(3, 4, rng=0)), X, method="complex").passed
