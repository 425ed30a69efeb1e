"""A low-rank addition, which BLAS adds in place: nothing of the large maps' size is copied."""

from npgpt.ops import reference
from npgpt.ops.compiled.jit import as_rows, compiled_form_of
from npgpt.ops.compiled.linear import linear_backward, linear_forward, product


@compiled_form_of(reference.low_rank_forward)
def low_rank_forward(x, lora_a, lora_b, scaling, y):  # noqa: D103
    if not y.flags.c_contiguous:
        return reference.low_rank_forward(x, lora_a, lora_b, scaling, y)
    h = linear_forward(x, lora_a)
    h *= h.dtype.type(scaling)
    product(False, as_rows(h), True, lora_b, as_rows(y), accumulate=True)
    return h


@compiled_form_of(reference.low_rank_backward)
def low_rank_backward(  # noqa: D103
    dy, x, h, lora_a, lora_b, scaling, dx, dlora_a, dlora_b
):
    if not dx.flags.c_contiguous:
        reference.low_rank_backward(dy, x, h, lora_a, lora_b, scaling, dx, dlora_a, dlora_b)
        return
    dh = linear_backward(dy, h, lora_b, dlora_b)
    dh *= dh.dtype.type(scaling)
    if dlora_a is not None:
        product(True, as_rows(dh), False, as_rows(x), dlora_a, accumulate=True)
    product(False, as_rows(dh), False, lora_a, as_rows(dx), accumulate=True)
