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


OF_WEIGHTS = (
    "dxₜ = W_ihᵀ daₜ",
    "dW_ih += Σₜ daₜ xₜᵀ,   dW_hh += Σₜ daₜ hₜ₋₁ᵀ,   db_ih, db_hh += Σₜ daₜ",
)

EQUATIONS: dict[str, Equation] = {
    "GPT": Equation(
        (
            "x⁽⁰⁾ = token_embedding[ids], plus position_embedding where there is one",
            "x⁽ˡ⁺¹⁾ = blockₗ(x⁽ˡ⁾)",
            "loss = cross_entropy(head(final_norm(x⁽ᴸ⁾)), targets)",
        ),
        ("the same in reverse: dx⁽ˡ⁾ = blockₗ.backward(dx⁽ˡ⁺¹⁾)",),
    ),
    "Bert": Equation(
        (
            "x⁽⁰⁾ = dropout(norm(token + position + segment))",
            "x⁽ˡ⁺¹⁾ = blockₗ(x⁽ˡ⁾), each position seeing all others",
            "loss = cross_entropy(head(x⁽ᴸ⁾ where a word is masked), the words)",
        ),
        ("the same in reverse; a position that is not masked gets no gradient from the head",),
    ),
    "RecurrentLM": Equation(
        (
            "x = token_embedding[ids]",
            "y, states = network(x)",
            "loss = cross_entropy(head(y), targets)",
        ),
        ("the same in reverse: dx = network.backward(dy), through all layers and all positions",),
    ),
    "ConvolutionalLM": Equation(
        (
            "x⁽⁰⁾ = token_embedding[ids]",
            "x⁽ˡ⁺¹⁾ = x⁽ˡ⁾ + convolutionₗ(x⁽ˡ⁾),   of positions 2ˡ apart",
            "loss = cross_entropy(head(x⁽ᴸ⁾), targets)",
        ),
        ("dx⁽ˡ⁾ = dx⁽ˡ⁺¹⁾ + convolutionₗ.backward(dx⁽ˡ⁺¹⁾)",),
    ),
    "RNN": Equation(
        ("hₜ = tanh(aₜ),   aₜ = W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh", "yₜ = hₜ"),
        ("dhₜ = dyₜ + W_hhᵀ daₜ₊₁,   daₜ = dhₜ ⊙ (1 − hₜ²)", *OF_WEIGHTS),
    ),
    "RNN, relu": Equation(
        ("hₜ = max(aₜ, 0),   aₜ = W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh", "yₜ = hₜ"),
        ("dhₜ = dyₜ + W_hhᵀ daₜ₊₁,   daₜ = dhₜ where hₜ > 0, and 0 elsewhere", *OF_WEIGHTS),
    ),
    "GRU": Equation(
        (
            "a = W_ih xₜ + b_ih,   b = W_hh hₜ₋₁ + b_hh,   each cut in three: r, z, n",
            "r = σ(a_r + b_r),   z = σ(a_z + b_z),   n = tanh(a_n + r ⊙ b_n)",
            "hₜ = (1 − z) ⊙ n + z ⊙ hₜ₋₁,   yₜ = hₜ",
        ),
        (
            "dhₜ = dyₜ + zₜ₊₁ ⊙ dhₜ₊₁ + W_hhᵀ dbₜ₊₁",
            "dxₜ = W_ihᵀ daₜ",
            "dW_ih += Σₜ daₜ xₜᵀ,   dW_hh += Σₜ dbₜ hₜ₋₁ᵀ",
            "db_ih += Σₜ daₜ,   db_hh += Σₜ dbₜ",
        ),
    ),
    "LSTM": Equation(
        (
            "a = W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh,   cut in four: i, f, g, o",
            "i = σ(a_i),   f = σ(a_f),   g = tanh(a_g),   o = σ(a_o)",
            "cₜ = f ⊙ cₜ₋₁ + i ⊙ g,   hₜ = o ⊙ tanh(cₜ),   yₜ = hₜ",
        ),
        (
            "dhₜ = dyₜ + W_hhᵀ daₜ₊₁",
            "dcₜ = fₜ₊₁ ⊙ dcₜ₊₁ + dhₜ ⊙ o ⊙ (1 − tanh²(cₜ))",
            *OF_WEIGHTS,
        ),
    ),
    "CausalConv1d": Equation(
        ("yₜ = b + Σⱼ Wⱼ xₛ,   s = t − (kernel − 1 − j) dilation,   zeros before the first",),
        (
            "dxₛ = Σⱼ Wⱼᵀ dyₜ,   t = s + (kernel − 1 − j) dilation",
            "dWⱼ += Σₜ dyₜ xₛᵀ,   db += Σₜ dyₜ",
        ),
    ),
    "GatedConv1d": Equation(
        ("value, gate = conv(x)", "y = value ⊙ σ(gate)"),
        ("dx = conv.backward(dvalue, dgate)",),
    ),
    "Stack": Equation(
        ("x⁽ˡ⁺¹⁾ = blockₗ(x⁽ˡ⁾)", "y = final_norm(x⁽ᴸ⁾)"),
        ("dx⁽ᴸ⁾ = final_norm.backward(dy)", "dx⁽ˡ⁾ = blockₗ.backward(dx⁽ˡ⁺¹⁾)"),
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
    "TransformerBlock, norms after": Equation(
        ("m = attention_norm(x + attention(x))", "y = feed_forward_norm(m + feed_forward(m))"),
        (
            "ds = feed_forward_norm.backward(dy),   dm = ds + feed_forward.backward(ds)",
            "ds = attention_norm.backward(dm),   dx = ds + attention.backward(ds)",
        ),
    ),
    "TransformerBlock, no shortcuts": Equation(
        ("m = attention(attention_norm(x))", "y = feed_forward(feed_forward_norm(m))"),
        (
            "dm = feed_forward_norm.backward(feed_forward.backward(dy))",
            "dx = attention_norm.backward(attention.backward(dm))",
        ),
    ),
    "TransformerBlock, norms after, no shortcuts": Equation(
        ("m = attention_norm(attention(x))", "y = feed_forward_norm(feed_forward(m))"),
        (
            "dm = feed_forward.backward(feed_forward_norm.backward(dy))",
            "dx = attention.backward(attention_norm.backward(dm))",
        ),
    ),
    "LayerNorm": Equation(
        ("y = γ ⊙ x̂ + β,   x̂ = (x − μ) r,   r = 1 / √(σ² + ε)",),
        (
            "dβ += Σ dy,   dγ += Σ dy ⊙ x̂",
            "dx = r (dx̂ − mean(dx̂) − x̂ mean(dx̂ ⊙ x̂)),   dx̂ = γ ⊙ dy",
        ),
    ),
    "RMSNorm": Equation(
        ("y = γ ⊙ x̂,   x̂ = r x,   r = 1 / √(mean(x²) + ε)",),
        ("dγ += Σ dy ⊙ x̂", "dx = r (dx̂ − x̂ mean(dx̂ ⊙ x̂)),   dx̂ = γ ⊙ dy"),
    ),
    "NoNorm": Equation(("y = x",), ("dx = dy",)),
    "SinusoidalEmbedding": Equation(
        (
            "yₜ,₂ᵢ = xₜ,₂ᵢ + s sin(t ωᵢ),   yₜ,₂ᵢ₊₁ = xₜ,₂ᵢ₊₁ + s cos(t ωᵢ)",
            "ωᵢ = 10000^(−2i / d_model)",
        ),
        ("dx = dy",),
    ),
    "RotaryEmbedding": Equation(
        ("(yᵢ, yⱼ) = (xᵢ, xⱼ) turned by t θ^(−2i / head_size),   j = i + head_size / 2",),
        ("(dxᵢ, dxⱼ) = (dyᵢ, dyⱼ) turned by −t θ^(−2i / head_size)",),
    ),
    "ALiBi": Equation(
        ("bias[h, d] = −slopeₕ d,   d the distance of query and key",), ("nothing is learned",)
    ),
    "RelativePositionBias": Equation(
        ("bias[h, d] = W[bucket(d), h],   d the distance of query and key",),
        ("dW[b, h] += Σ of dbias[h, d] over the distances d in bucket b",),
    ),
    "MultiHeadAttention": Equation(
        (
            "q, k, v = split(x W_qkvᵀ + b_qkv),   q and k turned where positions are rotary",
            "scores = scale q kᵀ + bias of the distance, where there is one;   −∞ where masked",
            "weights = softmax(scores),   context = weights v",
            "y = concat(contexts) W_projectionᵀ + b_projection",
        ),
        (
            "dweights = dcontext vᵀ,   dv = weightsᵀ dcontext",
            "dscores = weights ⊙ (dweights − Σₛ dweights ⊙ weights)",
            "dq = scale dscores k,   dk = scale dscoresᵀ q",
        ),
    ),
    "Linear": Equation(("y = x Wᵀ + b",), ("dx = dy W", "dW += dyᵀ x,   db += Σ over rows of dy")),
    "FeedForward": Equation(
        ("hidden = x W_upᵀ + b_up", "activation = a(hidden)", "y = activation W_downᵀ + b_down"),
        ("dactivation = dy W_down", "dhidden = dactivation ⊙ a′(hidden)", "dx = dhidden W_up"),
    ),
    "GELU": Equation(
        ("y = x Φ(x) ≈ x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))",),
        ("dx = dy ⊙ (Φ(x) + x φ(x)),   φ = Φ′",),
    ),
    "ReLU": Equation(("y = max(x, 0)",), ("dx = dy where x > 0, and 0 elsewhere",)),
    "SiLU": Equation(
        ("y = x σ(x)",),
        ("dx = dy ⊙ σ(x) (1 + x (1 − σ(x)))",),
    ),
    "GLU": Equation(
        ("y = value ⊙ σ(gate),   (value, gate) = the halves of x",),
        ("dvalue = dy ⊙ σ(gate)", "dgate = dy ⊙ value ⊙ σ(gate) (1 − σ(gate))"),
    ),
    "SwiGLU": Equation(
        ("y = silu(g) ⊙ u,   silu(g) = g σ(g),   (g, u) = the halves of x",),
        ("du = dy ⊙ silu(g)", "dg = dy ⊙ u ⊙ σ(g) (1 + g (1 − σ(g)))"),
    ),
    "Tanh": Equation(("y = tanh(x)",), ("dx = dy ⊙ (1 − y²)",)),
    "MaskedWordHead": Equation(
        ("h = norm(activation(x Wᵀ + b))", "logits = h Eᵀ + c   at the masked positions alone"),
        ("dh = dlogits E", "dx = dense.backward(activation.backward(norm.backward(dh)))"),
    ),
    "Pooler": Equation(
        ("y = tanh(x₀ Wᵀ + b)   of the first position",),
        ("dx₀ = (dy ⊙ (1 − y²)) W,   dxₜ = 0 for t > 0",),
    ),
    "OutputHead": Equation(("logits = x Wᵀ",), ("dx = dlogits W", "dW += dlogitsᵀ x")),
    "CrossEntropy": Equation(
        ("loss = meanₜ (log Σᵥ exp logitsₜᵥ − logits at the target)",),
        ("dlogitsₜ = (softmax(logitsₜ) − onehot(targetₜ)) / number of targets",),
    ),
}

IN_DOCSTRING = re.compile(r"``([^`]*?=[^`]*)``")


def equation_of(layer: Layer) -> Equation:
    """Return the equations of a layer.

    Parameters
    ----------
    layer : Layer
        One whose class has no entry in `EQUATIONS` has the equation of its docstring, or else, with
        the forward of the class it is made from, that one's; then it may have none.
    """
    for kind in type(layer).__mro__:
        if kind is Layer or not issubclass(kind, Layer):
            break
        name = kind.__name__ + _arrangement(layer)
        if name in EQUATIONS and not kind.is_foreign:  # another's GELU may be something else
            return EQUATIONS[name]
        found = IN_DOCSTRING.findall(kind.__doc__ or "")
        if found:
            return Equation((" ".join(found[0].split()),))
        if kind.is_foreign and "forward" in vars(kind):
            break  # what it is made from computes something else
    return Equation(())


def _arrangement(layer: Layer) -> str:
    """Name what a layer's equations depend on, as the keys of `EQUATIONS` do."""
    if getattr(layer, "nonlinearity", "tanh") == "relu":
        return ", relu"
    after = ", norms after" if getattr(layer, "norm_position", "pre") == "post" else ""
    return after + ("" if getattr(layer, "shortcut", True) else ", no shortcuts")
