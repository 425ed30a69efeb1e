"""Layers as a stranger writes them: forward(x) and backward(dy), and nothing else."""

import numpy as np

from npgpt.layers import GELU, CrossEntropy, Dropout, Layer, LayerNorm, Linear, Parameter


class ScaleNorm(Layer):
    """The layer of the page "How to add a layer".

    ``y = g x / |x|``.
    """

    def __init__(self, d_model, eps=1e-6, dtype=np.float32):
        super().__init__()
        self.d_model, self.eps = d_model, eps
        self.g = Parameter(np.full(1, np.sqrt(d_model), dtype))

    def forward(self, x):
        r = 1.0 / np.sqrt((x * x).sum(axis=-1, keepdims=True) + self.eps)
        self.keep(x, r)
        return self.g.value * (r * x)

    def backward(self, dy):
        x, r = self.recall()
        x_hat = r * x
        self.g.grad += (dy * x_hat).sum()
        return self.g.value * r * (dy - x_hat * (dy * x_hat).sum(axis=-1, keepdims=True))


class OwnNorm(LayerNorm):
    """A subclass whose backward has no place for a shortcut, as `ForgetfulNorm` has none."""

    def backward(self, dy):
        x, mean, rstd = self.recall()
        x_hat = (x - mean) * rstd
        rows = tuple(range(dy.ndim - 1))
        self.gamma.grad += (dy * x_hat).sum(axis=rows)
        self.beta.grad += dy.sum(axis=rows)
        dx_hat = dy * self.gamma.value
        through_variance = x_hat * (dx_hat * x_hat).mean(axis=-1, keepdims=True)
        return rstd * (dx_hat - dx_hat.mean(axis=-1, keepdims=True) - through_variance)


class Identity(Layer):
    """Keeps nothing, has nothing, and returns its input itself."""

    def forward(self, x):
        return x

    def backward(self, dy):
        return dy


class View(Layer):
    """Returns a view of its input, and of the gradient."""

    def forward(self, x):
        return x[...]

    def backward(self, dy):
        return dy[...]


class Tanh(Layer):
    """Keeps the very array that it returns."""

    def forward(self, x):
        y = np.tanh(x)
        self.keep(y)
        return y

    def backward(self, dy):
        y = self.recall()
        return dy * (1.0 - y * y)


class Gains(Layer):
    """Parameters in a list, and as one; a part in another memory order."""

    def __init__(self, d_model, dtype=np.float32):
        super().__init__()
        self.gains = [Parameter(np.full(d_model, 0.5 + i, dtype)) for i in range(2)]

    def forward(self, x):
        self.keep(x)
        return np.asfortranarray(x * self.gains[0].value + x * self.gains[1].value)

    def backward(self, dy):
        x = self.recall()
        for gain in self.gains:
            gain.grad += (dy * x).reshape(-1, x.shape[-1]).sum(axis=0)
        return np.asfortranarray(dy * (self.gains[0].value + self.gains[1].value))


class Mlp(Layer):
    """A container of this package's layers, called with rows instead of a batch."""

    def __init__(self, d_model, dtype=np.float32):
        super().__init__()
        self.up = Linear(d_model, 6, rng=1, dtype=dtype)
        self.act = GELU()
        self.down = Linear(6, d_model, rng=2, dtype=dtype)

    def forward(self, x):
        self.keep(x.shape)
        rows = x.reshape(-1, x.shape[-1])
        return self.down.forward(self.act.forward(self.up.forward(rows))).reshape(x.shape)

    def backward(self, dy):
        shape = self.recall()
        rows = dy.reshape(-1, shape[-1])
        return self.up.backward(self.act.backward(self.down.backward(rows))).reshape(shape)


class MeanOfPast(Layer):
    """Attention that looks at all of the past alike."""

    def forward(self, x):
        self.keep(x.shape[1])
        return np.cumsum(x, axis=1) / self._counts(x)

    def backward(self, dy):
        return np.cumsum((dy / self._counts(dy))[:, ::-1], axis=1)[:, ::-1]

    def _counts(self, x):
        return np.arange(1, x.shape[1] + 1, dtype=x.real.dtype)[:, None]


def outer(dy, x):
    return dy.reshape(-1, dy.shape[-1]).T @ x.reshape(-1, x.shape[-1])


class Map(Layer):
    """A linear map in the place of one of this package's."""

    def __init__(self, d_in, d_out, dtype=np.float32):
        super().__init__()
        weight = 0.2 * np.random.default_rng(5).standard_normal((d_out, d_in))
        self.matrix = Parameter(weight.astype(dtype))

    def forward(self, x):
        self.keep(x)
        return x @ self.matrix.value.T

    def backward(self, dy):
        x = self.recall()
        self.matrix.grad += outer(dy, x)
        return dy @ self.matrix.value


class TanhMap(Map):
    """Keeps what it returns: whoever turned it in place would spoil its backward."""

    def forward(self, x):
        y = np.tanh(super().forward(x))
        self.keep(self.recall(), y)
        return y

    def backward(self, dy):
        x, y = self.recall()
        dz = dy * (1.0 - y * y)
        self.matrix.grad += outer(dz, x)
        return dz @ self.matrix.value


class Table(Layer):
    """A token embedding."""

    def __init__(self, vocab_size, d_model, dtype=np.float32):
        super().__init__()
        rows = 0.2 * np.random.default_rng(3).standard_normal((vocab_size, d_model))
        self.rows = Parameter(rows.astype(dtype))

    def forward(self, ids):
        self.keep(ids)
        return self.rows.value[ids]

    def backward(self, dy):
        np.add.at(self.rows.grad, self.recall(), dy)


class Ramp(Layer):
    """Positions."""

    def __init__(self, d_model, dtype=np.float32):
        super().__init__()
        self.slope = Parameter(np.full(d_model, 0.1, dtype))

    def forward(self, x):
        t = np.arange(x.shape[1], dtype=x.real.dtype)[:, None]
        self.keep(t)
        return x + t * self.slope.value

    def backward(self, dy):
        self.slope.grad += (dy * self.recall()).sum(axis=(0, 1))
        return dy


class OwnDropout(Layer):
    """Dropout from a generator of its own."""

    def __init__(self, p=0.3, seed=0):
        super().__init__()
        self.p, self.rng = p, np.random.default_rng(seed)

    def forward(self, x):
        mask = None
        if self.training:
            mask = (self.rng.random(x.shape) >= self.p) / np.float32(1.0 - self.p)
            mask = mask.astype(x.real.dtype)
        self.keep(mask)
        return x if mask is None else x * mask

    def backward(self, dy):
        mask = self.recall()
        return dy if mask is None else dy * mask


class HalvedDropout(Dropout):
    """A subclass that computes something else."""

    def forward(self, x):
        self.keep(None)
        return 0.5 * x

    def backward(self, dy):
        return 0.5 * dy


class CappedHead(Layer):
    """Logits that cannot leave (-5, 5)."""

    def __init__(self, d_model, vocab_size, dtype=np.float32):
        super().__init__()
        self.linear = Linear(d_model, vocab_size, rng=4, dtype=dtype)

    def forward(self, x):
        y = np.tanh(self.linear.forward(x) / 5)
        self.keep(y)
        return 5 * y

    def backward(self, dy):
        y = self.recall()
        return self.linear.backward(dy * (1 - y * y))


class Smoothed(CrossEntropy):
    """A loss of its own: half of the cross-entropy."""

    def forward(self, logits, targets):
        return 0.5 * super().forward(logits, targets)

    def backward(self, dloss=1.0):
        return super().backward(0.5 * dloss)


class PlainBlock(Layer):
    """A whole block."""

    def __init__(self, d_model, dtype=np.float32):
        super().__init__()
        self.mix, self.mlp = MeanOfPast(), Mlp(d_model, dtype)

    def forward(self, x):
        return x + self.mlp.forward(self.mix.forward(x))

    def backward(self, dy):
        return dy + self.mix.backward(self.mlp.backward(dy))
