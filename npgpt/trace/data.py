"""What is known of one text through a model and back: boxes, arrays, losses, attributions."""

from __future__ import annotations

import dataclasses

from npgpt.gradients.attributed import LogitParts, TokenAttribution
from npgpt.layers.core.names import place_of, stacks_of
from npgpt.models import ModelConfig
from npgpt.trace.boxes import Box
from npgpt.trace.token_text import TokenText


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the model expected at a position.

    Attributes
    ----------
    token : TokenText
        That it has read last.
    likeliest : tuple of (TokenText, float)
        What it expected next, with probabilities, the likeliest first; ids that stand for no token
        have a share of the probability, but are not among them.
    target : TokenText or None
        The token that the text has next; None at its end.
    loss, probability, rank : float, float, int; or None
        Of the target: cross-entropy in nats, and its place among all tokens, from 1.
    """

    token: TokenText
    likeliest: tuple[tuple[TokenText, float], ...]
    target: TokenText | None = None
    loss: float | None = None
    probability: float | None = None
    rank: int | None = None


@dataclasses.dataclass(frozen=True)
class Explanation:
    """One logit, attributed to tokens and to parts of the model.

    Attributes
    ----------
    position : int
        Where the prediction is made.
    token : TokenText
        Whose logit.
    gradient_times_input, integrated_gradients : TokenAttribution
    parts : LogitParts or None
        None for a model whose residual stream is not a sum: a recurrent one, one without shortcuts,
        or with norms after them.
    why_no_parts : str
        Why there are none.
    """

    position: int
    token: TokenText
    gradient_times_input: TokenAttribution
    integrated_gradients: TokenAttribution
    parts: LogitParts | None
    why_no_parts: str = ""


@dataclasses.dataclass(frozen=True)
class TraceData:
    """What `npgpt.trace.trace` found.

    Attributes
    ----------
    name : str
        Of the model, as the page shows it; may be empty.
    config : ModelConfig
    dtype : str
    num_parameters : int
    loss : float
        Mean over the text, in nats; the gradients are those of this loss.
    predictions : tuple of Prediction
        One a token.
    explanation : Explanation
    boxes : tuple of Box
        The model's layers in the order of the forward pass, those of all blocks together.
    layers : tuple of int
        The blocks that carry heat maps.
    """

    name: str
    config: ModelConfig
    dtype: str
    num_parameters: int
    loss: float
    predictions: tuple[Prediction, ...]
    explanation: Explanation
    boxes: tuple[Box, ...]
    layers: tuple[int, ...]

    @property
    def stacks(self) -> dict[str, range]:
        """The stacks and the depths of their blocks, which go on from one to the next.

        Recurrent layers on each other are a stack too, though they are one layer.
        """
        instances = [i for box in self.boxes for i in box.instances if i.name]
        return stacks_of(
            i.name if place_of(i.name).number == i.block else f"{i.name}.{i.block}"
            for i in instances
        )

    @property
    def n_layers(self) -> int:
        """Blocks of the deepest stack."""
        return max(map(len, self.stacks.values()), default=0)
