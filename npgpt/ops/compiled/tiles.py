"""Products of a few rows with a weight that was packed once, by a tile that stays in registers.

A recurrent network multiplies the same weight at every step, and with few rows: those of the batch.
BLAS packs the weight anew for each product, which for 16 rows takes longer than the product. Here
`pack` lays it out once a pass, and `add_product` multiplies from there.

Packed, a matrix of (k, columns) is cut in panels of `panel_width` columns, two registers side by
side; the rows of a panel lie one after another, so that a product reads the memory from one end to
the other. Columns beyond the last are 0, and a result has room for them (`padded`).

`add_tile` is the loop that all time goes to. It adds to a tile of at most `TILE_ROWS` rows and one
panel of the result, whose sums stay in registers from the first product to the last::

    for s in range(k):
        left, right = panel[s]                        # two registers
        for row in range(rows):                       # unrolled
            sums[row] += a[row, s] * (left, right)    # two fused multiply-adds

With 32 registers, 8 rows take 16 for the sums; with 16 registers, 6 rows take 12. Loops written in
Python would leave it to LLVM which sums are in registers, so this one is written in LLVM's own
language, with vectors as types. How many rows are in a tile does not matter to a row's sums: each
number is added up from the first product to the last, so the bits do not depend on how rows are
divided among tiles or threads.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from npgpt.ops.array import Array
from npgpt.ops.compiled.jit import kernel, parallel_kernel
from npgpt.ops.workspace import ALIGNMENT, empty

# of the processor that Numba compiles for, by which its cache of machine code is labelled too
FEATURES: str = cpu_target.target_context.codegen().magic_tuple()[2]
WIDE, MIDDLE = "+avx512f" in FEATURES, "+avx," in FEATURES
REGISTER = 64 if WIDE else 32 if MIDDLE else 16  # bytes
HAS_32_REGISTERS = WIDE or platform.machine().lower() in ("aarch64", "arm64")
TILE_ROWS = 8 if HAS_32_REGISTERS else 6
TILE_REGISTERS = 2  # side by side

INDEX = ir.IntType(64)
ZERO = INDEX(0)
FUSED = ("contract",)  # a product and a sum become one operation, rounded once


def panel_width(dtype: Any) -> int:
    """Return how many columns a panel has."""
    return TILE_REGISTERS * REGISTER // np.dtype(dtype).itemsize


def padded(columns: int, dtype: Any) -> int:
    """Return how many columns a result needs for the panels of so many."""
    width = panel_width(dtype)
    return -(-columns // width) * width


def pack(weight: Array, transpose: bool) -> Array:
    """Lay a matrix out for `add_product`.

    Parameters
    ----------
    weight : ndarray, shape (k, columns), or (columns, k) if it is to be transposed
    transpose : bool

    Returns
    -------
    packed : ndarray, shape (panels, k, panel_width)
    """
    k, columns = weight.shape[::-1] if transpose else weight.shape
    width = panel_width(weight.dtype)
    packed = _aligned((padded(columns, weight.dtype) // width, k, width), weight.dtype)
    _pack(np.ascontiguousarray(weight), transpose, packed)
    return packed


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Make an array whose rows of a panel do not cross cache lines, which takes twice the time."""
    size, spare = math.prod(shape), ALIGNMENT // dtype.itemsize
    memory = empty((size + spare,), dtype)
    begin = -memory.ctypes.data % ALIGNMENT // dtype.itemsize
    return memory[begin : begin + size].reshape(shape)


@parallel_kernel()
def _pack(weight: Array, transpose: bool, packed: Array) -> None:
    panels, k, width = packed.shape
    columns = weight.shape[0] if transpose else weight.shape[1]
    for panel in prange(panels):
        begin = panel * width
        there = min(width, columns - begin)
        if transpose:
            for column in range(there):
                for s in range(k):
                    packed[panel, s, column] = weight[begin + column, s]
        else:
            for s in range(k):
                for column in range(there):
                    packed[panel, s, column] = weight[s, begin + column]
        packed[panel, :, there:] = 0


@kernel()
def add_product(a: Array, packed: Array, c: Array) -> None:
    """``c += a @ b``, inside a kernel.

    Parameters
    ----------
    a : ndarray, shape (rows, k)
        Each row contiguous.
    packed : ndarray
        ``b`` as `pack` lays it out.
    c : ndarray, shape (rows, padded columns)
        Each row contiguous.
    """
    rows = a.shape[0]
    tiles = (rows + TILE_ROWS - 1) // TILE_ROWS
    for panel in range(packed.shape[0]):
        for tile in range(tiles):  # of about the same size
            begin, end = tile * rows // tiles, (tile + 1) * rows // tiles
            add_tile(a, packed, c, panel, begin, end - begin)


def _write_tile(
    typing_context: Any, a: Any, packed: Any, c: Any, panel: Any, begin: Any, rows: Any
) -> tuple[Any, Callable[..., Any]]:
    """Write `add_tile`: the rows of ``c`` from ``begin`` on, plus those of ``a`` times a panel.

    For 1 to `TILE_ROWS` rows; each number of them has a loop of its own.
    """
    signature = types.void(a, packed, c, types.int64, types.int64, types.int64)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        a, packed, c = (
            cgutils.create_struct_proxy(kind)(context, builder, value)
            for kind, value in zip(signature.args[:3], arguments[:3], strict=True)
        )
        panel, begin, rows = arguments[3:]
        k, width = builder.extract_value(packed.shape, 1), INDEX(TILE_REGISTERS * REGISTER)
        a_row, c_row = (builder.extract_value(array.strides, 0) for array in (a, c))  # bytes
        a_begin = builder.mul(begin, a_row)
        c_begin = builder.add(builder.mul(begin, c_row), builder.mul(panel, width))
        panel_begin = builder.mul(builder.mul(panel, k), width)
        done = builder.append_basic_block("done")
        switch = builder.switch(rows, done)
        for number in range(1, TILE_ROWS + 1):
            block = builder.append_basic_block(f"rows_{number}")
            switch.add_case(INDEX(number), block)
            builder.position_at_end(block)
            _add_rows(
                builder, k,
                [_moved(builder, a.data, a_begin, a_row, row) for row in range(number)],
                _moved(builder, packed.data, panel_begin),
                [_moved(builder, c.data, c_begin, c_row, row) for row in range(number)],
            )  # fmt: skip
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, generate


add_tile: Callable[..., None] = intrinsic(_write_tile)


def _moved(
    builder: ir.IRBuilder, pointer: ir.Value, begin: ir.Value, stride: ir.Value = ZERO,
    steps: int = 0,
) -> ir.Value:  # fmt: skip
    """Move a pointer by bytes."""
    offset = builder.add(begin, builder.mul(stride, INDEX(steps)))
    return cgutils.pointer_add(builder, pointer, offset, pointer.type)


def _add_rows(
    builder: ir.IRBuilder, k: ir.Value, a: list[ir.Value], panel: ir.Value, c: list[ir.Value]
) -> None:
    """Write the loop over ``k`` for rows that begin at the pointers ``a`` and ``c``."""
    real = panel.type.pointee
    size = 4 if real == ir.FloatType() else 8
    vector = ir.VectorType(real, REGISTER // size)
    nothing = ir.Constant(vector, ir.Undefined)
    first_lane = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)

    def registers(pointer: ir.Value, number: ir.Value) -> list[ir.Value]:
        vectors = builder.gep(builder.bitcast(pointer, vector.as_pointer()), [number])
        return [builder.gep(vectors, [INDEX(part)]) for part in range(TILE_REGISTERS)]

    places = [registers(row, ZERO) for row in c]
    before = [[builder.load(place, align=size) for place in row] for row in places]
    entry, loop = builder.block, builder.append_basic_block("k")
    after = builder.append_basic_block("sums")
    builder.branch(loop)
    builder.position_at_end(loop)
    s = builder.phi(INDEX)
    sums = [[builder.phi(vector) for _ in row] for row in places]
    right = registers(panel, builder.mul(s, INDEX(TILE_REGISTERS)))
    right = [builder.load(place, align=size) for place in right]
    totals = []
    for row, so_far in zip(a, sums, strict=True):
        number = builder.load(builder.gep(row, [s]))
        left = builder.shuffle_vector(
            builder.insert_element(nothing, number, ZERO), nothing, first_lane
        )
        products = [builder.fmul(left, part, flags=FUSED) for part in right]
        totals.append(
            [builder.fadd(p, total, flags=FUSED) for p, total in zip(products, so_far, strict=True)]
        )
    next_s = builder.add(s, INDEX(1))
    for phi, first, later in [(s, ZERO, next_s)] + [
        triple
        for rows in zip(sums, before, totals, strict=True)
        for triple in zip(*rows, strict=True)
    ]:
        phi.add_incoming(first, entry)
        phi.add_incoming(later, loop)
    builder.cbranch(builder.icmp_signed("<", next_s, k), loop, after)
    builder.position_at_end(after)
    for row, total in zip(places, totals, strict=True):
        for place, value in zip(row, total, strict=True):
            builder.store(value, place, align=size)
