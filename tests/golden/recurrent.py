"""The recurrent and convolutional layers whose numbers are compared with PyTorch's."""

import itertools

import numpy as np

from npgpt.layers import GRU, LSTM, RNN, CausalConv1d
from tests.strategies import normal

D_IN, D_HIDDEN, BATCH, TIME = 3, 4, 3, 5
LENGTHS = np.array([5, 2, 3])

KINDS = {
    "rnn_tanh": (RNN, {"nonlinearity": "tanh"}),
    "rnn_relu": (RNN, {"nonlinearity": "relu"}),
    "gru": (GRU, {}),
    "lstm": (LSTM, {}),
}
# name -> class, its choices, whether there are lengths
RECURRENT = {
    f"{name}_{n_layers}_{'both' if both else 'one'}{'' if bias else '_no_bias'}{'_packed' * packed}": (
        kind, {**more, "n_layers": n_layers, "bidirectional": both, "bias": bias}, packed,
    )
    for (name, (kind, more)), n_layers, both, bias, packed in itertools.product(
        KINDS.items(), (1, 2, 3), (False, True), (True, False), (False, True)
    )
}  # fmt: skip
GOLDEN = ["rnn_relu_1_one", "rnn_tanh_2_both_packed", "gru_2_both_packed", "lstm_2_both_packed",
          "lstm_1_one_no_bias"]  # fmt: skip
CONVOLUTIONS = list(itertools.product((1, 2, 3), (1, 2, 4)))  # kernel, dilation


def shaken(layer):
    """Move the parameters away from where they start."""
    for i, parameter in enumerate(layer.parameters()):
        parameter.value += normal(i, parameter.shape, np.float64, scale=0.3)
    return layer


def recurrent(name):
    """Return a layer, its input, first states, lengths, and gradients of its outputs."""
    kind, choices, packed = RECURRENT[name]
    layer = shaken(kind(D_IN, D_HIDDEN, rng=0, dtype=np.float64, **choices))
    shape = (layer.n_layers * layer.num_directions, BATCH, D_HIDDEN)
    x = normal(1, (BATCH, TIME, D_IN), np.float64)
    state, dafter = normal(2, (2, layer.STATES, *shape), np.float64)
    dy = normal(3, (BATCH, TIME, layer.num_directions * D_HIDDEN), np.float64)
    return layer, x, tuple(state), LENGTHS if packed else None, dy, tuple(dafter)


def convolution(kernel, dilation):
    """Return a layer, its input and the gradient of its output."""
    layer = shaken(CausalConv1d(D_IN, D_HIDDEN, kernel, dilation, rng=0, dtype=np.float64))
    x, dy = normal(1, (BATCH, 7, D_IN), np.float64), normal(2, (BATCH, 7, D_HIDDEN), np.float64)
    return layer, x, dy


def results_of(layer, x, state, lengths, dy, dafter):
    """Map names to all that a recurrent layer returns and adds."""
    y, after = layer.forward(x, state, lengths)
    dx, dbefore = layer.backward(dy, dafter)
    results = {"y": y, "dx": dx}
    for i, (states, gradient) in enumerate(zip(after, dbefore, strict=True)):
        results |= {f"state.{i}": states, f"dstate.{i}": gradient}
    return results | {f"grad.{name}": p.grad for name, p in layer.named_parameters()}
