"""Two models of a few dozen lines, made of public parts only: the shape that families take."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import numpy as np

from npgpt.layers import (
    BlockConfig,
    CrossEntropy,
    Embedding,
    FlatParameters,
    Init,
    Layer,
    Linear,
    OutputHead,
    PositionEmbedding,
    Stack,
)
from npgpt.models import LanguageModel, Model, ModelConfig
from npgpt.ops import Mask

# --- an encoder and a decoder ---------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class EncoderConfig(BlockConfig):
    """Blocks that read both ways."""

    causal: ClassVar[bool] = False


@dataclasses.dataclass(frozen=True)
class TranslatorConfig(BlockConfig, ModelConfig):
    """Encoder and decoder have the same shape."""

    def encoder(self):
        names = [field.name for field in dataclasses.fields(BlockConfig)]
        return EncoderConfig(**{name: getattr(self, name) for name in names})


class TranslationBatch(NamedTuple):
    """Padded sources and their lengths; token ids and the targets after them."""

    sources: np.ndarray
    lengths: np.ndarray
    token_ids: np.ndarray
    targets: np.ndarray


class Translator(Model):
    """A Transformer as Vaswani et al. 2017 have it, in small."""

    kind = "translator"
    Config = TranslatorConfig
    Batch = TranslationBatch

    def __init__(self, config, seed=0, dtype=np.float32):
        super().__init__()
        init = Init(seed, dtype)
        self.config = config
        sizes = config.vocab_size, config.d_model
        rows = config.context_length, config.d_model
        self.source_embedding = Embedding(*sizes, rng=init.rng, dtype=init.dtype)
        self.source_positions = PositionEmbedding(*rows, rng=init.rng, dtype=init.dtype)
        self.target_embedding = Embedding(*sizes, rng=init.rng, dtype=init.dtype)
        self.target_positions = PositionEmbedding(*rows, rng=init.rng, dtype=init.dtype)
        self.encoder = Stack(config.encoder(), init)
        self.decoder = Stack(config, init, cross=True)
        self.head = OutputHead(config.d_model, config.vocab_size, rng=init.rng, dtype=init.dtype)
        self.cross_entropy = CrossEntropy()
        self.assign_names()
        FlatParameters(self.parameters())

    def loss(self, sources, lengths, token_ids, targets):
        """Encode the sources, and predict each target from them and the tokens before it."""
        there = Mask(causal=False, lengths=lengths)
        x = self.source_positions.forward(self.source_embedding.forward(sources))
        memory = self.encoder.forward(x, mask=there)
        x = self.target_positions.forward(self.target_embedding.forward(token_ids))
        x = self.decoder.forward(x, memory, memory_mask=there)
        return self.cross_entropy.forward(self.head.forward(x), targets)

    def backward(self, dloss=1.0):
        """Go back through the decoder, then through what it attended to."""
        dx = self.head.backward(self.cross_entropy.backward(dloss))
        dx, dmemory = self.decoder.backward(dx)
        self.target_embedding.backward(self.target_positions.backward(dx))
        dx = self.encoder.backward(dmemory)
        self.source_embedding.backward(self.source_positions.backward(dx))

    def num_targets(self, sources, lengths, token_ids, targets):
        """Count the targets that are not ignored."""
        return int((targets != self.cross_entropy.ignore_index).sum())


# --- a recurrent language model -------------------------------------------------------------------


class Tanh(Layer):
    """``y = tanh(x)``."""

    def forward(self, x):
        """Apply to each element."""
        y = np.tanh(x)
        self.keep(y)
        return y

    def backward(self, dy):
        """Return the gradient of ``x``."""
        y = self.recall()
        return dy * (1.0 - y * y)


class Hidden:
    """The hidden state of several sequences."""

    def __init__(self, h, lengths):
        self.h, self.lengths = h, lengths

    def rows(self, begin, end):
        """Return a part, with nothing read yet."""
        self.h[begin:end] = 0.0
        return Hidden(self.h[begin:end], np.zeros(end - begin, np.int64))

    def reorder(self, rows, length):
        """Let sequences go on as copies of others."""
        self.h[...] = self.h[rows]
        self.lengths = self.lengths[rows]


@dataclasses.dataclass(frozen=True)
class RecurrentConfig(ModelConfig):
    """One layer of ``d_model`` hidden units."""

    d_model: int = 8


class TextBatch(NamedTuple):
    """Token ids and the tokens that follow them."""

    token_ids: np.ndarray
    targets: np.ndarray


class Recurrent(LanguageModel):
    """``h_t = tanh(W [x_t, h_t-1] + b)``, logits ``h_t E^T`` (Elman 1990, Cognitive Science 14)."""

    kind = "recurrent"
    Config = RecurrentConfig
    Batch = TextBatch

    def __init__(self, config, seed=0, dtype=np.float32, init=None):
        super().__init__()
        init = init or Init(seed, dtype)
        self.config, d = config, config.d_model
        self.embedding = Embedding(config.vocab_size, d, 0.5, init.rng, init.dtype)
        self.linear = Linear(2 * d, d, std=0.3, rng=init.rng, dtype=init.dtype)
        self.tanh = Tanh()
        self.head = OutputHead(d, config.vocab_size, self.embedding.weight)
        self.cross_entropy = CrossEntropy()
        self.assign_names()
        FlatParameters(self.parameters())

    @property
    def context_length(self):
        """How many tokens the model looks back."""
        return self.config.context_length

    def _cell(self, x, h):
        return self.tanh.forward(self.linear.forward(np.concatenate([x, h], axis=-1)))

    def hidden_states(self, token_ids):
        """Run over time, (batch, time) -> (batch, time, d_model)."""
        x = self.embedding.forward(token_ids)
        h, states = np.zeros_like(x[:, 0]), []
        with self.linear.unrolled(), self.tanh.unrolled():
            for t in range(x.shape[1]):
                h = self._cell(x[:, t], h)
                states.append(h)
        return np.stack(states, axis=1)

    def loss(self, token_ids, targets):
        """Compute the mean cross-entropy of the next tokens."""
        return self.cross_entropy.forward(self.head.forward(self.hidden_states(token_ids)), targets)

    def backward(self, dloss=1.0):
        """Go back through time."""
        dstates = self.head.backward(self.cross_entropy.backward(dloss))
        dx, dh = np.zeros_like(dstates), np.zeros_like(dstates[:, 0])
        for t in reversed(range(dstates.shape[1])):
            both = self.linear.backward(self.tanh.backward(dstates[:, t] + dh))
            dx[:, t], dh = np.split(both, 2, axis=-1)
        self.embedding.backward(dx)

    def num_targets(self, token_ids, targets):
        """Count the targets that are not ignored."""
        return int((targets != self.cross_entropy.ignore_index).sum())

    def next_logits(self, token_ids):
        """Read everything again."""
        return self.head.forward(self.hidden_states(token_ids)[:, -1])

    def new_states(self, rows, capacity):
        """Make one state, at zero."""
        h = np.zeros((rows, self.config.d_model), self.embedding.weight.value.dtype)
        return [Hidden(h, np.zeros(rows, np.int64))]

    def start(self, token_ids, lengths, states, memory=None):
        """Keep the hidden state at each sequence's end."""
        (state,) = states
        state.h[...] = self.hidden_states(token_ids)[np.arange(len(lengths)), lengths - 1]
        state.lengths = lengths
        return self.head.forward(state.h)

    def step(self, tokens, states):
        """Move each hidden state on by a token."""
        (state,) = states
        state.h[...] = self._cell(self.embedding.forward(tokens), state.h)
        state.lengths = state.lengths + 1
        return self.head.forward(state.h)
