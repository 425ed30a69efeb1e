"""Products of arrays of different dtypes and layouts: computed right or refused, never misread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from numba.core.errors import TypingError

from npgpt.ops import compiled, reference
from npgpt.ops.compiled.blas import gemm
from npgpt.ops.compiled.linear import product
from npgpt.testing import dtypes
from tests.strategies import assert_close, normal, seeds

layouts = st.sampled_from([np.ascontiguousarray, np.asfortranarray])


@pytest.mark.parametrize("wrong", [0, 1, 2])
@pytest.mark.parametrize("other", [np.float64, np.int32, np.complex64])
def test_a_mixed_product_inside_a_kernel_does_not_compile(wrong, other):
    @njit
    def multiply(one, zero, a, b, c):
        gemm(one, False, a, False, b, zero, c)

    arrays = [np.ones((2, 2), other if i == wrong else np.float32) for i in range(3)]
    one, zero = arrays[2].dtype.type(1), arrays[2].dtype.type(0)
    with pytest.raises(TypingError, match="a, b and c must be all float32 or all float64"):
        multiply(one, zero, *arrays)


@given(
    st.tuples(dtypes, dtypes, dtypes), st.tuples(layouts, layouts, layouts),
    st.tuples(st.booleans(), st.booleans(), st.booleans()), st.tuples(*[st.integers(1, 20)] * 3), seeds,
)  # fmt: skip
def test_a_product_is_right_for_any_dtypes_and_layouts(types, orders, flags, sizes, seed):
    transpose_a, transpose_b, accumulate = flags
    m, k, n = sizes
    shapes = [(k, m) if transpose_a else (m, k), (n, k) if transpose_b else (k, n), (m, n)]
    a, b, c = (
        order(normal(seed + i, shape, dtype))
        for i, (order, shape, dtype) in enumerate(zip(orders, shapes, types, strict=True))
    )
    expected = (a.T if transpose_a else a) @ (b.T if transpose_b else b) + accumulate * c
    product(transpose_a, a, transpose_b, b, c, accumulate)
    assert_close(c, expected, 1e-5)


@pytest.mark.parametrize("types", ["fdd", "dfd", "ddf"])
def test_operations_on_different_dtypes_are_the_references(types):
    x, weight, dweight = (normal(0, (5, 5), dtype) for dtype in types)
    q, k, v = (normal(0, (1, 2, 5, 4), dtype) for dtype in types)
    targets = np.arange(5)
    for backend in (compiled, reference):
        results = [
            backend.linear_forward(x, weight),
            backend.linear_backward(x, weight, dweight),
            backend.head_cross_entropy_forward(x, weight, targets),
            backend.head_cross_entropy_backward(1.0, x, weight, targets)[1],
            *backend.attention_forward(q, k, v, scale=0.5),
            *backend.attention_backward(q, q, k, v, q, q[..., :1], scale=0.5),
        ]
        gradients = dweight.copy()
        backend.linear_backward(x, x, weight, dweight=gradients)
        backend.head_cross_entropy_backward(1.0, x, weight, targets, dweight=gradients)
        y = x.copy()
        backend.low_rank_forward(x, weight, dweight, 0.5, y)
        results += [gradients, y]
        if backend is compiled:
            ours = results
    for one, other in zip(ours, results, strict=True):
        assert_close(one, other, 1e-5)


@given(dtypes, seeds, st.booleans())
def test_gradients_go_into_any_layout_of_what_is_given(dtype, seed, add):
    x, dy, weight = normal(seed, (3, 5, 5), dtype)
    other_way = np.asfortranarray(normal(seed, (5, 5), dtype))
    expected = dy.T @ x + (other_way if add else 0)
    compiled.linear_backward(dy, x, weight, dweight=other_way, overwrite=not add)
    assert_close(other_way, expected, 1e-5)
    q, k, v = normal(seed, (3, 1, 2, 5, 4), dtype)
    kept = reference.attention_forward(q, k, v, scale=0.5)
    out = tuple(np.empty((1, 2, 4, 5), dtype).swapaxes(2, 3) for _ in "qkv")
    ours = compiled.attention_backward(q, q, k, v, *kept, scale=0.5, out=out)
    expected = reference.attention_backward(q, q, k, v, *kept, scale=0.5)
    for place, one, other in zip(out, ours, expected, strict=True):
        assert one is place
        assert_close(one, other, 1e-5)
