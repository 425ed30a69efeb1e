"""Matrix products inside kernels, by the BLAS library that NumPy brought.

Numba's threads and BLAS's would share the same cores and wake each other up, so there is one team
only: Numba's threads split a product among them, and each does its part with BLAS on one thread.
That leaves BLAS's faculty of adding to its result (``beta``), which NumPy does not offer.

Where the library's entry points cannot be found, large products go to `numpy.matmul`, and small
ones inside kernels to plain loops.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numpy as np
import threadpoolctl
from numba import carray, cfunc, types
from numba.core.errors import TypingError
from numba.core.typing import Signature
from numba.extending import overload

from npgpt.ops.array import Array
from npgpt.ops.compiled.jit import TypeOrValue

ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE = 101, 111, 112  # of the C interface to BLAS


def _gemm_type(real: types.Type, pointer: types.Type = types.intp) -> Signature:
    # order, transpose A, transpose B, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc. Sizes are 64
    # bits wide: a library with 32-bit sizes reads the low half of the register that holds each.
    flag, size = types.int32, types.int64
    return types.void(
        flag, flag, flag, size, size, size,
        real, pointer, size, pointer, size, real, pointer, size,
    )  # fmt: skip


_sgemm: Any = types.ExternalFunction("npgpt_sgemm", _gemm_type(types.float32))
_dgemm: Any = types.ExternalFunction("npgpt_dgemm", _gemm_type(types.float64))


class Blas:
    """The BLAS library that NumPy uses, if its entry points can be called from kernels.

    Attributes
    ----------
    name : str
        For people: "openblas 0.3.33", or "none".
    """

    def __init__(self) -> None:
        self.controller, entry_points = _find()
        self.found = self.controller is not None
        self.name = "none"
        if self.found:
            self._get_num_threads, self._set_num_threads = _thread_functions(self.controller)
            self.name = f"{self.controller.internal_api} {self.controller.version or ''}".strip()
        else:
            self._loops = [_compile_loops(real) for real in (types.float32, types.float64)]
            entry_points = [loops.address for loops in self._loops]
        for name, address in zip(("npgpt_sgemm", "npgpt_dgemm"), entry_points, strict=True):
            llvmlite.binding.add_symbol(name, address)

    def on_one_thread(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a kernel that calls BLAS from each of Numba's threads."""
        if not self.found:
            return function
        get, put = self._get_num_threads, self._set_num_threads

        @functools.wraps(function)
        def call(*args: Any) -> Any:
            threads = get()
            put(1)
            try:
                return function(*args)
            finally:
                put(threads)

        return call


def _find() -> tuple[Any, list[int | None]]:
    """Return the controller of NumPy's BLAS and the addresses of its sgemm and dgemm."""
    np.ones((2, 2)) @ np.ones((2, 2))  # a library that loads on first use is loaded now
    libraries = threadpoolctl.ThreadpoolController().lib_controllers
    libraries.sort(key=lambda library: "numpy" not in library.filepath)  # SciPy may have its own
    for controller in libraries:
        if controller.user_api != "blas":
            continue
        for prefix, suffix, wide in (
            ("scipy_", "64_", True),
            ("", "64_", True),
            ("scipy_", "", False),
            ("", "", False),
        ):
            if not wide and sys.platform == "darwin" and platform.machine() == "arm64":
                continue  # there, 32-bit arguments on the stack are packed
            names = [f"{prefix}cblas_{letter}gemm{suffix}" for letter in "sd"]
            if all(hasattr(controller.dynlib, name) for name in names):
                functions = [getattr(controller.dynlib, name) for name in names]
                return controller, [ctypes.cast(f, ctypes.c_void_p).value for f in functions]
    return None, []


def _thread_functions(controller: Any) -> tuple[Callable[[], int], Callable[[int], None]]:
    """Return get_num_threads and set_num_threads; OpenBLAS's own, which take less than 1 us."""
    if controller.internal_api == "openblas":
        for name in ("scipy_openblas_{}64_", "openblas_{}64_", "scipy_openblas_{}", "openblas_{}"):
            get_name, set_name = name.format("get_num_threads"), name.format("set_num_threads")
            if hasattr(controller.dynlib, set_name):
                get, put = (
                    getattr(controller.dynlib, get_name),
                    getattr(controller.dynlib, set_name),
                )
                get.argtypes, get.restype = [], ctypes.c_int
                put.argtypes, put.restype = [ctypes.c_int], None
                return get, put
    return controller.get_num_threads, controller.set_num_threads


def _compile_loops(real: types.Type) -> Any:
    """Compile a plain matrix product with BLAS's arguments."""

    def gemm(
        order: int, ta: int, tb: int, m: int, n: int, k: int, alpha: float, a: Any, lda: int,
        b: Any, ldb: int, beta: float, c: Any, ldc: int,
    ) -> None:  # fmt: skip
        a = carray(a, (k if ta == TRANSPOSE else m, lda))
        b = carray(b, (n if tb == TRANSPOSE else k, ldb))
        c = carray(c, (m, ldc))
        for i in range(m):
            for j in range(n):
                total = alpha * 0
                for s in range(k):
                    left = a[s, i] if ta == TRANSPOSE else a[i, s]
                    right = b[j, s] if tb == TRANSPOSE else b[s, j]
                    total += left * right
                before = beta * c[i, j] if beta != 0 else beta  # c may hold anything, even nan
                c[i, j] = alpha * total + before

    return cfunc(_gemm_type(real, types.CPointer(real)))(gemm)


BLAS = Blas()


def gemm(
    alpha: float, transpose_a: bool, a: Array, transpose_b: bool, b: Array, beta: float, c: Array
) -> None:
    """Compute ``c = alpha * op(a) @ op(b) + beta * c`` inside a kernel; op is .T where asked for.

    Parameters
    ----------
    alpha, beta : scalar of the arrays' dtype
        With ``beta`` 0 what ``c`` held does not matter.
    transpose_a, transpose_b : bool
    a, b, c : ndarray of two axes, all float32 or all float64
        Each row contiguous; rows may lie apart.

    Raises
    ------
    TypingError
        When the kernel is compiled, if they are not: BLAS would read them as what they are not.
    """
    raise RuntimeError("npgpt.ops.compiled.blas.gemm works inside compiled kernels only.")


@overload(gemm)
def _overload_gemm(
    alpha: TypeOrValue, transpose_a: TypeOrValue, a: TypeOrValue, transpose_b: TypeOrValue,
    b: TypeOrValue, beta: TypeOrValue, c: TypeOrValue,
) -> Callable[..., None]:  # fmt: skip
    if not a.dtype == b.dtype == c.dtype or c.dtype not in (types.float32, types.float64):
        raise TypingError(
            f"gemm: a, b and c must be all float32 or all float64, got {a.dtype}, {b.dtype} and "
            f"{c.dtype}; convert them before the product."
        )
    routine = _sgemm if c.dtype == types.float32 else _dgemm
    size = c.dtype.bitwidth // 8

    def call(
        alpha: TypeOrValue, transpose_a: TypeOrValue, a: TypeOrValue, transpose_b: TypeOrValue,
        b: TypeOrValue, beta: TypeOrValue, c: TypeOrValue,
    ) -> None:  # fmt: skip
        m, n = c.shape
        routine(
            np.int32(ROW_MAJOR),
            np.int32(TRANSPOSE if transpose_a else NO_TRANSPOSE),
            np.int32(TRANSPOSE if transpose_b else NO_TRANSPOSE),
            m,
            n,
            a.shape[0] if transpose_a else a.shape[1],
            alpha,
            a.ctypes.data,
            a.strides[0] // size,
            b.ctypes.data,
            b.strides[0] // size,
            beta,
            c.ctypes.data,
            c.strides[0] // size,
        )

    return call
