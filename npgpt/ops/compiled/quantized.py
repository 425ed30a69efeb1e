"""The affine map with a weight of few bits, which becomes float32 in the registers."""

import numpy as np

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.few_rows import MOST_ROWS, few_rows_linear
from npgpt.ops.compiled.jit import as_rows, compiled_form_of
from npgpt.ops.compiled.linear import NOTHING, product
from npgpt.ops.workspace import empty

__all__ = ["quantized_linear_forward"]

BLOCK = 2048  # rows of the weight that become float32 at a time when x has many rows


@compiled_form_of(reference.quantized_linear_forward)
def quantized_linear_forward(  # noqa: D103
    x: Array, weight: Array, scales: Array | None = None, bias: Array | None = None
) -> Array:
    if x.dtype != np.float32:
        return reference.quantized_linear_forward(x, weight, scales, bias)
    rows = as_rows(x)
    y = empty((len(rows), len(weight)), x.dtype)
    nothing = NOTHING[x.dtype]
    if len(rows) <= MOST_ROWS:
        few_rows_linear(
            rows,
            weight,
            nothing if bias is None else bias,
            y,
            nothing if scales is None else scales,
        )
        return y.reshape(*x.shape[:-1], -1)
    for begin in range(0, len(weight), BLOCK):
        part = slice(begin, begin + BLOCK)
        numbers = reference.from_bits(weight[part], None if scales is None else scales[part])
        block = empty((len(rows), len(numbers)), x.dtype)
        product(False, rows, True, numbers, block)
        y[:, part] = block
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], -1)
