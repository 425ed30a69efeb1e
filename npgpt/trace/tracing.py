"""One text through a model and back, and the page that shows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from npgpt.files import write_atomically
from npgpt.generation import ids_without_token
from npgpt.gradients.attribution import (
    direct_logit_attribution,
    gradient_times_input,
    integrated_gradients,
)
from npgpt.gradients.logit_parts import why_no_sum
from npgpt.gradients.untouched import untouched
from npgpt.models.next_token import NextTokenModel
from npgpt.ops import IGNORE_INDEX, reference
from npgpt.tokenizers import Tokenizer
from npgpt.trace.boxes import Views, boxes_of, named_blocks
from npgpt.trace.data import Explanation, Prediction, TraceData
from npgpt.trace.token_text import TokenText

LIKELIEST = 5  # predictions kept of each position
ALL_LAYERS_UP_TO = 6  # deeper models show heat maps of three layers unless told otherwise


@dataclasses.dataclass(frozen=True)
class Trace(TraceData):
    """What `trace` found; shown by a notebook, written as one HTML page by `save`."""

    def to_html(self) -> str:
        """Draw everything as one HTML page that needs no network.

        Raises
        ------
        ModuleNotFoundError
            If Jinja2 or Pillow is not installed.
        """
        from npgpt.trace.page import page  # only who looks at the page pays for it

        return page(self)

    def save(self, path: str | Path) -> None:
        """Write the page of `to_html` to a file, which is replaced if it is there."""
        write_atomically(path, self.to_html().encode())

    def _repr_html_(self) -> str:
        from npgpt.trace.page import frame

        return frame(self)


def trace(
    model: NextTokenModel,
    tokenizer: Tokenizer,
    text: str,
    *,
    layers: Sequence[int] | None = None,
    position: int = -1,
    token: int | None = None,
    steps: int = 64,
    name: str = "",
    on_progress: Callable[[int, int], None] | None = None,
) -> Trace:
    """Send a text through a model and the gradient of its loss back, and keep what can be shown.

    Parameters
    ----------
    model : NextTokenModel
        A GPT, a recurrent or a convolutional one. Runs in evaluation mode; its mode and gradients
        are left as they are.
    tokenizer : Tokenizer
    text : str
        At least two tokens, and no more than the model's positions reach.
    layers : sequence of int, optional
        Blocks, or recurrent layers, that carry heat maps; all have statistics. By default all of a
        model of up to 6 blocks, otherwise the first, the middle and the last.
    position : int
        Where the prediction that is explained is made; negative counts from the end.
    token : int, optional
        Whose logit is explained; the likeliest one's by default.
    steps : int
        Of `integrated_gradients`, which takes most of the time.
    name : str
        What the page calls the model.
    on_progress : function, optional
        Called with (steps done, steps in all).

    Returns
    -------
    Trace

    Raises
    ------
    ValueError
        If the text is too short or too long, or a layer, position or token is not there.

    Notes
    -----
    Arrays are looked at as they are made and not kept; the memory needed is that of a backward pass
    with attention in steps, whose weights are kept, (heads, time, time) in each block.

    Examples
    --------
    >>> import npgpt
    >>> tokenizer = npgpt.tokenizers.CharTokenizer.train("to be or not to be")
    >>> config = npgpt.GPTConfig(tokenizer.vocab_size, 16, n_layers=2, n_heads=2, d_model=8)
    >>> traced = npgpt.trace.trace(npgpt.GPT(config), tokenizer, "to be")
    >>> [prediction.token.shown for prediction in traced.predictions]
    ['t', 'o', '␣', 'b', 'e']
    >>> traced.save("trace.html")  # doctest: +SKIP
    """
    ids = _ids(model, tokenizer, text)
    layers = _checked_layers(model.config.n_layers, layers)
    targets = np.append(ids[1:], IGNORE_INDEX)
    views = Views(model, named_blocks(model, layers))
    with untouched(model, training=False):
        with views:
            logits = model.forward(ids[None])  # (1, time, vocab_size)
            predictions = _predictions(tokenizer, ids, logits[0])
            loss = float(model.cross_entropy.forward(logits, targets[None]))
            del logits  # hundreds of megabytes in a large model
            model.backward()
        boxes = boxes_of(model, views)
    model.forget()
    gradient = gradient_times_input(model, ids, position, token)
    position %= len(ids)
    if token is None:
        token = predictions[position].likeliest[0][0].id
    why_no_parts = why_no_sum(model)
    explanation = Explanation(
        position,
        TokenText.of(tokenizer, token),
        gradient,
        integrated_gradients(model, ids, position, token, steps, on_points=on_progress),
        None if why_no_parts else direct_logit_attribution(model, ids, position, token),
        why_no_parts,
    )
    model.forget()
    return Trace(
        name,
        model.config,
        model.dtype.name,
        model.num_parameters(),
        loss,
        predictions,
        explanation,
        boxes,
        layers,
    )


def _ids(model: NextTokenModel, tokenizer: Tokenizer, text: str) -> np.ndarray:
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"trace: the tokenizer has {tokenizer.vocab_size} tokens, more than the model's "
            f"{model.config.vocab_size}."
        )
    if not text:
        raise ValueError("trace: the text is empty; give one of at least two tokens.")
    ids = np.asarray(tokenizer.encode_prompt(text))
    if len(ids) < 2:
        raise ValueError(
            f"trace: the text {text!r} is a single token, so there is nothing to predict; give a "
            "longer one."
        )
    longest = model.config.max_length
    if longest is not None and len(ids) > longest:
        raise ValueError(
            f"trace: the text has {len(ids)} tokens, but the model's context is {longest}; give a "
            "shorter one."
        )
    return ids


def _checked_layers(n_layers: int, layers: Sequence[int] | None) -> tuple[int, ...]:
    if layers is None:
        few = n_layers <= ALL_LAYERS_UP_TO
        layers = range(n_layers) if few else (0, n_layers // 2, n_layers - 1)
    for layer in layers:
        if not 0 <= layer < n_layers:
            raise ValueError(f"trace: there is no layer {layer}; they are 0 to {n_layers - 1}.")
    return tuple(sorted(set(layers)))


def _predictions(
    tokenizer: Tokenizer, ids: np.ndarray, logits: np.ndarray
) -> tuple[Prediction, ...]:
    predictions = []
    tokens = np.setdiff1d(
        np.arange(logits.shape[-1]), ids_without_token(tokenizer, logits.shape[-1])
    )
    for position, row in enumerate(logits):
        probabilities = reference.softmax_forward(row.astype(np.float64))  # of all ids
        order = tokens[np.argsort(-probabilities[tokens], kind="stable")[:LIKELIEST]]
        likeliest = tuple((TokenText.of(tokenizer, i), float(probabilities[i])) for i in order)
        token = TokenText.of(tokenizer, ids[position])
        if position + 1 == len(ids):
            predictions.append(Prediction(token, likeliest))
            continue
        target = ids[position + 1]
        probability = float(probabilities[target])
        with np.errstate(divide="ignore"):
            loss = float(-np.log(probability))
        rank = 1 + int(np.count_nonzero(probabilities[tokens] > probability))
        target_text = TokenText.of(tokenizer, target)
        predictions.append(Prediction(token, likeliest, target_text, loss, probability, rank))
    return tuple(predictions)
