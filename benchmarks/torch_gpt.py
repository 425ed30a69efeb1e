"""The same GPT in PyTorch, with its automatic gradients: the twin that npgpt is compared with."""

from __future__ import annotations

import math
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

# our parameter names -> the twin's; blocks.N. stays in front
NAMES = {
    "token_embedding.weight": "tokens.weight",
    "position_embedding.weight": "positions.weight",
    "attention_norm.gamma": "norm1.weight",
    "attention_norm.beta": "norm1.bias",
    "attention.qkv.weight": "qkv.weight",
    "attention.qkv.bias": "qkv.bias",
    "attention.projection.weight": "projection.weight",
    "attention.projection.bias": "projection.bias",
    "feed_forward_norm.gamma": "norm2.weight",
    "feed_forward_norm.beta": "norm2.bias",
    "feed_forward.up.weight": "up.weight",
    "feed_forward.up.bias": "up.bias",
    "feed_forward.down.weight": "down.weight",
    "feed_forward.down.bias": "down.bias",
    "final_norm.gamma": "norm.weight",
    "final_norm.beta": "norm.bias",
    "head.weight": "head.weight",
}


def twin_name(name):
    """Translate one of our parameter names."""
    if name.startswith("blocks."):
        _, number, rest = name.split(".", 2)
        return f"blocks.{number}.{NAMES[rest]}"
    return NAMES[name]


class Block(nn.Module):
    """Pre-norm block."""

    def __init__(self, config):
        super().__init__()
        d, bias = config.d_model, config.bias
        self.n_heads, self.p = config.n_heads, config.dropout
        self.norm1 = nn.LayerNorm(d, config.layer_norm_eps, bias=bias)
        self.qkv = nn.Linear(d, 3 * d, bias)
        self.projection = nn.Linear(d, d, bias)
        self.norm2 = nn.LayerNorm(d, config.layer_norm_eps, bias=bias)
        self.up = nn.Linear(d, config.d_ff or 4 * d, bias)
        self.down = nn.Linear(config.d_ff or 4 * d, d, bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x):  # noqa: D102
        batch, time, d = x.shape
        heads = (batch, time, self.n_heads, d // self.n_heads)
        q, k, v = (
            part.view(heads).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        context = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, dropout_p=self.p if self.training else 0.0
        )
        context = self.projection(context.transpose(1, 2).reshape(batch, time, d))
        x = x + self.dropout(context)
        hidden = F.gelu(self.up(self.norm2(x)), approximate="tanh")
        return x + self.dropout(self.down(hidden))


class TorchGPT(nn.Module):
    """GPT of an `npgpt.GPTConfig`."""

    def __init__(self, config):
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.positions = nn.Embedding(config.context_length, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model, config.layer_norm_eps, bias=config.bias)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.tokens.weight

    def forward(self, token_ids):  # noqa: D102
        x = self.dropout(self.tokens(token_ids) + self.positions.weight[: token_ids.shape[1]])
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def loss(self, token_ids, targets):
        """Mean cross-entropy; -100 is ignored."""
        return F.cross_entropy(self(token_ids).flatten(0, 1), targets.flatten())


def shape_of(fields):
    """Make what `TorchGPT` reads of a GPTConfig from some of its fields, without npgpt."""
    defaults = {
        "d_ff": None,
        "dropout": 0.0,
        "bias": True,
        "tie_embeddings": True,
        "layer_norm_eps": 1e-5,
    }
    return SimpleNamespace(**{**defaults, **fields})


def start_as_gpt2(twin, generator):
    """Draw the weights as GPT-2's start: 0.02, and less for what writes to the residual stream."""
    layers = len(twin.blocks)
    with torch.no_grad():
        for name, value in twin.named_parameters():
            if value.ndim >= 2:
                writes = name.endswith(("projection.weight", "down.weight"))
                std = 0.02 / math.sqrt(2 * layers) if writes else 0.02
                value.normal_(0.0, std, generator=generator)
            elif name.endswith("bias"):
                value.zero_()


def twin_of(model):
    """Make the PyTorch twin of one of our models, with the same weights and dtype."""
    twin = TorchGPT(model.config)
    twin.to(getattr(torch, model.dtype.name))
    parameters = dict(twin.named_parameters())
    with torch.no_grad():
        for name, value in model.state_dict().items():
            parameters[twin_name(name)].copy_(torch.from_numpy(value.copy()))
    return twin


def twin_optimizer(twin, lr, betas, weight_decay, **options):
    """AdamW that decays matrices and leaves vectors alone."""
    parameters = list(twin.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, **options)
