"""nanoGPT's model (karpathy/nanoGPT, model.py), written anew from its description in PyTorch."""

import torch
from torch import nn
from torch.nn import functional as F

ARGUMENTS = {
    "n_layer": 2, "n_head": 2, "n_embd": 8, "block_size": 12, "vocab_size": 31, "dropout": 0.0,
}  # fmt: skip


class LayerNorm(nn.Module):
    def __init__(self, width, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class Attention(nn.Module):
    def __init__(self, width, heads, block_size, bias):
        super().__init__()
        self.c_attn = nn.Linear(width, 3 * width, bias=bias)
        self.c_proj = nn.Linear(width, width, bias=bias)
        self.heads = heads
        self.register_buffer("bias", torch.ones(block_size, block_size).tril()[None, None])

    def forward(self, x):
        batch, time, width = x.shape
        q, k, v = (
            part.view(batch, time, self.heads, -1).transpose(1, 2)
            for part in self.c_attn(x).split(width, dim=2)
        )
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(self.bias[:, :, :time, :time] == 0, float("-inf"))
        return self.c_proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(x.shape))


class MLP(nn.Module):
    def __init__(self, width, bias, approximate):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width, bias=bias)
        self.gelu = nn.GELU(approximate)
        self.c_proj = nn.Linear(4 * width, width, bias=bias)

    def forward(self, x):
        return self.c_proj(self.gelu(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, width, heads, block_size, bias, approximate):
        super().__init__()
        self.ln_1, self.ln_2 = LayerNorm(width, bias), LayerNorm(width, bias)
        self.attn = Attention(width, heads, block_size, bias)
        self.mlp = MLP(width, bias, approximate)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class NanoGPT(nn.Module):
    """With ``approximate="tanh"`` as it was before June 2023."""

    def __init__(
        self,
        n_layer,
        n_head,
        n_embd,
        block_size,
        vocab_size,
        dropout,
        bias=True,
        approximate="none",
    ):
        super().__init__()
        blocks = (Block(n_embd, n_head, block_size, bias, approximate) for _ in range(n_layer))
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(vocab_size, n_embd),
            "wpe": nn.Embedding(block_size, n_embd),
            "h": nn.ModuleList(blocks),
            "ln_f": LayerNorm(n_embd, bias),
        })  # fmt: skip
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.transformer.wte.weight = self.lm_head.weight

    def forward(self, ids):
        x = self.transformer.wte(ids) + self.transformer.wpe(torch.arange(ids.shape[1]))
        for block in self.transformer.h:
            x = block(x)
        return self.lm_head(self.transformer.ln_f(x))


def drawn(seed=0, **changes):
    """Make one in float64 whose numbers are large enough that the two forms of GELU differ."""
    torch.manual_seed(seed)
    model = NanoGPT(**{**ARGUMENTS, **changes}).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.6 * torch.randn_like(parameter))
    return model
