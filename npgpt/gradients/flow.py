"""How activations and gradients grow, shrink or die on their way through a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from npgpt.html_table import html_table
from npgpt.text_table import text_table

NUMBERS = range(1, 5)  # the columns of both tables that hold numbers


@dataclasses.dataclass(frozen=True)
class ActivationFlow:
    """One activation, and the gradient that reached it.

    Attributes
    ----------
    name : str
        Of the tap.
    rms : float
        Root mean square of the activation's elements.
    grad_norm : float
        Euclidean norm of the loss's gradient by the activation.
    dead_units : float or None
        For a feed-forward layer: share of hidden units whose activation stays, for every token of
        the batch, below 1 % of the root mean square of the layer's activations. They pass next to
        nothing on, and next to no gradient back.
    attention_entropy : float or None
        For an attention layer: mean entropy of the attention weights of a query, in nats. A query
        at position t that looks everywhere alike has ``log(t + 1)``; one that looks at a single
        key has 0.
    """

    name: str
    rms: float
    grad_norm: float
    dead_units: float | None = None
    attention_entropy: float | None = None


@dataclasses.dataclass(frozen=True)
class ParameterFlow:
    """The parameters of one layer, taken as one vector.

    Attributes
    ----------
    name : str
    weight_norm, grad_norm : float
        Euclidean norms; the gradient's before clipping.
    update_ratio : float or None
        ``|weights after - weights before| / |weights before|`` of one optimiser step. Around 1e-3
        is usual; much less is a layer that hardly learns.
    grad_cosine : float or None
        Cosine between this step's gradient and the step before's: 1 where they agree, 0 where
        noise has the better of them.
    """

    name: str
    weight_norm: float
    grad_norm: float
    update_ratio: float | None = None
    grad_cosine: float | None = None


@dataclasses.dataclass(frozen=True)
class Flow:
    """What `gradient_flow` measured; ``print`` shows two tables, a notebook too.

    Attributes
    ----------
    activations : list of ActivationFlow
        In the order of the forward pass.
    parameters : list of ParameterFlow
        One a layer, in the order of the model.
    step : int or None
        Training step, if it was measured in training.
    """

    activations: list[ActivationFlow]
    parameters: list[ParameterFlow]
    step: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Flow:
        """Make a flow from `to_dict`'s fields."""
        return cls(
            [ActivationFlow(**row) for row in fields["activations"]],
            [ParameterFlow(**row) for row in fields["parameters"]],
            fields.get("step"),
        )

    def tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """Return both tables as (head, rows) of text."""
        return [
            (
                ["activation", "rms", "gradient", "dead units", "attention entropy"],
                [_cells(row, (".3e", ".3e", ".1%", ".3f")) for row in self.activations],
            ),
            (
                ["layer", "weights", "gradient", "update / weights", "cosine"],
                [_cells(row, (".3e", ".3e", ".2e", "+.3f")) for row in self.parameters],
            ),
        ]

    def __str__(self) -> str:
        return "\n\n".join(text_table(head, rows, NUMBERS) for head, rows in self.tables())

    def _repr_html_(self) -> str:
        title = "Gradient flow" if self.step is None else f"Gradient flow at step {self.step}"
        return "".join(
            html_table(title, head, rows, numbers=NUMBERS) for head, rows in self.tables()
        )


def _cells(row: ActivationFlow | ParameterFlow, forms: tuple[str, ...]) -> list[str]:
    """Write a row's name and its numbers, blank where there is none."""
    name, *numbers = vars(row).values()
    cells = zip(numbers, forms, strict=True)
    return [name, *("" if number is None else format(number, form) for number, form in cells)]
