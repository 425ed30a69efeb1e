"""Layers and models of every kind, with every choice that they have, drawn by Hypothesis."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from npgpt import layers as kinds
from npgpt.fields import option_of
from npgpt.gradients import SUITE
from npgpt.gradients.suite import (
    MaskedStep,
    Preference,
    TrainingStep,
    TwoSidedConfig,
    WithStates,
    shake,
)
from npgpt.layers import BlockConfig, Init, Layer
from npgpt.layers.rnn import NONLINEARITIES
from npgpt.layers.rungs.self_attention import MASKINGS, NORMALISATIONS
from npgpt.models import (
    GPT,
    Bert,
    BertConfig,
    BertForClassification,
    BertForTokenClassification,
    GPTConfig,
    GPTForClassification,
    Transformer,
    TransformerConfig,
)
from npgpt.models import MODELS as FAMILIES
from npgpt.ops import IGNORE_INDEX
from npgpt.testing.checks import dtypes, shapes

_seeds = st.integers(0, 2**32 - 1)
_sides = st.integers(1, 6)
_sequences = st.tuples(st.integers(1, 3), st.integers(1, 6))  # batch, time
_drop = st.sampled_from([0.0, 0.4])
_smoothings = st.sampled_from([0.0, 0.3])


@st.composite
def configs(draw, kind: type[BlockConfig] = BlockConfig, **fixed: Any) -> Any:
    """Draw a config of small blocks, with every choice that a config has.

    Parameters
    ----------
    kind : type
        A subclass of `npgpt.layers.BlockConfig`.
    **fixed
        Fields that are not drawn.
    """
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if option_of(field).choices:
            fields[field.name] = st.sampled_from(sorted(option_of(field).choices))
        elif isinstance(field.default, bool):
            fields[field.name] = st.booleans()
    group, kv_heads = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    fields["n_heads"] = st.just(group * kv_heads)
    fields["n_kv_heads"] = st.just(kv_heads) if group > 1 else st.sampled_from([None, kv_heads])
    # rotary positions turn pairs of features
    fields["d_model"] = st.just(group * kv_heads * draw(st.sampled_from([2, 4])))
    fields["n_layers"] = st.integers(1, 2)
    fields["d_ff"] = st.none() | st.integers(1, 9)
    fields["dropout"] = _drop
    fields["window"] = st.none() | st.integers(1, 7)
    fields["qkv_bias"] = st.sampled_from([None, True, False])
    # rows of few features, whose variance may be tiny, stay differentiable with a large eps
    fields["layer_norm_eps"] = st.just(1e-2)
    fields["rope_theta"] = st.sampled_from([50.0, 10000.0])
    fields["relative_attention_num_buckets"] = st.sampled_from([4, 6])
    fields["relative_attention_max_distance"] = st.sampled_from([6, 9])
    fields["vocab_size"] = st.integers(2, 7)
    fields["context_length"] = st.just(6)
    known = {field.name for field in dataclasses.fields(kind)}
    return kind(**{k: draw(v) for k, v in fields.items() if k in known and k not in fixed}, **fixed)


def _x(draw, rng, *last):
    """Draw rows, or sequences of them."""
    return rng.standard_normal(draw(shapes(*last, max_axes=2)))


def _ids(draw, rng, vocab_size):
    return rng.integers(0, vocab_size, draw(_sequences))


def _of_config(draw, rng, kind, *, cross=False, **more):
    """Draw a layer that a config decides, with a memory if it attends to one."""
    config = draw(configs(draw(st.sampled_from([BlockConfig, TwoSidedConfig]))))
    batch, time = draw(_sequences)
    inputs: tuple[np.ndarray, ...] = (rng.standard_normal((batch, time, config.d_model)),)
    if cross and draw(st.booleans()):
        more["cross"] = True
        inputs += (rng.standard_normal((batch, draw(_sides), config.d_model)),)
    return kind(config, Init(int(rng.integers(1000))), **more), inputs


def _sized(kind, *, x=_x, **options):
    """Make a drawer of a layer of (d_in, d_out) or one size."""

    def drawn(draw, rng):
        chosen = {name: draw(values) for name, values in options.items()}
        sizes = [chosen.pop(name) for name in list(chosen) if name.startswith("size")]
        return kind(*sizes, **chosen), (x(draw, rng, sizes[0]),)

    return drawn


def _sequence(draw, rng, width):
    return rng.standard_normal((*draw(_sequences), width))


def _gelu(draw, rng):
    return kinds.GELU(draw(st.sampled_from(["tanh", "none"]))), (3.0 * _x(draw, rng, draw(_sides)),)


def _relu(draw, rng):
    x = _x(draw, rng, draw(_sides))
    return kinds.ReLU(), (x + 0.05 * np.sign(x),)  # away from its corner


def _batch_norm(draw, rng):
    layer = kinds.BatchNorm(draw(_sides), eps=1e-2)
    layer.forward(rng.standard_normal((7, layer.d_model)))  # running means away from 0 and 1
    layer.train(draw(st.booleans()))
    return layer, (rng.standard_normal((draw(st.integers(2, 4)), layer.d_model)),)


def _position_embedding(draw, rng):
    x = _sequence(draw, rng, draw(_sides))
    return kinds.PositionEmbedding(x.shape[1] + draw(st.integers(0, 3)), x.shape[2]), (x,)


def _rotary(draw, rng):
    (batch, time), half = draw(_sequences), draw(st.integers(1, 3))
    x = rng.standard_normal((batch, draw(_sides), time, 2 * half))
    return kinds.RotaryEmbedding(2 * half, theta=50.0), (x,)


def _relative_bias(draw, rng):
    layer = kinds.RelativePositionBias(draw(_sides), 4, 6, bidirectional=draw(st.booleans()))
    return layer, (np.array(draw(_sides)),)


def _simplified(draw, rng):
    normalise = draw(st.sampled_from(NORMALISATIONS))
    x = _sequence(draw, rng, draw(_sides))
    # sums of rows stay away from 0
    return kinds.SimplifiedSelfAttention(normalise), (x if normalise != "sum" else 1 + 0.1 * x,)


def _stacked(draw, rng):
    n_heads = draw(st.integers(1, 3))
    d_model = n_heads * draw(st.integers(1, 4))
    layer = kinds.StackedAttention(d_model, n_heads, draw(_drop), draw(st.booleans()))
    return layer, (_sequence(draw, rng, d_model),)


def _recurrent(kind, **options):
    """Make a drawer of a recurrent layer, with or without lengths and first states."""

    def drawn(draw, rng):
        (batch, time), d_in = draw(_sequences), draw(_sides)
        layer = kind(
            d_in, draw(_sides), draw(st.integers(1, 3)), draw(st.booleans()), draw(_drop),
            bias=draw(st.booleans()), **{name: draw(values) for name, values in options.items()},
        )  # fmt: skip
        inputs: tuple[np.ndarray, ...] = (rng.standard_normal((batch, time, d_in)),)
        if draw(st.booleans()):
            inputs += (rng.integers(0, time + 1, batch),)
        if draw(st.booleans()):
            shape = (layer.n_layers * layer.num_directions, batch, layer.d_hidden)
            inputs += tuple(rng.standard_normal(shape) for _ in range(layer.STATES))
        return WithStates(layer), inputs

    return drawn


def _looks_back(kind, sizes):
    """Make a drawer of an attention to a memory, with or without lengths."""

    def drawn(draw, rng):
        (batch, time), keys = draw(_sequences), draw(_sides)
        layer = kind(*(draw(_sides) for _ in range(sizes)))
        inputs: tuple[np.ndarray, ...] = (
            rng.standard_normal((batch, time, layer.d_query)),
            rng.standard_normal((batch, keys, layer.d_memory)),
        )
        if draw(st.booleans()):
            inputs += (rng.integers(0, keys + 1, batch),)
        return layer, inputs

    return drawn


def _convolution(kind):
    return _sized(
        kind, x=_sequence, size_in=_sides, size_out=_sides, kernel=st.integers(1, 4),
        dilation=st.integers(1, 3), bias=st.booleans(),
    )  # fmt: skip


def _head(draw, rng):
    vocab_size, d_model = draw(_sides), draw(_sides)
    table = kinds.Embedding(vocab_size, d_model).weight
    tied_to, bias = draw(st.sampled_from([None, table])), draw(st.booleans())
    return kinds.OutputHead(d_model, vocab_size, tied_to, bias=bias), (_x(draw, rng, d_model),)


def _masked_word_head(draw, rng):
    # the norm's rows of few features and its mean of 0 are what `configs` sets eps for
    config = draw(configs(TwoSidedConfig))
    layer = kinds.MaskedWordHead(config, draw(_sides), Init(int(rng.integers(1000))))
    return layer, (_x(draw, rng, config.d_model),)


def _pooler(draw, rng):
    config = draw(configs(TwoSidedConfig))
    layer = kinds.Pooler(config, Init(int(rng.integers(1000))))
    return layer, (_sequence(draw, rng, config.d_model),)


def _cross_entropy(draw, rng):
    logits = 3.0 * _x(draw, rng, draw(_sides))
    targets = rng.integers(0, logits.shape[-1], logits.shape[:-1])
    if draw(st.booleans()):
        targets.reshape(-1)[1::2] = IGNORE_INDEX
    return kinds.CrossEntropy(label_smoothing=draw(_smoothings)), (logits, targets)


def _of_ids(kind):
    def drawn(draw, rng):
        layer = kind(draw(_sides), draw(_sides))
        return layer, (_ids(draw, rng, layer.vocab_size),)

    return drawn


def _gpt(draw, rng, kind=GPT):
    config = draw(configs(GPTConfig))
    if kind is TrainingStep:  # its backward is another forward pass, which would draw new masks
        config = dataclasses.replace(config, dropout=0.0)
    targets = _ids(draw, rng, config.vocab_size)
    ids = rng.integers(0, config.vocab_size, targets.shape)
    targets[1:, 1:2] = IGNORE_INDEX
    return kind(config, int(rng.integers(1000)), recompute=draw(st.booleans())), (ids, targets)


def _of_family(kind, **options):
    """Make a drawer of a recurrent or convolutional language model."""

    def drawn(draw, rng):
        family: Any = FAMILIES[kind]
        config = family.Config(
            draw(st.integers(2, 7)), 6, n_layers=draw(st.integers(1, 2)), d_model=draw(_sides),
            dropout=draw(_drop), bias=draw(st.booleans()), tie_embeddings=draw(st.booleans()),
            **{name: draw(values) for name, values in options.items()},
        )  # fmt: skip
        targets = _ids(draw, rng, config.vocab_size)
        ids = rng.integers(0, config.vocab_size, targets.shape)
        targets[1:, 1:2] = -100
        return family(config, int(rng.integers(1000))), (ids, targets)

    return drawn


def _bert(draw, rng, kind=Bert):
    config = draw(configs(BertConfig, masked_head=True, pooler=False, next_sentence=False))
    if config.norm == "none":  # logits so large that p - 1 has no digits left
        config = dataclasses.replace(config, norm="layer")
    if kind is MaskedStep:  # as of TrainingStep
        config = dataclasses.replace(config, dropout=0.0)
    ids = _ids(draw, rng, config.vocab_size)
    targets = rng.integers(0, config.vocab_size, ids.shape)
    targets[:, 1:][rng.random(targets[:, 1:].shape) < 0.5] = IGNORE_INDEX
    batch: tuple[np.ndarray, ...] = (ids, targets)
    if draw(st.booleans()):
        batch += (rng.integers(0, config.n_segments, ids.shape),)
        batch += (rng.integers(1, ids.shape[1] + 1, len(ids)),)
    return kind(config, int(rng.integers(1000)), recompute=draw(st.booleans())), batch


def _bert_classifier(draw, rng, kind):
    body, (ids, *_) = _bert(draw, rng)
    lengths = rng.integers(1, ids.shape[1] + 1, len(ids))
    shape = ids.shape if kind is BertForTokenClassification else ids.shape[:1]
    return kind(body, 3), (ids, lengths, rng.integers(0, 3, shape))


def _pairs(draw, rng, config):
    """Draw a batch for a model of pairs."""
    (batch, time), source = draw(_sequences), draw(_sides)
    targets = rng.integers(0, config.vocab_size, (batch, time))
    targets[1:, 1:] = IGNORE_INDEX
    source_ids = rng.integers(0, config.num_source_tokens, (batch, source))
    target_ids = rng.integers(0, config.vocab_size, targets.shape)
    return source_ids, rng.integers(1, source + 1, batch), target_ids, targets


def _vocabularies(draw):
    """Draw whether two sides have one vocabulary, and what they share."""
    shares = draw(st.booleans())
    return {
        "share_embeddings": shares, "source_vocab_size": None if shares else draw(_sides),
        "tie_embeddings": draw(st.booleans()), "label_smoothing": draw(_smoothings),
    }  # fmt: skip


def _rnn_translator(kind, **options):
    """Make a drawer of an encoder and a decoder that are recurrent."""

    def drawn(draw, rng):
        family: Any = FAMILIES[kind]
        config = family.Config(
            draw(st.integers(2, 7)), 6, n_layers=draw(st.integers(1, 2)),
            d_model=2 * draw(st.integers(1, 3)), dropout=draw(_drop), bias=draw(st.booleans()),
            cell=draw(st.sampled_from(["lstm", "gru", "rnn"])), bidirectional=draw(st.booleans()),
            **{name: draw(values) for name, values in options.items()}, **_vocabularies(draw),
        )  # fmt: skip
        return family(config, int(rng.integers(1000))), _pairs(draw, rng, config)

    return drawn


def _transformer(draw, rng):
    more = {"scale_embeddings": st.booleans(), "n_encoder_layers": st.none() | st.integers(1, 2)}
    more["ends_with_norm"] = st.sampled_from([None, True, False])
    fixed = {name: draw(values) for name, values in more.items()}
    config = draw(configs(TransformerConfig, **fixed, **_vocabularies(draw)))
    if "none" in (config.norm, config.final_norm):  # or logits grow until only rounding is left
        config = dataclasses.replace(config, scale_embeddings=False)
    recompute = draw(st.booleans())
    model = Transformer(config, int(rng.integers(1000)), recompute=recompute)
    return model, _pairs(draw, rng, config)


def _classifier(draw, rng):
    body, (ids, _) = _gpt(draw, rng)
    lengths = rng.integers(1, ids.shape[1] + 1, len(ids))
    model = GPTForClassification(body, 3, lm_coef=draw(st.sampled_from([0.0, 0.5])))
    return model, (ids, lengths, rng.integers(0, 3, len(ids)))


def _preference(draw, rng):
    body, (ids, targets) = _gpt(draw, rng)
    ids, targets = (np.resize(array, (2, array.shape[1])) for array in (ids, targets))
    return Preference(body, beta=0.3), (ids, targets)


Drawer = Callable[[Any, np.random.Generator], tuple[Layer, tuple[np.ndarray, ...]]]
LAYERS: dict[str, Drawer] = {
    "ALiBi": lambda draw, rng: (kinds.ALiBi(draw(_sides)), (np.array(draw(_sides)),)),
    "AdditiveAttention": _looks_back(kinds.AdditiveAttention, 3),
    "BatchNorm": _batch_norm,
    "CausalConv1d": _convolution(kinds.CausalConv1d),
    "CausalSelfAttention": _sized(
        kinds.CausalSelfAttention, x=_sequence, size_in=_sides, size_out=_sides, dropout=_drop,
        masking=st.sampled_from(MASKINGS), qkv_bias=st.booleans(), scale_scores=st.booleans(),
    ),
    "ConcatAttention": _looks_back(kinds.ConcatAttention, 3),
    "CrossEntropy": _cross_entropy,
    "DotAttention": _looks_back(kinds.DotAttention, 1),
    "Dropout": lambda draw, rng: (
        kinds.Dropout(draw(st.sampled_from([0.0, 0.3, 0.8]))), (_x(draw, rng, draw(_sides)),),
    ),
    "Embedding": _of_ids(kinds.Embedding),
    "FeedForward": lambda draw, rng: _of_config(draw, rng, kinds.FeedForward),
    "GELU": _gelu,
    "GLU": lambda draw, rng: (kinds.GLU(), (_x(draw, rng, 2 * draw(_sides)),)),
    "GRU": _recurrent(kinds.GRU),
    "GatedConv1d": _convolution(kinds.GatedConv1d),
    "GeneralAttention": _looks_back(kinds.GeneralAttention, 2),
    "LSTM": _recurrent(kinds.LSTM, forget_bias=st.sampled_from([0.0, 1.0])),
    "LayerNorm": _sized(kinds.LayerNorm, size=_sides, eps=st.just(1e-2), bias=st.booleans()),
    "Linear": _sized(kinds.Linear, size_in=_sides, size_out=_sides, bias=st.booleans()),
    "LoRALinear": _sized(
        kinds.LoRALinear, size_in=_sides, size_out=_sides, rank=st.integers(1, 3), dropout=_drop,
        bias=st.booleans(),
    ),
    "MaskedWordHead": _masked_word_head,
    "MultiHeadAttention": lambda draw, rng: _of_config(
        draw, rng, kinds.MultiHeadAttention, cross=True
    ),
    "NoNorm": lambda draw, rng: (kinds.NoNorm(), (_x(draw, rng, draw(_sides)),)),
    "OneHotEmbedding": _of_ids(kinds.OneHotEmbedding),
    "OutputHead": _head,
    "Pooler": _pooler,
    "PositionEmbedding": _position_embedding,
    "RMSNorm": _sized(kinds.RMSNorm, size=_sides, eps=st.just(1e-2)),
    "RNN": _recurrent(kinds.RNN, nonlinearity=st.sampled_from(NONLINEARITIES)),
    "ReLU": _relu,
    "RecomputingBlock": lambda draw, rng: _of_config(
        draw, rng, kinds.RecomputingBlock, cross=True
    ),
    "RelativePositionBias": _relative_bias,
    "RotaryEmbedding": _rotary,
    "SelfAttention": _sized(
        kinds.SelfAttention, x=_sequence, size_in=_sides, size_out=_sides, qkv_bias=st.booleans(),
        scale_scores=st.booleans(),
    ),
    "SiLU": lambda draw, rng: (kinds.SiLU(), (_x(draw, rng, draw(_sides)),)),
    "SimplifiedSelfAttention": _simplified,
    "SinusoidalEmbedding": _sized(kinds.SinusoidalEmbedding, x=_sequence, size=_sides),
    "Stack": lambda draw, rng: _of_config(
        draw, rng, kinds.Stack, cross=True, recompute=draw(st.booleans())
    ),
    "StackedAttention": _stacked,
    "SwiGLU": lambda draw, rng: (kinds.SwiGLU(), (_x(draw, rng, 2 * draw(_sides)),)),
    "Tanh": lambda draw, rng: (kinds.Tanh(), (_x(draw, rng, draw(_sides)),)),
    "TransformerBlock": lambda draw, rng: _of_config(
        draw, rng, kinds.TransformerBlock, cross=True
    ),
}  # fmt: skip
MODELS: dict[str, Drawer] = {
    "Bert": _bert,
    "Bert (training step)": lambda draw, rng: _bert(draw, rng, MaskedStep),
    "BertForClassification": lambda draw, rng: _bert_classifier(draw, rng, BertForClassification),
    "BertForTokenClassification": lambda draw, rng: _bert_classifier(
        draw, rng, BertForTokenClassification
    ),
    "RNNLM": _of_family("rnn", nonlinearity=st.sampled_from(NONLINEARITIES)),
    "GRULM": _of_family("gru"),
    "LSTMLM": _of_family("lstm", forget_bias=st.sampled_from([0.0, 1.0])),
    "ConvolutionalLM": _of_family("conv", kernel=st.integers(1, 4)),
    "RNNEncoderDecoder": _rnn_translator("rnn-encoder-decoder", reverse_source=st.booleans()),
    "RNNAttention": _rnn_translator(
        "rnn-attention", score=st.sampled_from(["additive", "dot", "general", "concat"])
    ),
    "Transformer": _transformer,
    "GPT": _gpt,
    "GPT (training step)": lambda draw, rng: _gpt(draw, rng, TrainingStep),
    "GPTForClassification": _classifier,
    "GPTForPreference": _preference,
}


@st.composite
def layers(
    draw, names: Sequence[str] | None = None, dtype: Any = dtypes
) -> tuple[Layer, tuple[np.ndarray, ...]]:
    """Draw a layer of npgpt, with all the choices it has, and inputs that fit it.

    For code that takes any layer: wrappers, recorders, optimisers.

    Parameters
    ----------
    names : sequence of str, optional
        Classes of `npgpt.layers`, or models, such as "LayerNorm" and "GPT"; or examples of
        `npgpt.gradients.SUITE`, which are made as they are. By default all layers.
    dtype : dtype, or a strategy

    Returns
    -------
    layer : Layer
        With random weights.
    inputs : tuple of ndarray
        Arguments of its forward pass; of a model, those of its loss.
    """
    drawers = {**LAYERS, **MODELS}
    name = draw(st.sampled_from(list(LAYERS if names is None else names)))
    dtype = draw(dtype) if isinstance(dtype, st.SearchStrategy) else dtype
    rng = np.random.default_rng(draw(_seeds))
    layer, inputs = drawers[name](draw, rng) if name in drawers else SUITE[name](rng)
    shake(layer, rng)
    inputs = tuple(x.astype(dtype) if x.dtype.kind == "f" else x for x in inputs)
    return layer.astype(dtype), inputs
