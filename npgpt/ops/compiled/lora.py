"""A low-rank addition, which BLAS adds in place: nothing of the large maps' size is copied."""

from npgpt.ops import reference
from npgpt.ops.array import Array
from npgpt.ops.compiled.jit import as_rows, compiled_form_of
from npgpt.ops.compiled.linear import linear_backward, linear_forward, product
from npgpt.ops.workspace import empty

__all__ = ["low_rank_backward", "low_rank_forward"]


@compiled_form_of(reference.low_rank_forward)
def low_rank_forward(  # noqa: D103
    x: Array, lora_a: Array, lora_b: Array, scaling: float, y: Array
) -> Array:
    if not y.flags.c_contiguous:
        return reference.low_rank_forward(x, lora_a, lora_b, scaling, y)
    h = linear_forward(x, lora_a)
    h *= h.dtype.type(scaling)
    product(False, as_rows(h), True, lora_b, as_rows(y), accumulate=True)
    return h


@compiled_form_of(reference.low_rank_backward)
def low_rank_backward(  # noqa: D103
    dy: Array, x: Array, lora_a: Array, lora_b: Array, scaling: float, h: Array, *,
    dlora_a: Array | None = None, dlora_b: Array | None = None, dshortcut: Array | None = None,
    out: Array | None = None,
) -> Array:  # fmt: skip
    dx = empty(x.shape, x.dtype) if out is None else out
    if not dx.flags.c_contiguous:
        return reference.low_rank_backward(
            dy, x, lora_a, lora_b, scaling, h,
            dlora_a=dlora_a, dlora_b=dlora_b, dshortcut=dshortcut, out=out,
        )  # fmt: skip
    dh = linear_backward(dy, h, lora_b, dweight=dlora_b)  # y += h B^T
    dh *= dh.dtype.type(scaling)  # h = scaling * (x A^T)
    if dlora_a is not None:
        product(True, as_rows(dh), False, as_rows(x), dlora_a, accumulate=True)
    if dshortcut is not None and dshortcut is not dx:
        dx[...] = dshortcut
    accumulate = dshortcut is not None
    product(False, as_rows(dh), False, lora_a, as_rows(dx), accumulate)
    return dx
