"""What models have in common that are a GPT with another loss."""

from __future__ import annotations

from npgpt.models.gpt import GPT
from npgpt.models.model import Model


class Objective(Model):
    """A GPT that is trained for something else than the next token.

    Attributes
    ----------
    body : GPT
        A part of the model; its own name begins the names of its parameters.
    """

    body: GPT


def body_of(model: Model) -> Model:
    """Return the model that an objective is for; any other model as it is."""
    return model.body if isinstance(model, Objective) else model
