"""The same LSTM language model in PyTorch: the twin of `npgpt.models.LSTMLM`."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class TorchLSTM(nn.Module):
    """Embedding, LSTM layers, the embedding's table as the head; without dropout."""

    def __init__(self, vocab_size, d_model, n_layers):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, d_model)
        self.network = nn.LSTM(d_model, d_model, n_layers, batch_first=True)

    def forward(self, token_ids):  # noqa: D102
        y, _ = self.network(self.token_embedding(token_ids))
        return F.linear(y, self.token_embedding.weight)

    def loss(self, token_ids, targets):
        """Mean cross-entropy."""
        return F.cross_entropy(self(token_ids).flatten(0, 1), targets.flatten())


def twin_of(model):
    """Make the twin of one of our models, with the same weights: the names are the same."""
    config = model.config
    twin = TorchLSTM(config.vocab_size, config.d_model, config.n_layers)
    weights = {name: torch.from_numpy(v.copy()) for name, v in model.state_dict().items()}
    twin.load_state_dict(weights)
    return twin
