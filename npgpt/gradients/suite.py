"""One example of every layer, and of a whole GPT: what ``npgpt gradcheck`` runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar

import numpy as np

from npgpt import layers
from npgpt.gradients.gradcheck import gradcheck
from npgpt.gradients.report import GradcheckReport
from npgpt.layers import (
    BlockConfig,
    FeedForward,
    Init,
    Layer,
    MultiHeadAttention,
    RecomputingBlock,
    Stack,
    TransformerBlock,
)
from npgpt.layers.recurrent import Recurrent
from npgpt.models import (
    GPT,
    MODELS,
    Bert,
    BertConfig,
    BertForClassification,
    BertForTokenClassification,
    GPTConfig,
    GPTForClassification,
    GPTForPreference,
)
from npgpt.models.model import MaskedBatch
from npgpt.ops import IGNORE_INDEX

BATCH, TIME, D_MODEL, N_HEADS, VOCAB_SIZE = 2, 5, 12, 3, 17

Example = Callable[[np.random.Generator], tuple[Layer, tuple[np.ndarray, ...]]]


def _x(rng):
    return rng.standard_normal((BATCH, TIME, D_MODEL))


def _ids(rng):
    return rng.integers(0, VOCAB_SIZE, (BATCH, TIME))  # 10 of 17: repeats are all but certain


class TrainingStep(GPT):
    """A GPT whose gradients come from `GPT.loss_and_backward`, which training uses."""

    _batch: tuple[np.ndarray, np.ndarray] | None = None

    def loss(self, token_ids, targets):
        """Compute the loss a chunk of logits at a time.

        Parameters
        ----------
        token_ids, targets : ndarray of int, shape (batch, time)
        """
        self._batch = token_ids, targets
        return self.evaluation_loss(token_ids, targets)

    def backward(self, dloss=1.0):
        """Compute the loss again, and add to the gradients."""
        if self._batch is None:
            raise RuntimeError("TrainingStep: backward needs a call of loss before it.")
        self.loss_and_backward(*self._batch, dloss)


def _gpt(rng, kind=GPT, **changes):
    config = GPTConfig(VOCAB_SIZE, TIME + 1, n_layers=2, n_heads=N_HEADS, d_model=D_MODEL)
    targets = _ids(rng)
    targets[0, 1] = IGNORE_INDEX
    return kind(dataclasses.replace(config, **changes), seed=1), (_ids(rng), targets)


def _classifier(rng, lm_coef=0.0):
    model = GPTForClassification(_gpt(rng)[0], num_classes=3, seed=1, lm_coef=lm_coef)
    return model, (_ids(rng), np.array([TIME, 2]), np.array([2, 0]))


class Preference(GPTForPreference):
    """A `GPTForPreference` with the reference of one batch."""

    reference = np.array([-11.0, -12.5])

    def loss(self, token_ids, targets):  # type: ignore[override]
        """Compute the loss against the reference.

        Parameters
        ----------
        token_ids, targets
            As for `GPTForPreference.loss`.
        """
        return super().loss(token_ids, targets, self.reference)


def _preference(rng):
    targets = _ids(rng)
    targets[:, :2] = IGNORE_INDEX
    return Preference(_gpt(rng)[0], beta=0.3), (_ids(rng), targets)


def _cross_entropy(rng, **choices):
    targets = _ids(rng)
    targets[0, 1] = IGNORE_INDEX
    return layers.CrossEntropy(**choices), (
        3.0 * rng.standard_normal((BATCH, TIME, VOCAB_SIZE)),
        targets,
    )


class MaskedStep(Bert):
    """A BERT whose gradients come from `Bert.loss_and_backward`, which training uses."""

    _batch: MaskedBatch | None = None

    def loss(self, *batch):
        """Compute the loss a chunk of logits at a time.

        Parameters
        ----------
        *batch
            As of `MaskedBatch`.
        """
        self._batch = MaskedBatch(*batch)
        return self.evaluation_loss(*batch)

    def backward(self, dloss=1.0):
        """Compute the loss again, and add to the gradients."""
        if self._batch is None:
            raise RuntimeError("MaskedStep: backward needs a call of loss before it.")
        self.loss_and_backward(*self._batch, dloss=dloss)


def _bert(rng, kind=Bert, **changes):
    shape = {"n_layers": 2, "n_heads": N_HEADS, "d_model": D_MODEL, "layer_norm_eps": 1e-5}
    config = BertConfig(VOCAB_SIZE, TIME + 1, **{**shape, **changes})
    targets = np.where(rng.random((BATCH, TIME)) < 0.5, _ids(rng), IGNORE_INDEX)
    targets[:, 0] = 3
    segments, lengths = rng.integers(0, config.n_segments, targets.shape), np.array([TIME, 3])
    return kind(config, seed=1), (_ids(rng), targets, segments, lengths)


def _bert_classifier(rng, kind=BertForClassification, **changes):
    body, (ids, _, segments, lengths) = _bert(rng, **changes)
    labels = np.array([2, 0]) if kind is BertForClassification else _ids(rng) % 3
    return kind(body, num_classes=3, seed=1), (ids, lengths, labels, segments)


class TwoSidedConfig(BlockConfig):
    """Of blocks whose positions see what comes after them too."""

    causal: ClassVar[bool] = False


def _with_config(layer_class, config_class=BlockConfig, **choices):
    """Make an example of a layer that a config decides."""

    def example(rng):
        shape = {"n_layers": 2, "n_heads": N_HEADS, "d_model": D_MODEL}
        return layer_class(config_class(**{**shape, **choices}), Init(seed=1)), (_x(rng),)

    return example


def _cross(layer_class, **choices):
    """Make an example of a layer that attends to a memory."""

    def example(rng):
        config = BlockConfig(n_layers=2, n_heads=N_HEADS, d_model=D_MODEL, **choices)
        memory = rng.standard_normal((BATCH, TIME + 2, D_MODEL))
        return layer_class(config, Init(seed=1), cross=True), (_x(rng), memory)

    return example


def _drawn(layer_class, *sizes, inputs=_x):
    """Make an example of a layer that draws its own weights."""
    return lambda rng: (layer_class(*sizes, rng=rng), (inputs(rng),))


def _causal(rng, masking, dropout=0.0):
    return layers.CausalSelfAttention(D_MODEL, 4, dropout, masking, rng=rng), (_x(rng),)


class WithStates(Layer):
    """A recurrent layer as a function to one array: outputs and last states, one after another."""

    UNNAMED = ("inner",)

    def __init__(self, inner: Recurrent):
        super().__init__()
        self.inner = inner

    def forward(self, x, *others):
        """Put all that the layer returns in one row.

        Parameters
        ----------
        x : ndarray, shape (batch, time, d_in)
        *others : ndarray
            Lengths, if the first holds integers, and the arrays of a state.
        """
        lengths = others[0] if others and others[0].dtype.kind == "i" else None
        state = others if lengths is None else others[1:]
        y, after = self.inner.forward(x, state or None, lengths)
        self.keep([part.shape for part in (y, *after)], lengths is not None, len(state))
        return np.concatenate([part.reshape(-1) for part in (y, *after)])

    def backward(self, dy):
        """Cut the row, and return the gradients of the inputs."""
        shapes, has_lengths, num_states = self.recall()
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        self._check_dy(dy, (int(ends[-1]),))
        parts = zip(np.split(dy, ends[:-1]), shapes, strict=True)
        dy, *dafter = (part.reshape(shape) for part, shape in parts)
        dx, dbefore = self.inner.backward(dy, tuple(dafter))
        return (dx, *(None,) * has_lengths, *dbefore[:num_states])


def _recurrent(layer_class, n_layers=1, bidirectional=False, **choices):
    """Make an example of a recurrent layer: the second sequence is shorter."""

    def example(rng):
        layer = layer_class(D_MODEL, 4, n_layers, bidirectional, rng=rng, seed=1, **choices)
        shape = (n_layers * layer.num_directions, BATCH, 4)
        state = (rng.standard_normal(shape) for _ in range(layer.STATES))
        return WithStates(layer), (_x(rng), np.array([TIME, 2]), *state)

    return example


RECURRENT: dict[str, dict[str, Any]] = {
    "": {},
    " (no biases)": {"bias": False},
    " (2 layers, both directions, dropout)": {
        "n_layers": 2,
        "bidirectional": True,
        "dropout": 0.3,
    },
}


def _looks_back(layer_class, *sizes):
    """Make an example of an attention to a memory, of which the second sequence has less."""

    def example(rng):
        layer = layer_class(D_MODEL, *sizes, rng=rng) if sizes else layer_class(D_MODEL)
        memory = rng.standard_normal((BATCH, TIME + 2, layer.d_memory))
        return layer, (_x(rng), memory, np.array([TIME + 2, 3]))

    return example


T5_BUCKETS = {"position": "t5", "relative_attention_num_buckets": 4}
T5 = {**T5_BUCKETS, "relative_attention_max_distance": TIME}
LLAMA = {"position": "rope", "norm": "rms", "activation": "swiglu", "n_kv_heads": 1, "bias": False}


def _lora(rng, dropout=0.0):
    layer = layers.LoRALinear(D_MODEL, 7, rank=2, dropout=dropout, seed=1, rng=rng)
    layer.lora_B.value += rng.standard_normal((7, 2)).astype(np.float32)  # 0 hides A
    return layer, (_x(rng),)


LAYER_EXAMPLES: dict[str, Example] = {
    "Embedding": _drawn(layers.Embedding, VOCAB_SIZE, D_MODEL, inputs=_ids),
    "OneHotEmbedding": _drawn(layers.OneHotEmbedding, VOCAB_SIZE, D_MODEL, inputs=_ids),
    "PositionEmbedding": _drawn(layers.PositionEmbedding, TIME + 2, D_MODEL),
    "Linear": _drawn(layers.Linear, D_MODEL, 7),
    "LoRALinear": _lora,
    "LoRALinear (dropout)": lambda rng: _lora(rng, 0.3),
    "LayerNorm": lambda rng: (layers.LayerNorm(D_MODEL), (_x(rng),)),
    "RMSNorm": lambda rng: (layers.RMSNorm(D_MODEL), (_x(rng),)),
    "BatchNorm": lambda rng: (layers.BatchNorm(D_MODEL), (_x(rng),)),
    "NoNorm": lambda rng: (layers.NoNorm(), (_x(rng),)),
    "SinusoidalEmbedding": lambda rng: (layers.SinusoidalEmbedding(D_MODEL), (_x(rng),)),
    "RelativePositionBias": _drawn(
        layers.RelativePositionBias, N_HEADS, 4, TIME, inputs=lambda rng: np.array(TIME + 2)
    ),
    "RotaryEmbedding": lambda rng: (
        layers.RotaryEmbedding(4),
        (rng.standard_normal((BATCH, N_HEADS, TIME, 4)),),
    ),
    "GELU (tanh)": lambda rng: (layers.GELU("tanh"), (_x(rng),)),
    "GELU (exact)": lambda rng: (layers.GELU("none"), (_x(rng),)),
    "ReLU": lambda rng: (layers.ReLU(), (_x(rng),)),
    "SiLU": lambda rng: (layers.SiLU(), (_x(rng),)),
    "Tanh": lambda rng: (layers.Tanh(), (_x(rng),)),
    "GLU": lambda rng: (layers.GLU(), (_x(rng),)),
    "SwiGLU": lambda rng: (layers.SwiGLU(), (_x(rng),)),
    "Dropout": lambda rng: (layers.Dropout(0.3, seed=1), (_x(rng),)),
    "SimplifiedSelfAttention": lambda rng: (layers.SimplifiedSelfAttention(), (_x(rng),)),
    "SimplifiedSelfAttention (sum)": lambda rng: (
        layers.SimplifiedSelfAttention("sum"),
        (1.0 + 0.2 * _x(rng),),  # away from rows whose sum is 0
    ),
    "SelfAttention": _drawn(layers.SelfAttention, D_MODEL, 4),
    "CausalSelfAttention": lambda rng: _causal(rng, "scores"),
    "CausalSelfAttention (weights)": lambda rng: _causal(rng, "weights"),
    "CausalSelfAttention (leaking)": lambda rng: _causal(rng, "leaking"),
    "CausalSelfAttention (dropout)": lambda rng: _causal(rng, "weights", 0.3),
    "StackedAttention": _drawn(layers.StackedAttention, D_MODEL, N_HEADS),
    "MultiHeadAttention": _with_config(MultiHeadAttention),
    "MultiHeadAttention (dropout)": _with_config(MultiHeadAttention, dropout=0.3),
    "MultiHeadAttention (grouped, window)": _with_config(
        MultiHeadAttention, n_kv_heads=1, window=3
    ),
    "MultiHeadAttention (RoPE)": _with_config(MultiHeadAttention, position="rope"),
    "MultiHeadAttention (ALiBi)": _with_config(MultiHeadAttention, position="alibi"),
    "MultiHeadAttention (T5)": _with_config(MultiHeadAttention, **T5),
    "MultiHeadAttention (two-sided)": _with_config(MultiHeadAttention, TwoSidedConfig, **T5),
    "MultiHeadAttention (cross)": _cross(MultiHeadAttention),
    "DotAttention": _looks_back(layers.DotAttention),
    "GeneralAttention": _looks_back(layers.GeneralAttention, 7),
    "AdditiveAttention": _looks_back(layers.AdditiveAttention, 7, 5),
    "ConcatAttention": _looks_back(layers.ConcatAttention, 7, 5),
    "FeedForward": _with_config(FeedForward),
    "FeedForward (exact)": _with_config(FeedForward, activation="gelu_exact"),
    "FeedForward (ReLU)": _with_config(FeedForward, activation="relu"),
    "FeedForward (SiLU)": _with_config(FeedForward, activation="silu"),
    "FeedForward (SwiGLU)": _with_config(FeedForward, activation="swiglu"),
    "TransformerBlock": _with_config(TransformerBlock),
    "TransformerBlock (dropout)": _with_config(TransformerBlock, dropout=0.3),
    "TransformerBlock (post-norm)": _with_config(
        TransformerBlock, dropout=0.3, norm_position="post"
    ),
    "TransformerBlock (no norm)": _with_config(TransformerBlock, norm="none"),
    "TransformerBlock (no shortcut)": _with_config(TransformerBlock, shortcut=False),
    "TransformerBlock (cross)": _cross(TransformerBlock, dropout=0.3),
    "TransformerBlock (cross, post-norm)": _cross(
        TransformerBlock, dropout=0.3, norm_position="post"
    ),
    "RecomputingBlock": _with_config(RecomputingBlock, dropout=0.3),
    "RecomputingBlock (cross)": _cross(RecomputingBlock, dropout=0.3),
    "Stack": _with_config(Stack, **T5),
    "Stack (two-sided)": _with_config(Stack, TwoSidedConfig),
    "Stack (cross)": _cross(Stack),
    **{
        f"{layer.__name__}{name}": _recurrent(layer, **choices)
        for layer in (layers.RNN, layers.GRU, layers.LSTM)
        for name, choices in RECURRENT.items()
    },
    "RNN (ReLU)": _recurrent(layers.RNN, nonlinearity="relu"),
    "CausalConv1d": _drawn(layers.CausalConv1d, D_MODEL, 7),
    "CausalConv1d (dilation)": _drawn(layers.CausalConv1d, D_MODEL, 7, 2, 3),
    "GatedConv1d": _drawn(layers.GatedConv1d, D_MODEL, 4),
    "MaskedWordHead": _with_config(
        lambda config, init: layers.MaskedWordHead(config, VOCAB_SIZE, init),
        activation="gelu_exact",
    ),
    "OutputHead": _drawn(layers.OutputHead, D_MODEL, VOCAB_SIZE),
    "OutputHead (bias)": lambda rng: (
        layers.OutputHead(D_MODEL, VOCAB_SIZE, rng=rng, bias=True),
        (_x(rng),),
    ),
    "Pooler": _with_config(layers.Pooler),
    "CrossEntropy": _cross_entropy,
    "CrossEntropy (label smoothing)": partial(_cross_entropy, label_smoothing=0.1),
}

# one table of the models: what a GPT's config changes, and what is made of one
GPTS: dict[str, dict[str, Any]] = {
    "tied": {},
    "untied": {"tie_embeddings": False},
    "dropout": {"dropout": 0.2},
    "no biases": {"bias": False},
    "T5, post-norm": {**T5_BUCKETS, "norm_position": "post"},
    "Llama-shaped": LLAMA,
    "training step": {"kind": TrainingStep},
}


def _of_family(kind, **choices):
    """Make an example of a recurrent or convolutional language model."""

    def example(rng):
        family: Any = MODELS[kind]
        config = family.Config(VOCAB_SIZE, TIME + 1, n_layers=2, d_model=6, **choices)
        targets = _ids(rng)
        targets[0, 1] = IGNORE_INDEX
        return family(config, seed=1), (_ids(rng), targets)

    return example


def _of_pairs(kind, **choices):
    """Make an example of a model of pairs: the second source and the second target are shorter."""

    def example(rng):
        family: Any = MODELS[kind]
        config = family.Config(VOCAB_SIZE, TIME + 1, n_layers=2, d_model=6, **choices)
        source_ids = rng.integers(0, config.num_source_tokens, (BATCH, TIME - 1))
        targets = _ids(rng)
        targets[1, 2:] = IGNORE_INDEX
        return family(config, seed=1), (source_ids, np.array([TIME - 1, 2]), _ids(rng), targets)

    return example


APART = {"source_vocab_size": 11, "share_embeddings": False, "tie_embeddings": False}
TRANSLATORS: dict[str, Example] = {
    "RNNEncoderDecoder": _of_pairs("rnn-encoder-decoder", reverse_source=True),
    "RNNEncoderDecoder (both directions, dropout)": _of_pairs(
        "rnn-encoder-decoder", cell="gru", bidirectional=True, dropout=0.2, **APART
    ),
    "RNNAttention": _of_pairs("rnn-attention", label_smoothing=0.1),
    "RNNAttention (dot, dropout)": _of_pairs("rnn-attention", cell="gru", score="dot", dropout=0.2),
    "RNNAttention (general)": _of_pairs("rnn-attention", cell="rnn", score="general"),
    "RNNAttention (concat)": _of_pairs("rnn-attention", cell="gru", score="concat"),
    "Transformer": _of_pairs("transformer", n_heads=2, label_smoothing=0.1),
    "Transformer (pre-norm, dropout)": _of_pairs(
        "transformer", n_heads=2, norm_position="pre", dropout=0.2, position="learned", **APART
    ),
    "Transformer (RoPE)": _of_pairs(
        "transformer", n_heads=3, position="rope", ends_with_norm=True, n_encoder_layers=1,
        scale_embeddings=False,
    ),
}  # fmt: skip

MODEL_EXAMPLES: dict[str, Example] = {
    **TRANSLATORS,
    "RNNLM": _of_family("rnn"),
    "GRULM": _of_family("gru", dropout=0.2),
    "LSTMLM": _of_family("lstm"),
    "LSTMLM (untied, dropout)": _of_family("lstm", dropout=0.2, tie_embeddings=False),
    "ConvolutionalLM": _of_family("conv"),
    "ConvolutionalLM (dropout)": _of_family("conv", dropout=0.2, kernel=2),
    **{f"GPT (2 layers, {name})": partial(_gpt, **changes) for name, changes in GPTS.items()},
    "Bert (2 layers)": _bert,
    "Bert (2 layers, untied, dropout)": partial(_bert, tie_embeddings=False, dropout=0.2),
    "Bert (2 layers, T5, pre-norm)": partial(_bert, **T5_BUCKETS, norm_position="pre"),
    "Bert (2 layers, training step)": partial(_bert, kind=MaskedStep),
    "Bert (2 layers, classification)": partial(_bert_classifier, dropout=0.2),
    "Bert (2 layers, token classification)": partial(
        _bert_classifier, kind=BertForTokenClassification
    ),
    "GPT (2 layers, classification)": _classifier,
    "GPT (2 layers, classification and language)": partial(_classifier, lm_coef=0.5),
    "GPT (2 layers, preference)": _preference,
}
# examples by their names: what `npgpt.gradcheck` can be given, and its arguments
SUITE: dict[str, Example] = {**LAYER_EXAMPLES, **MODEL_EXAMPLES}


def shake(layer: Layer, rng: np.random.Generator) -> None:
    """Move the parameters away from gains of 1 and biases of 0, which would hide terms.

    Parameters
    ----------
    layer : Layer
    rng : numpy.random.Generator
    """
    for parameter in layer.parameters():
        noise = rng.standard_normal(parameter.shape)
        parameter.value += (0.3 * noise).astype(parameter.value.dtype)


def check_suite(
    method: str, names: list[str], seed: int = 0
) -> Iterator[tuple[str, GradcheckReport]]:
    """Check the named examples of `SUITE`, one after another.

    Parameters
    ----------
    method : {"central", "complex"}
    names : list of str
        Keys of `SUITE`.
    seed : int
        Of weights and inputs.

    Yields
    ------
    (str, GradcheckReport)
    """
    for name in names:
        rng = np.random.default_rng(seed)
        layer, inputs = SUITE[name](rng)
        shake(layer, rng)
        yield name, gradcheck(layer, *inputs, method=method, max_coordinates=40, seed=seed)
