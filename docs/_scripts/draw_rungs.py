"""Draw the pictures of the ladder from arrays of real layers.

Run ``python docs/_scripts/draw_rungs.py``.

Takes about half a minute. The pictures of losses by position and of vanishing gradients come from
`npgpt experiment`, as their pages say.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from npgpt import layers
from npgpt.data import DataLoader, TokenWindows
from npgpt.gradients import record
from npgpt.models import GPT, GPTConfig
from npgpt.ops import reference
from npgpt.optim import AdamW
from npgpt.tokenizers import CharTokenizer
from npgpt.training import Trainer

FOLDER = Path(__file__).parent.parent / "images" / "rungs"
ROOT = Path(__file__).parent.parent.parent
WORDS = ["the", "cat", "saw", "the", "dog", "run"]


def panels(count: int, width: float = 2.6, height: float = 2.7):
    """Make a figure of some panels side by side."""
    figure = Figure(figsize=(width * count, height), dpi=90, layout="constrained")
    axes = figure.subplots(1, count)
    return figure, (axes if count > 1 else [axes])


def save(figure: Figure, name: str) -> None:
    """Write one picture."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    figure.savefig(FOLDER / f"{name}.png")


def heat(axes, array, title, low=None, high=None, cmap="viridis", labels=None) -> None:
    """Show a matrix; numbers in the cells of a small one."""
    axes.imshow(array, vmin=low, vmax=high, cmap=cmap, aspect="auto", interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7)
    if labels is not None:
        axes.set_xticks(range(len(labels)), labels)
        axes.set_yticks(range(len(labels)), labels)
        shades = matplotlib.colormaps[cmap]
        scale = matplotlib.colors.Normalize(
            array.min() if low is None else low, array.max() if high is None else high
        )
        for (t, s), number in np.ndenumerate(array):
            dark = sum(shades(scale(number))[:3]) < 1.5
            colour = "white" if dark else "black"
            axes.text(s, t, f"{number:.2f}", ha="center", va="center", fontsize=6, color=colour)


def tapped(layer, x, name):
    """Run a layer and return what passed under the name of a tap."""
    with record(layer, name) as tape:
        layer.forward(x)
    return tape[name].value


def words(d_model: int, scale: float = 1.0) -> np.ndarray:
    """Embeddings of the six words, (1, 6, d_model): equal words are equal."""
    table = {word: np.random.default_rng(i).standard_normal(d_model) for i, word in enumerate(
        dict.fromkeys(WORDS))}  # fmt: skip
    return scale * np.stack([table[word] for word in WORDS])[None]


def embeddings() -> None:
    """One-hot rows, their product with the table, and the gradient of the table."""
    ids = np.array([0, 1, 2, 0, 3, 4])
    layer = layers.OneHotEmbedding(6, 5, std=1.0, rng=0, dtype=np.float64)
    y = layer.forward(ids)
    layer.backward(np.ones_like(y))
    figure, axes = panels(4, 2.2)
    heat(axes[0], layer.saved, "onehot(ids): 6 tokens, 6 ids")
    heat(axes[1], layer.linear.weight.value.T, "table W: 6 ids, 5 features", cmap="coolwarm")
    heat(axes[2], y, "product = rows looked up", cmap="coolwarm")
    heat(axes[3], layer.linear.weight.grad.T, "dW for dy = 1: id 0 came twice", 0, 2)
    save(figure, "embeddings")


def positions() -> None:
    """What each kind adds, and how it depends on distance."""
    figure, axes = panels(4)
    table = reference.sinusoids(np.arange(32), 32)
    heat(axes[0], table, "sinusoidal: 32 positions, 32 features", cmap="coolwarm")
    heat(axes[1], table @ table.T / 16, "its dot products")
    for head, row in enumerate(layers.ALiBi(4).forward(64)):
        axes[2].plot(row, label=f"head {head}")
    t5 = layers.RelativePositionBias(1, 32, 128, std=1.0, rng=0)
    axes[2].plot(6 * t5.forward(64)[0] - 12, color="#8c8c8c", label="T5 (start, stretched)")
    axes[2].set_title("bias by distance", fontsize=9)
    axes[2].legend(fontsize=6, frameon=False)
    rotary = layers.RotaryEmbedding(32)
    same = np.ones((1, 1, 64, 32))
    turned = rotary.forward(same)[0, 0]
    axes[3].plot(turned[0] @ turned.T / 32)
    axes[3].set_title("RoPE: q . k of equal vectors", fontsize=9)
    for panel in axes[2:]:
        panel.set_xlabel("distance", fontsize=8)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.25)
    save(figure, "positions")


def simplified_attention() -> None:
    """Weights by softmax and by sums."""
    x = words(8, 0.6)
    figure, axes = panels(2, 3.4, 3.0)
    for panel, name in zip(axes, ("softmax", "sum"), strict=True):
        weights = tapped(layers.SimplifiedSelfAttention(name), x, "weights")[0]
        heat(panel, weights, f"weights by {name}", -1, 1, "coolwarm", WORDS)
    save(figure, "simplified-attention")


def self_attention() -> None:
    """Variance of the scores, the largest weight and the gradient, against d_k."""
    sizes = [2**i for i in range(1, 14)]
    figure, axes = panels(3)
    for scale, colour in ((True, "#4c72b0"), (False, "#c44e52")):
        variances, largest, gradients = [], [], []
        for d_k in sizes:
            q, k = np.random.default_rng(0).standard_normal((2, 64, d_k))
            scores = q @ k.T / (np.sqrt(d_k) if scale else 1.0)
            weights = reference.softmax_forward(scores)
            dweights = np.random.default_rng(1).standard_normal(weights.shape)
            variances.append(scores.var())
            largest.append(weights.max(axis=-1).mean())
            dscores = reference.softmax_backward(dweights, weights)
            gradients.append(np.median(np.linalg.norm(dscores, axis=-1)))
        label = "scaled" if scale else "scale_scores=False"
        for panel, values in zip(axes, (variances, largest, gradients), strict=True):
            panel.plot(sizes, values, ".-", color=colour, label=label)
    titles = ("variance of the scores", "largest weight, mean", "|dscores| of a row, median")
    for panel, title in zip(axes, titles, strict=True):
        panel.set_title(title, fontsize=9)
        panel.set_xscale("log", base=2)
        panel.set_xlabel("d_k", fontsize=8)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.25)
        panel.legend(fontsize=7, frameon=False)
    axes[0].set_yscale("log", base=2)
    save(figure, "self-attention")


def causal_attention() -> None:
    """Weights of the three maskings, and what the first output depends on."""
    x = words(8)
    figure, axes = panels(3, 3.2, 3.0)
    for panel, masking in zip(axes, ("scores", "weights", "leaking"), strict=True):
        layer = layers.CausalSelfAttention(8, 8, masking=masking, rng=0, dtype=np.float64)
        for parameter in layer.parameters():
            parameter.value *= 25.0
        weights = tapped(layer, x, "weights")[0]
        heat(panel, weights, f"masking={masking!r}", 0, 1, labels=WORDS)
    save(figure, "causal-attention")


def attention_dropout() -> None:
    """Weights before and after dropout, and over many masks."""
    x = words(8)
    layer = layers.CausalSelfAttention(8, 8, dropout=0.5, rng=0, dtype=np.float64)
    for parameter in layer.parameters():
        parameter.value *= 25.0
    kept = [tapped(layer, x, "weights")[0] for _ in range(2000)]
    layer.eval()
    figure, axes = panels(3, 3.2, 3.0)
    heat(axes[0], tapped(layer, x, "weights")[0], "evaluation", 0, 1, labels=WORDS)
    heat(axes[1], kept[0], "training: one mask, p = 0.5", 0, 1, labels=WORDS)
    heat(axes[2], np.mean(kept, axis=0), "mean of 2,000 masks", 0, 1, labels=WORDS)
    save(figure, "attention-dropout")


def trained_model(**choices):
    """Train a small model on this project's README; return it and 40 characters of it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tokenizer = CharTokenizer.train([text])
    ids = np.asarray(tokenizer.encode(text))
    config = GPTConfig(tokenizer.vocab_size, 40, 2, 4, 64, position="rope", **choices)
    model = GPT(config, seed=0)
    loader = DataLoader(TokenWindows(ids, 40, 3), batch_size=16, shuffle=True)
    Trainer(model, loader, steps=400, optimizer=AdamW(model.parameters(), lr=3e-3)).fit()
    return model.eval(), ids[None, 200:240]


def multi_head() -> None:
    """The heads of a trained layer."""
    model, ids = trained_model()
    with record(model, "blocks.1.attention.weights") as tape:
        model.forward(ids)
    weights = tape["blocks.1.attention.weights"].value[0]
    figure, axes = panels(4)
    for head, panel in enumerate(axes):
        heat(panel, weights[head] ** 0.5, f"block 1, head {head}", 0, 1)
        panel.set_xlabel("key", fontsize=8)
    axes[0].set_ylabel("query", fontsize=8)
    save(figure, "multi-head")


def grouped_query() -> None:
    """A window, and heads that share keys."""
    model, ids = trained_model(n_kv_heads=2, window=12)
    with record(model, "blocks.1.attention.weights") as tape:
        model.forward(ids)
    weights = tape["blocks.1.attention.weights"].value[0]
    figure, axes = panels(4)
    for head, panel in enumerate(axes):
        heat(panel, weights[head] ** 0.5, f"head {head}: key head {head // 2}", 0, 1)
        panel.set_xlabel("key", fontsize=8)
    axes[0].set_ylabel("query", fontsize=8)
    save(figure, "grouped-query")


def normalisation() -> None:
    """The same rows under each norm."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((12, 16)) * np.linspace(0.3, 2.0, 12)[:, None] + np.linspace(-2, 2, 16)
    figure, axes = panels(4)
    heat(axes[0], x, "x: 12 tokens, 16 features", -4, 4, "coolwarm")
    kinds = (layers.BatchNorm, layers.LayerNorm, layers.RMSNorm)
    for panel, kind in zip(axes[1:], kinds, strict=True):
        y = kind(16, dtype=np.float64).forward(x)
        heat(panel, y, kind.__name__, -4, 4, "coolwarm")
        panel.set_xlabel("feature", fontsize=8)
    axes[0].set_ylabel("token", fontsize=8)
    save(figure, "normalisation")


def feed_forward() -> None:
    """Each activation and its derivative, by forward and backward."""
    x = np.linspace(-4, 4, 401)[:, None]
    figure, axes = panels(2, 3.6, 2.9)
    kinds = {"gelu": layers.GELU(), "gelu_exact": layers.GELU("none"), "relu": layers.ReLU()}
    for name, layer in kinds.items():
        style = "--" if name == "gelu_exact" else "-"
        axes[0].plot(x, layer.forward(x), style, label=name)
        axes[1].plot(x, layer.backward(np.ones_like(x)), style, label=name)
    gate = layers.SwiGLU()
    both = np.concatenate([x, np.ones_like(x)], axis=-1)
    axes[0].plot(x, gate.forward(both), label="swiglu, up = 1")
    axes[1].plot(x, gate.backward(np.ones_like(x))[:, :1], label="swiglu, up = 1")
    for panel, title in zip(axes, ("forward", "backward of ones"), strict=True):
        panel.set_title(title, fontsize=9)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.25)
    axes[0].legend(fontsize=7, frameon=False)
    save(figure, "feed-forward")


if __name__ == "__main__":
    for draw in (
        embeddings, positions, simplified_attention, self_attention, causal_attention,
        attention_dropout, multi_head, grouped_query, normalisation, feed_forward,
    ):  # fmt: skip
        draw()
