"""RNN, GRU, LSTM and causal convolution against PyTorch's layers, in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the parity tests need the extra 'reference'")

import safetensors.numpy as safetensors_numpy  # noqa: E402
import safetensors.torch as safetensors_torch  # noqa: E402

from npgpt.layers import GatedConv1d  # noqa: E402
from tests.golden.recurrent import (  # noqa: E402
    CONVOLUTIONS,
    RECURRENT,
    convolution,
    recurrent,
    results_of,
    shaken,
)
from tests.parity.test_parity import close, leaf  # noqa: E402
from tests.parity.torch_recurrent import torch_results, twin_of  # noqa: E402

F = torch.nn.functional


@pytest.mark.parametrize("name", RECURRENT)
def test_outputs_states_and_every_gradient(name, backend):
    example = recurrent(name)
    ours, theirs = results_of(*example), torch_results(*example)
    assert list(ours) == list(theirs)
    for key, array in theirs.items():
        scale = max(1.0, np.abs(array).max())
        np.testing.assert_allclose(ours[key], array, rtol=0, atol=1e-10 * scale, err_msg=key)


@pytest.mark.parametrize("name", ["rnn_tanh_2_both", "gru_3_both_no_bias", "lstm_2_both"])
def test_names_and_shapes_of_the_parameters_are_pytorchs(name):
    layer, *_ = recurrent(name)
    theirs = {key: tuple(value.shape) for key, value in twin_of(layer).named_parameters()}
    assert {key: value.shape for key, value in layer.state_dict().items()} == theirs
    assert list(layer.state_dict()) == list(theirs)


def torch_convolution(x, weight, bias, dilation):
    padded = F.pad(x.transpose(1, 2), ((weight.shape[2] - 1) * dilation, 0))
    return F.conv1d(padded, weight, bias, dilation=dilation).transpose(1, 2)


@pytest.mark.parametrize(("kernel", "dilation"), CONVOLUTIONS)
def test_causal_convolution_is_conv1d_with_zeros_on_the_left(kernel, dilation, backend):
    layer, x, dy = convolution(kernel, dilation)
    t, weight, bias = leaf(x), leaf(layer.weight.value), leaf(layer.bias.value)
    y = torch_convolution(t, weight, bias, dilation)
    y.backward(torch.from_numpy(dy))
    close(layer.forward(x), y)
    close(layer.backward(dy), t.grad)
    close(layer.weight.grad, weight.grad)
    close(layer.bias.grad, bias.grad)


def test_the_gated_linear_unit_is_glu(backend):
    layer = shaken(GatedConv1d(3, 4, 2, 2, rng=0, dtype=np.float64))
    _, x, dy = convolution(2, 2)
    t, weight, bias = leaf(x), leaf(layer.conv.weight.value), leaf(layer.conv.bias.value)
    y = F.glu(torch_convolution(t, weight, bias, 2), dim=-1)
    y.backward(torch.from_numpy(dy))
    close(layer.forward(x), y)
    close(layer.backward(dy), t.grad)
    close(layer.conv.weight.grad, weight.grad)
    close(layer.conv.bias.grad, bias.grad)


@pytest.mark.parametrize("name", ["rnn_relu_1_one", "gru_2_both", "lstm_2_both"])
def test_weights_go_to_pytorch_and_back_as_files_by_their_names(name, tmp_path):
    layer, *example = recurrent(name)
    twin, other = twin_of(layer), twin_of(layer)
    safetensors_torch.save_file(twin.state_dict(), tmp_path / "theirs.safetensors")
    layer.load_state_dict(safetensors_numpy.load_file(tmp_path / "theirs.safetensors"))
    safetensors_numpy.save_file(layer.state_dict(), tmp_path / "ours.safetensors")
    other.load_state_dict(safetensors_torch.load_file(tmp_path / "ours.safetensors"))
    x = example[0]
    ours, _ = layer.forward(x)
    for theirs in (twin, other):
        close(ours, theirs(torch.from_numpy(x))[0])
