"""Run a model without leaving a trace in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from npgpt.layers import Layer
from npgpt.layers.core.progress import Progress


@contextmanager
def untouched(model: Layer, training: bool | None = None, frozen: bool = False) -> Iterator[None]:
    """Lend a model inside a ``with`` block; afterwards it is in the state it was in before.

    Gradients of the block go to arrays of their own, which start at zero. Mode, gradients, and the
    layers' `Progress` (dropout's place in its random stream) are restored; what forward saved is
    not.

    Parameters
    ----------
    model : Layer
    training : bool, optional
        Mode inside the block; by default the model's own.
    frozen : bool
        Whether backward leaves out the gradients of the parameters, because only those of
        activations are wanted.
    """
    modes = [(layer, layer.training) for layer in model.layers()]
    progress = Progress(model)
    grads = [(parameter, parameter.set_grad_aside()) for parameter in model.parameters()]
    trained = model.trained_parameters()
    if frozen:
        for parameter in trained:
            parameter.freeze()
    if training is not None:
        model.train(training)
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode
        progress.restore()
        for parameter in trained:
            parameter.freeze(False)
        for parameter, kept in grads:
            parameter.restore_grad(kept)
