"""What each kind of layer computes, forward and backward, in a line or a few."""

from __future__ import annotations

import dataclasses
import re

from npgpt.layers import Layer


@dataclasses.dataclass(frozen=True)
class Equation:
    """Lines of mathematics in Unicode; a gradient of the loss by ``a`` is written ``da``."""

    forward: tuple[str, ...]
    backward: tuple[str, ...] = ()


EQUATIONS: dict[str, Equation] = {
    "GPT": Equation(
        (
            "x⁽⁰⁾ = token_embedding[ids] + position_embedding[0 … T−1]",
            "x⁽ˡ⁺¹⁾ = blockₗ(x⁽ˡ⁾)",
            "loss = cross_entropy(head(final_norm(x⁽ᴸ⁾)), targets)",
        ),
        ("the same in reverse: dx⁽ˡ⁾ = blockₗ.backward(dx⁽ˡ⁺¹⁾)",),
    ),
    "Embedding": Equation(("y = onehot(ids) W",), ("dW += onehot(ids)ᵀ dy",)),
    "PositionEmbedding": Equation(("yₜ = xₜ + Wₜ",), ("dx = dy", "dWₜ += Σ over the batch of dyₜ")),
    "Dropout": Equation(
        ("y = x ⊙ mask / (1 − p)   while training, and y = x otherwise",),
        ("dx = dy ⊙ mask / (1 − p)",),
    ),
    "TransformerBlock": Equation(
        ("m = x + attention(attention_norm(x))", "y = m + feed_forward(feed_forward_norm(m))"),
        (
            "dm = dy + feed_forward_norm.backward(feed_forward.backward(dy))",
            "dx = dm + attention_norm.backward(attention.backward(dm))",
        ),
    ),
    "LayerNorm": Equation(
        ("y = γ ⊙ x̂ + β,   x̂ = (x − μ) r,   r = 1 / √(σ² + ε)",),
        (
            "dβ += Σ dy,   dγ += Σ dy ⊙ x̂",
            "dx = r (dx̂ − mean(dx̂) − x̂ mean(dx̂ ⊙ x̂)),   dx̂ = γ ⊙ dy",
        ),
    ),
    "MultiHeadAttention": Equation(
        (
            "q, k, v = split(x W_qkvᵀ + b_qkv)",
            "scores = q kᵀ / √head_size,   −∞ in the future",
            "weights = softmax(scores),   context = weights v",
            "y = concat(contexts) W_projectionᵀ + b_projection",
        ),
        (
            "dweights = dcontext vᵀ,   dv = weightsᵀ dcontext",
            "dscores = weights ⊙ (dweights − Σₛ dweights ⊙ weights)",
            "dq = dscores k / √head_size,   dk = dscoresᵀ q / √head_size",
        ),
    ),
    "Linear": Equation(("y = x Wᵀ + b",), ("dx = dy W", "dW += dyᵀ x,   db += Σ over rows of dy")),
    "FeedForward": Equation(
        ("hidden = x W_upᵀ + b_up", "activation = φ(hidden)", "y = activation W_downᵀ + b_down"),
        ("dactivation = dy W_down", "dhidden = dactivation ⊙ φ′(hidden)", "dx = dhidden W_up"),
    ),
    "GELU": Equation(
        ("y = x Φ(x) ≈ x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))",),
        ("dx = dy ⊙ (Φ(x) + x φ(x))",),
    ),
    "OutputHead": Equation(("logits = x Wᵀ",), ("dx = dlogits W", "dW += dlogitsᵀ x")),
    "CrossEntropy": Equation(
        ("loss = meanₜ (log Σᵥ exp logitsₜᵥ − logits at the target)",),
        ("dlogitsₜ = (softmax(logitsₜ) − onehot(targetₜ)) / number of targets",),
    ),
}

IN_DOCSTRING = re.compile(r"``([^`]*?=[^`]*)``")


def equation_of(layer: type[Layer]) -> Equation:
    """Return the equations of a kind of layer.

    Parameters
    ----------
    layer : class
        One without an entry in `EQUATIONS` has that of the class it is made from, or else the
        equations of its docstring; then it may have none.
    """
    for kind in layer.__mro__:
        if kind is Layer:
            break
        if kind.__name__ in EQUATIONS:
            return EQUATIONS[kind.__name__]
        found = IN_DOCSTRING.findall(kind.__doc__ or "")
        if found:
            return Equation((" ".join(found[0].split()),))
    return Equation(())
