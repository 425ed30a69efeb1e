"""What language models share whose states do not grow: they read as long as one likes."""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any

import numpy as np

from npgpt.fields import check_options, documented, option
from npgpt.layers import CrossEntropy, Embedding, FlatParameters, Init, OutputHead
from npgpt.layers.block_config import MODEL, check_config
from npgpt.layers.dropout import Dropout
from npgpt.models.model import ModelConfig
from npgpt.models.next_token import NextTokenModel


@documented
@dataclasses.dataclass(frozen=True)
class UnboundedConfig(ModelConfig):
    """Base of the shapes of such models.

    Parameters
    ----------
    n_layers : int
        Layers on each other.
    d_model : int
        Width of the embedding and of all layers.
    dropout : float
        Probability.
    bias : bool
        Biases of the layers.
    tie_embeddings : bool
        Whether the output head is the token embedding's table.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    n_layers: int = option(MODEL, names=("--n-layers", "--layers"), minimum=1)
    d_model: int = option(MODEL, minimum=1)
    dropout: float = option(MODEL, default=0.0)
    bias: bool = option(MODEL, default=True)
    tie_embeddings: bool = option(MODEL, default=True)

    @property
    def max_length(self) -> None:
        """Tokens of the longest sequence that forward takes: there is no end."""
        return None

    def __post_init__(self) -> None:
        check_options(self, type(self).__name__)
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(
                f"{type(self).__name__}: dropout must be at least 0 and below 1, "
                f"got {self.dropout}."
            )


class UnboundedModel(NextTokenModel):
    """Base of such models: an embedding, layers that a family makes, a head.

    Parameters
    ----------
    config : UnboundedConfig
    seed : int
        Of the initial weights and of the dropout masks.
    dtype : dtype
        float32 to train, float64 to check gradients.
    init : Init, optional
        In the place of ``seed`` and ``dtype``.
    """

    TAPS: tuple[str, ...] = ("embeddings", "hidden")

    embedding_dropout: Dropout

    def __init__(
        self, config: Any, seed: int = 0, dtype: Any = np.float32, init: Init | None = None
    ):
        super().__init__()
        check_config(config, self, self.Config)
        init = init or Init(seed, dtype)
        self.config, self.seed, self.dtype = config, init.seed, init.dtype
        shape, std = (config.vocab_size, config.d_model), 1.0 / math.sqrt(config.d_model)
        self.token_embedding = Embedding(*shape, std, init.rng, init.dtype)
        self.embedding_dropout = init.dropout(config.dropout)
        self._make_layers(init)
        tied_to = self.token_embedding.weight if config.tie_embeddings else None
        self.head = OutputHead(*shape[::-1], tied_to, init.rng, init.dtype)
        self.cross_entropy = CrossEntropy()
        self.assign_names()
        FlatParameters(self.parameters())

    def _make_layers(self, init: Init) -> None:
        """Make what stands between embedding and head."""
        raise TypeError(f"{type(self).__name__} has no _make_layers; a model must define it.")

    @property
    def context_length(self) -> int:
        """How many tokens may be read: there is no end."""
        return sys.maxsize

    @property
    def reads_in_steps(self) -> bool:
        """Whether `start` and `step` give what the whole text at once does."""
        parts = [part for _, part in self.children() if part is not self.cross_entropy]
        return all(layer.IN_STEPS for part in parts for layer in part.layers())

    def _embed(self, token_ids) -> np.ndarray:
        if not self._unrolling:
            self.cross_entropy.forget()  # an earlier loss does not belong to this forward pass
        x = self.token_embedding.forward(token_ids)
        return self.tap("embeddings", self.embedding_dropout.forward(x))

    def _embed_backward(self, dx: np.ndarray) -> None:
        """Undo `_embed`."""
        dx = self.embedding_dropout.backward(self.tap_grad("embeddings", dx))
        self.token_embedding.backward(dx)

    def next_logits(self, token_ids: np.ndarray) -> np.ndarray:
        """Compute the logits after the last position only; see `Generates.next_logits`."""
        return self.head.forward(self.hidden_states(token_ids)[:, -1])
