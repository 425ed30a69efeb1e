"""Keep every activation and every gradient of a forward and a backward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from npgpt.fields import ShortRepr, did_you_mean
from npgpt.html_table import heat_map, html_table
from npgpt.layers import Layer
from npgpt.layers.core.taps import Listening, matching_names, read_only

MAX_BYTES = 1 << 30


@dataclasses.dataclass(repr=False)
class Recorded(ShortRepr):
    """What passed under one name.

    Attributes
    ----------
    value : ndarray or None
        The activation of the last forward pass.
    grad : ndarray or None
        The gradient that reached it in the last backward pass.
    """

    value: np.ndarray | None = None
    grad: np.ndarray | None = None

    def _repr_html_(self) -> str:
        arrays = (("activation", self.value), ("gradient", self.grad))
        return "".join(heat_map(what, array) for what, array in arrays if array is not None)


class Tape(Listening, Mapping[str, Recorded]):
    """Activations and gradients by dotted name, in the order of the forward pass.

    ``tape["blocks.0.attention.weights"].grad``; of several passes the last one stays. The arrays
    are read-only: they are the model's own, not copies.

    Attributes
    ----------
    num_bytes : int
        Memory that the arrays take.
    """

    def __init__(self, model: Layer, names: str = "*", max_bytes: int = MAX_BYTES):
        super().__init__(model)
        self._wanted = set(matching_names(model, names, "record"))
        self._recorded: dict[str, Recorded] = {}
        self._max_bytes = max_bytes
        self.num_bytes = 0

    # --- as a listener ------------------------------------------------------------------------

    def wants(self, name: str) -> bool:
        """Tell whether this name is recorded."""
        return name in self._wanted

    def on_activation(self, name: str, array: np.ndarray) -> np.ndarray:
        """Keep an activation.

        Parameters
        ----------
        name, array
            As for `npgpt.layers.core.taps.Listener.on_activation`.
        """
        recorded = self._recorded.setdefault(name, Recorded())
        recorded.value = self._keep(array, recorded.value)
        recorded.grad = self._keep(None, recorded.grad)  # of an earlier pass
        return array

    def on_gradient(self, name: str, array: np.ndarray) -> np.ndarray:
        """Keep a gradient.

        Parameters
        ----------
        name, array
            As for `npgpt.layers.core.taps.Listener.on_gradient`.
        """
        recorded = self._recorded.setdefault(name, Recorded())
        recorded.grad = self._keep(array, recorded.grad)
        return array

    def _keep(self, array: np.ndarray | None, before: np.ndarray | None) -> np.ndarray | None:
        added = (0 if array is None else array.nbytes) - (0 if before is None else before.nbytes)
        if self.num_bytes + added > self._max_bytes:
            raise ValueError(
                f"record: more than {self._max_bytes / 1e6:,.0f} MB of arrays would be kept; "
                "record fewer names, a smaller batch, or raise max_bytes."
            )
        self.num_bytes += added
        if array is None:
            return None
        return read_only(array)

    # --- as a mapping -------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Recorded:
        try:
            return self._recorded[name]
        except KeyError:
            near = did_you_mean(str(name), self._recorded)
            raise KeyError(f"nothing was recorded under {name!r}{near}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._recorded)

    def __len__(self) -> int:
        return len(self._recorded)

    def __repr__(self) -> str:
        return f"<Tape of {len(self)} names, {self.num_bytes / 1e6:,.1f} MB>"

    def _repr_html_(self) -> str:
        rows = [
            (name, " × ".join(map(str, (array.shape))), _rms(recorded.value), _rms(recorded.grad))
            for name, recorded in self.items()
            if (array := recorded.value if recorded.value is not None else recorded.grad)
            is not None
        ]
        header = ("name", "shape", "rms", "rms of the gradient")
        title = f"Tape of {len(self)} names, {self.num_bytes / 1e6:,.1f} MB"
        return html_table(title, header, rows, numbers=[2, 3])


def _rms(array: np.ndarray | None) -> str:
    """Root mean square of what is finite: the scores of the future are minus infinity."""
    if array is None:
        return ""
    return f"{np.sqrt(np.mean(np.square(np.abs(array[np.isfinite(array)])))):.3g}"


def record(model: Layer, names: str = "*", max_bytes: int = MAX_BYTES) -> Tape:
    """Record a model's activations, and the gradients that reach them, inside a ``with`` block.

    Parameters
    ----------
    model : Layer
    names : str
        A name or a pattern with ``*``, such as ``"blocks.*.attention.weights"``;
        ``model.tap_names()`` lists all.
    max_bytes : int
        Most memory that the recorded arrays may take.

    Returns
    -------
    Tape
        A mapping from names to `Recorded`, which stays readable after the block.

    Raises
    ------
    ValueError
        If nothing matches ``names``, or ``max_bytes`` would be exceeded.

    Notes
    -----
    Attention's scores and weights exist only while somebody wants them: the layer then takes the
    reference's steps, and the results agree with the fused operation's to rounding. So does the
    feed-forward layer for ``hidden``, and the loss for ``logits``.

    Examples
    --------
    >>> import numpy as np
    >>> import npgpt
    >>> model = npgpt.GPT(npgpt.GPTConfig(7, 4, n_layers=1, n_heads=1, d_model=4))
    >>> ids = np.array([[1, 2, 3]])
    >>> with npgpt.gradients.record(model, "blocks.0.attention.*") as tape:
    ...     loss = model.loss(ids, ids)
    ...     model.backward()
    >>> list(tape)[:4]
    ['blocks.0.attention.q', 'blocks.0.attention.k', 'blocks.0.attention.v', 'blocks.0.attention.scores']
    >>> tape["blocks.0.attention.weights"].grad.shape
    (1, 1, 3, 3)
    """  # noqa: E501
    return Tape(model, names, max_bytes)
