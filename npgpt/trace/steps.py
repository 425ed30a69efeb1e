"""The gates and states that a layer makes at each step: what each is for, and its equations."""

from __future__ import annotations

import dataclasses

from npgpt.layers import Layer
from npgpt.trace.equations import Equation


@dataclasses.dataclass(frozen=True)
class Step:
    """A gate, a state or a half of a layer that has a box of its own.

    Attributes
    ----------
    what : str
        What it is, and whose.
    summary : str
    equation : Equation
    """

    what: str
    summary: str
    equation: Equation


HIDDEN = "What the layer remembers of everything before, and what it shows."
RELU_HIDDEN = Step(
    "state of the RNN",
    HIDDEN,
    Equation(
        ("hₜ = max(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh, 0)",),
        ("dhₜ = dyₜ + W_hhᵀ daₜ₊₁", "daₜ = dhₜ where hₜ > 0, and 0 elsewhere"),
    ),
)

# by the layer and by the tap
STEPS: dict[str, dict[str, Step]] = {
    "RNN": {
        "hidden": Step(
            "state of the RNN",
            HIDDEN,
            Equation(
                ("hₜ = tanh(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh)",),
                ("dhₜ = dyₜ + W_hhᵀ daₜ₊₁", "daₜ = dhₜ ⊙ (1 − hₜ²)"),
            ),
        ),
    },
    "GRU": {
        "reset_gate": Step(
            "gate of the GRU",
            "How much of the state before has a part in what is new: 0 is nothing, 1 all.",
            Equation(("r = σ(a_r + b_r)",), ("dr = da_n ⊙ b_n", "da_r = db_r = dr ⊙ r ⊙ (1 − r)")),
        ),
        "update_gate": Step(
            "gate of the GRU",
            "How much of the state before stays: at 1 all of it, and its gradient too.",
            Equation(
                ("z = σ(a_z + b_z)",),
                ("dz = dhₜ ⊙ (hₜ₋₁ − n)", "da_z = db_z = dz ⊙ z ⊙ (1 − z)"),
            ),
        ),
        "candidate": Step(
            "what the GRU may write",
            "The new state, as it would be if nothing of the old one stayed.",
            Equation(
                ("n = tanh(a_n + r ⊙ b_n)",),
                ("dn = dhₜ ⊙ (1 − z)", "da_n = dn ⊙ (1 − n²),   db_n = da_n ⊙ r"),
            ),
        ),
        "hidden": Step(
            "state of the GRU",
            HIDDEN,
            Equation(("hₜ = (1 − z) ⊙ n + z ⊙ hₜ₋₁",), ("dhₜ = dyₜ + zₜ₊₁ ⊙ dhₜ₊₁ + W_hhᵀ dbₜ₊₁",)),
        ),
    },
    "LSTM": {
        "input_gate": Step(
            "gate of the LSTM",
            "How much of the candidate is written to the cell: 0 is nothing, 1 all.",
            Equation(("i = σ(a_i)",), ("di = dcₜ ⊙ g", "da_i = di ⊙ i ⊙ (1 − i)")),
        ),
        "forget_gate": Step(
            "gate of the LSTM",
            "How much of the cell stays: at 1 it keeps what is in it, and its gradient too.",
            Equation(("f = σ(a_f)",), ("df = dcₜ ⊙ cₜ₋₁", "da_f = df ⊙ f ⊙ (1 − f)")),
        ),
        "candidate": Step(
            "what the LSTM may write",
            "What is added to the cell, as far as the input gate lets it.",
            Equation(("g = tanh(a_g)",), ("dg = dcₜ ⊙ i", "da_g = dg ⊙ (1 − g²)")),
        ),
        "output_gate": Step(
            "gate of the LSTM",
            "How much of the cell is shown.",
            Equation(("o = σ(a_o)",), ("do = dhₜ ⊙ tanh(cₜ)", "da_o = do ⊙ o ⊙ (1 − o)")),
        ),
        "cell": Step(
            "state of the LSTM",
            "What the layer remembers; it is added to, and no matrix multiplies it.",
            Equation(
                ("cₜ = f ⊙ cₜ₋₁ + i ⊙ g",),
                ("dcₜ = fₜ₊₁ ⊙ dcₜ₊₁ + dhₜ ⊙ o ⊙ (1 − tanh²(cₜ))",),
            ),
        ),
        "hidden": Step(
            "state of the LSTM",
            "What the layer shows of its cell, to the layer above and to its own next step.",
            Equation(("hₜ = o ⊙ tanh(cₜ)",), ("dhₜ = dyₜ + W_hhᵀ daₜ₊₁",)),
        ),
    },
    "GatedConv1d": {
        "value": Step(
            "half of the convolution",
            "What may go on to the layers above.",
            Equation(("value = the first half of conv(x)",), ("dvalue = dy ⊙ σ(gate)",)),
        ),
        "gate": Step(
            "half of the convolution",
            "How much of the value goes on; below 0 less than half, above 0 more.",
            Equation(
                ("gate = the second half of conv(x),   open by σ(gate)",),
                ("dgate = dy ⊙ value ⊙ σ(gate) (1 − σ(gate))",),
            ),
        ),
    },
}


def steps_of(layer: Layer) -> dict[str, Step]:
    """Return the taps of a layer that have boxes of their own, none for most.

    Parameters
    ----------
    layer : Layer
        One that is made from a recurrent layer, with a forward of its own, has none.
    """
    for kind in type(layer).__mro__:
        if kind.__name__ in STEPS and not getattr(kind, "is_foreign", True):
            relu = getattr(layer, "nonlinearity", "tanh") == "relu"
            return {"hidden": RELU_HIDDEN} if relu else STEPS[kind.__name__]
        if "forward" in vars(kind):
            break
    return {}
