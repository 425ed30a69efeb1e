"""Rotary position embedding in one pass, in place where that is wanted."""

from numba import prange

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.jit import compiled_form_of, for_any_heads, parallel_kernel
from npgpt.ops.workspace import empty

__all__ = ["rotary_backward", "rotary_forward"]


@for_any_heads
@parallel_kernel()
def _rotate(x: Array, cos: Array, sin: Array, y: Array) -> None:
    batch, heads, time, head_size = x.shape
    half = head_size // 2
    for row in prange(batch * time):
        b, t = row // time, row % time
        for h in range(heads):
            for i in range(half):
                first, second = x[b, h, t, i], x[b, h, t, half + i]
                y[b, h, t, i] = first * cos[t, i] - second * sin[t, i]
                y[b, h, t, half + i] = first * sin[t, i] + second * cos[t, i]


@compiled_form_of(reference.rotary_forward)
def rotary_forward(  # noqa: D103
    x: Array, cos: Array, sin: Array, *, out: Array | None = None
) -> Array:
    batch, heads, time, head_size = x.shape
    if out is None:
        out = empty((batch, time, heads, head_size), x.dtype).transpose(0, 2, 1, 3)
    _rotate(x, cos, sin, out)
    return out


@compiled_form_of(reference.rotary_backward)
def rotary_backward(  # noqa: D103
    dy: Array, cos: Array, sin: Array, *, out: Array | None = None
) -> Array:
    return rotary_forward(dy, cos, -sin, out=out)
