"""How the kernels are compiled, and which calls they take."""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit, typeof, types
from numba.core.dispatcher import Dispatcher
from numba.extending import overload

from npgpt.ops import team
from npgpt.ops.array import Array
from npgpt.ops.caching import keep

team.link()  # before the first kernel is

Op = TypeVar("Op", bound=Callable[..., Any])

# Into so many parts the rows are cut whose gradients of a parameter are added up side by side;
# fixed, so that the number of threads does not change the sum.
CHUNKS = 16

# Everything "fast" but nnan and ninf: attention masks with infinities, and a loss that
# became nan must stay nan.
FASTMATH = {"reassoc", "contract", "arcp", "afn", "nsz"}


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make the decorator that compiles a function, with Numba's options."""
    compiler = njit(fastmath=FASTMATH, error_model="numpy", **options)
    return lambda function: keep(compiler(function))


def parallel_kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make the decorator for a function whose `prange` loops are divided among threads."""
    return kernel(parallel=True, **options)


# A function of single numbers, written into the loop that calls it: machine code from the cache
# would be called instead, and the loop would not vectorise.
inline_kernel: Callable[..., Any] = functools.partial(njit, inline="always")


def for_any_heads(compiled: Dispatcher) -> Callable[..., Any]:
    """Compile a kernel once for each dtype, whatever the strides of its arrays of four axes are.

    Numba would compile anew for contiguous arrays, which strided ones become when an axis has
    length 1. Seconds at a moment nobody expects are worth more than what contiguity would gain.
    """
    dtypes = set()  # of the first argument, compiled for

    @functools.wraps(compiled)
    def call(*args: Any) -> Any:
        if args[0].dtype not in dtypes:
            signature = (typeof(a).copy(layout="A") if np.ndim(a) == 4 else typeof(a) for a in args)
            compiled.disable_compile(False)
            compiled.compile(tuple(signature))
            compiled.disable_compile()  # without this, only exact matches would be taken
            dtypes.add(args[0].dtype)
        return compiled(*args)

    return call


REAL = (np.dtype(np.float32), np.dtype(np.float64))


def compiled_form_of(reference_op: Op, decided_by: int = 0) -> Callable[[Callable[..., Any]], Op]:
    """Mark a function as the compiled form of a reference operation.

    The function is called when argument number ``decided_by`` is a float32 or float64 array; any
    other dtype goes to the reference. Name and docstring are the reference's.
    """

    def decorate(compiled_op: Callable[..., Any]) -> Op:
        @functools.wraps(reference_op)
        def op(*args: Any, **kwargs: Any) -> Any:
            chosen = compiled_op if args[decided_by].dtype in REAL else reference_op
            return chosen(*args, **kwargs)

        return cast(Op, op)

    return decorate


def as_rows(x: Array) -> Array:
    """View (or copy, if it is not contiguous) ``x`` as (rows, columns)."""
    if x.ndim == 2 and x.flags.c_contiguous:
        return x
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])


def partial_sums(columns: int, dtype: np.dtype) -> Array:
    """Make room for `CHUNKS` partial sums of a parameter's gradient."""
    return np.zeros((CHUNKS, columns), dtype)


# An argument of an overload is a type, that of the function which it returns a value of the type;
# Numba demands that both are annotated alike.
TypeOrValue = Any


def exp(x: float) -> float:
    """Compute e to the power ``x`` inside a kernel; float32 in a form that LLVM vectorises."""
    raise RuntimeError("npgpt.ops.compiled.jit.exp works inside compiled kernels only.")


@overload(exp, inline="always")
def _overload_exp(x: TypeOrValue) -> Callable[..., float]:
    def exp_float64(x: TypeOrValue) -> float:
        return math.exp(x)

    if x != types.float32:
        return exp_float64

    # exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln(2)/2; the polynomial and the split of
    # ln 2 in two are those of the Cephes library's expf (Moshier), good to 2 units in the last
    # place. Calls to the C library's expf would not vectorise.
    f = np.float32
    log2_e, ln2_high, ln2_low = f(1.44269504), f(0.693359375), f(-2.12194440e-4)
    c0, c1, c2 = f(1.9875691500e-4), f(1.3981999507e-3), f(8.3334519073e-3)
    c3, c4, c5 = f(4.1665795894e-2), f(1.6666665459e-1), f(5.0000001201e-1)
    one, half, lowest, highest = f(1.0), f(0.5), f(-87.33), f(88.37)
    bias, mantissa_bits = np.int32(127), np.int32(23)

    def exp_float32(x: TypeOrValue) -> float:
        inside = min(max(x, lowest), highest)
        n = np.floor(inside * log2_e + half)
        r = inside - n * ln2_high - n * ln2_low
        series = ((((c0 * r + c1) * r + c2) * r + c3) * r + c4) * r + c5
        # 2^n by its exponent bits
        power = np.int32((np.int32(n) + bias) << mantissa_bits).view(np.float32)
        return (series * r * r + r + one) * power

    return exp_float32
