"""Encoders and decoders with padding against PyTorch's own, in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the parity tests need the extra 'reference'")

from npgpt import layers  # noqa: E402
from npgpt.layers import Init  # noqa: E402
from npgpt.ops import Mask  # noqa: E402
from tests.layers.configs import block_config  # noqa: E402
from tests.parity.test_parity import close, leaf  # noqa: E402
from tests.strategies import normal  # noqa: E402

nn = torch.nn
D_MODEL, N_HEADS, D_FF, TIME, KEYS = 12, 3, 20, 6, 5
LENGTHS, KEY_LENGTHS = np.array([6, 3, 1]), np.array([2, 5, 4])
ACTIVATIONS = {"relu": "relu", "gelu_exact": "gelu"}
norm_positions = pytest.mark.parametrize("norm_position", ["pre", "post"])


def linear_pairs(ours, theirs):
    return {f"{ours}.weight": theirs.weight, f"{ours}.bias": theirs.bias}


def norm_pairs(ours, theirs):
    return {f"{ours}.gamma": theirs.weight, f"{ours}.beta": theirs.bias}


def encoder_pairs(layer):
    """Map our names of a block to a TransformerEncoderLayer's parameters."""
    attention = layer.self_attn
    return {
        "attention.qkv.weight": attention.in_proj_weight,
        "attention.qkv.bias": attention.in_proj_bias,
        **linear_pairs("attention.projection", attention.out_proj),
        **norm_pairs("attention_norm", layer.norm1),
        **linear_pairs("feed_forward.up", layer.linear1),
        **linear_pairs("feed_forward.down", layer.linear2),
        **norm_pairs("feed_forward_norm", layer.norm2),
    }


def decoder_pairs(layer):
    """Map our names of a decoder's block; those of one tensor are parts of it, one below another."""
    cross = layer.multihead_attn
    return {
        **encoder_pairs(layer),
        ("cross_attention.q.weight", "cross_attention.kv.weight"): cross.in_proj_weight,
        ("cross_attention.q.bias", "cross_attention.kv.bias"): cross.in_proj_bias,
        **linear_pairs("cross_attention.projection", cross.out_proj),
        **norm_pairs("cross_attention_norm", layer.norm2),
        **norm_pairs("feed_forward_norm", layer.norm3),
    }


def stack_pairs(theirs, pairs):
    """Map our names of a stack to those of an nn.TransformerEncoder or nn.TransformerDecoder."""
    named = {}
    for i, layer in enumerate(theirs.layers):
        for names, tensor in pairs(layer).items():
            names = names if isinstance(names, tuple) else (names,)
            named[tuple(f"blocks.{i}.{name}" for name in names)] = tensor
    if theirs.norm is not None:
        named |= norm_pairs("final_norm", theirs.norm)
    return named


class Twins:
    """A layer of ours and one of PyTorch's with the same random parameters."""

    def __init__(self, ours, theirs, pairs):
        self.ours, self.theirs = ours, theirs
        self.pairs = {n if isinstance(n, tuple) else (n,): t for n, t in pairs.items()}
        self.parameters = dict(ours.named_parameters())
        assert {name for names in self.pairs for name in names} == set(self.parameters)
        assert len(self.pairs) == len(list(theirs.parameters()))
        for i, parameter in enumerate(self.parameters.values()):
            parameter.value += normal(i, parameter.shape, np.float64, 0.3)
        with torch.no_grad():
            for names, tensor in self.pairs.items():
                values = [self.parameters[name].value for name in names]
                tensor.copy_(torch.from_numpy(np.concatenate(values)))

    def compare_gradients(self):
        for names, tensor in self.pairs.items():
            close(np.concatenate([self.parameters[name].grad for name in names]), tensor.grad)


def config_for(norm_position, activation, n_layers=1, causal=True):
    return block_config(
        D_MODEL, N_HEADS, causal, n_layers=n_layers, d_ff=D_FF, activation=activation,
        norm_position=norm_position,
    )  # fmt: skip


def torch_layer(kind, norm_position, activation):
    return kind(
        D_MODEL, N_HEADS, D_FF, 0.0, ACTIVATIONS[activation], batch_first=True,
        norm_first=norm_position == "pre", dtype=torch.float64,
    )  # fmt: skip


def padding(lengths, time):
    return torch.from_numpy(np.arange(time) >= lengths[:, None])


def future(time):
    return torch.triu(torch.ones(time, time, dtype=torch.bool), 1)


def decoder_arrays():
    x, dy = normal(90, (2, 3, TIME, D_MODEL), np.float64)
    return x, normal(91, (3, KEYS, D_MODEL), np.float64), dy


@pytest.mark.parametrize("activation", ACTIVATIONS)
@norm_positions
def test_a_block_of_a_decoder_is_nn_transformer_decoder_layer(norm_position, activation, backend):
    ours = layers.TransformerBlock(
        config_for(norm_position, activation), Init(0, np.float64), cross=True
    )
    theirs = torch_layer(nn.TransformerDecoderLayer, norm_position, activation)
    twins = Twins(ours, theirs, decoder_pairs(theirs))
    x, memory, dy = decoder_arrays()
    t, m = leaf(x), leaf(memory)
    y = theirs(
        t, m, tgt_mask=future(TIME), tgt_key_padding_mask=padding(LENGTHS, TIME),
        memory_key_padding_mask=padding(KEY_LENGTHS, KEYS),
    )  # fmt: skip
    y.backward(torch.from_numpy(dy))
    masks = Mask(True, lengths=LENGTHS), Mask(False, lengths=KEY_LENGTHS)
    close(ours.forward(x, memory, *masks), y)
    dx, dmemory = ours.backward(dy)
    close(dx, t.grad)
    close(dmemory, m.grad)
    twins.compare_gradients()


@norm_positions
def test_without_padding_nothing_need_be_said_of_masks(norm_position, backend):
    ours = layers.TransformerBlock(
        config_for(norm_position, "relu"), Init(0, np.float64), cross=True
    )
    theirs = torch_layer(nn.TransformerDecoderLayer, norm_position, "relu")
    Twins(ours, theirs, decoder_pairs(theirs))
    x, memory, _ = decoder_arrays()
    y = theirs(torch.from_numpy(x), torch.from_numpy(memory), tgt_mask=future(TIME))
    close(ours.forward(x, memory), y)


def torch_encoder(norm_position, activation):
    norm = nn.LayerNorm(D_MODEL, dtype=torch.float64) if norm_position == "pre" else None
    layer = torch_layer(nn.TransformerEncoderLayer, norm_position, activation)
    return nn.TransformerEncoder(layer, 2, norm, enable_nested_tensor=False)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@norm_positions
def test_a_stack_that_reads_both_ways_is_nn_transformer_encoder(norm_position, activation, backend):
    config = config_for(norm_position, activation, n_layers=2, causal=False)
    ours = layers.Stack(config, Init(0, np.float64))
    theirs = torch_encoder(norm_position, activation)
    twins = Twins(ours, theirs, stack_pairs(theirs, encoder_pairs))
    x, _, dy = decoder_arrays()
    t = leaf(x)
    y = theirs(t, src_key_padding_mask=padding(LENGTHS, TIME))
    y.backward(torch.from_numpy(dy))
    close(ours.forward(x, mask=Mask(False, lengths=LENGTHS)), y)
    close(ours.backward(dy), t.grad)
    twins.compare_gradients()


@norm_positions
def test_an_encoder_and_a_decoder_are_pytorchs(norm_position, backend):
    init, activation = Init(0, np.float64), "gelu_exact"
    encoder = layers.Stack(config_for(norm_position, activation, 2, causal=False), init)
    decoder = layers.Stack(config_for(norm_position, activation, 2), init, cross=True)
    their_encoder = torch_encoder(norm_position, activation)
    their_decoder = nn.TransformerDecoder(
        torch_layer(nn.TransformerDecoderLayer, norm_position, activation), 2,
        nn.LayerNorm(D_MODEL, dtype=torch.float64) if norm_position == "pre" else None,
    )  # fmt: skip
    both = [
        Twins(encoder, their_encoder, stack_pairs(their_encoder, encoder_pairs)),
        Twins(decoder, their_decoder, stack_pairs(their_decoder, decoder_pairs)),
    ]
    x, source, dy = decoder_arrays()
    t, s = leaf(x), leaf(source)
    padded = padding(KEY_LENGTHS, KEYS)
    memory = their_encoder(s, src_key_padding_mask=padded)
    y = their_decoder(
        t, memory, tgt_mask=future(TIME), tgt_key_padding_mask=padding(LENGTHS, TIME),
        memory_key_padding_mask=padded,
    )  # fmt: skip
    y.backward(torch.from_numpy(dy))
    there = Mask(False, lengths=KEY_LENGTHS)
    ours = encoder.forward(source, mask=there)
    close(decoder.forward(x, ours, Mask(True, lengths=LENGTHS), there), y)
    dx, dmemory = decoder.backward(dy)
    close(dx, t.grad)
    close(encoder.backward(dmemory), s.grad)
    for twins in both:
        twins.compare_gradients()
