"""What models have in common that are another model with a loss of their own."""

from __future__ import annotations

from typing import Any

from npgpt.models.model import Model


class Objective(Model):
    """A model of tokens that is trained for something else than tokens.

    Attributes
    ----------
    body : GPT or Bert
        A part of the model; its own name begins the names of its parameters.
    """

    body: Any


def body_of(model: Model) -> Model:
    """Return the model that an objective is for; any other model as it is."""
    return model.body if isinstance(model, Objective) else model
