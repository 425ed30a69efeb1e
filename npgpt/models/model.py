"""What a model has that `npgpt.Trainer` can train."""

from __future__ import annotations

from npgpt.layers import Dropout, Layer


class Trainable(Layer):
    """A model with a loss over batches.

    A batch is a tuple of arrays, the first of which are token ids; what the others are, the model
    and the loader of its data agree on.
    """

    def loss_and_backward(self, *batch, **kwargs):
        """Compute the mean loss of a batch, and add its gradient, times ``dloss``.

        ``dloss`` is 1 unless given by its name.
        """
        raise TypeError(f"{type(self).__name__} has no loss_and_backward; a model must define one.")

    def evaluation_loss(self, *batch):
        """Compute the mean loss of a batch when no backward follows."""
        raise TypeError(f"{type(self).__name__} has no evaluation_loss; a model must define one.")

    def num_targets(self, *batch) -> int:
        """Count what the loss of a batch is the mean of."""
        raise TypeError(f"{type(self).__name__} has no num_targets; a model must define it.")

    # --- dropout's place in its random stream, which a checkpoint keeps -------------------------

    @property
    def dropout_step(self) -> int:
        """Number of training forward passes that drew dropout masks."""
        return max(layer.step for layer in self.layers() if isinstance(layer, Dropout))

    @dropout_step.setter
    def dropout_step(self, step: int) -> None:
        for layer in self.layers():
            if isinstance(layer, Dropout):
                layer.step = step
