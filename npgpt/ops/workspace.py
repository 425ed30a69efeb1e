"""Where operations get the memory of the arrays they hand out."""

from __future__ import annotations

import math

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register

_current: Workspace | None = None


def empty(shape: tuple[int, ...], dtype) -> np.ndarray:
    """Make an array with undefined content, as `numpy.empty` does.

    Inside a `Workspace` its memory is that of an earlier array which nobody holds any more.
    """
    if _current is None:
        return np.empty(shape, dtype)
    return _current.empty(shape, np.dtype(dtype))


class Workspace:
    """Inside ``with``, arrays that operations make reuse the memory of arrays that are gone.

    A training step asks for the same arrays every time. Fresh memory for large ones comes from the
    operating system, which clears it page by page on first use; reused memory is there already. An
    array is never overwritten while anything refers to it or to a view of it, so what a caller
    keeps stays as it is.

    Notes
    -----
    Memory is given back when the block ends. Like `use`, it holds for the whole process; blocks may
    be nested, and the innermost one counts.

    Examples
    --------
    >>> import numpy as np
    >>> from npgpt import ops
    >>> x = np.ones((64, 64), np.float32)
    >>> with ops.Workspace() as workspace:
    ...     for _ in range(10):
    ...         y = ops.gelu_tanh_forward(x)
    >>> workspace.blocks_made  # the new y is made while the old one is still there
    2
    """

    def __init__(self) -> None:
        self.blocks_made = 0
        self.bytes_made = 0
        self._free: dict[int, list[np.ndarray]] = {}
        self._outer: Workspace | None = None

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Make an array with undefined content, in reused memory if some of this size is free."""
        size = math.prod(shape) * dtype.itemsize
        blocks = self._free.get(size)
        if blocks is None:
            blocks = self._free[size] = []
        block = blocks.pop() if blocks else self._make(size)
        return np.asarray(_Lease(block, blocks, shape, dtype))

    def _make(self, size: int) -> np.ndarray:
        self.blocks_made += 1
        self.bytes_made += size
        memory = np.empty(size + ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % ALIGNMENT
        return memory[start : start + max(size, 1)]

    def __enter__(self) -> Workspace:
        global _current
        self._outer, _current = _current, self
        return self

    def __exit__(self, *exc_info) -> None:
        global _current
        _current, self._outer = self._outer, None
        self._free = {}  # arrays still in use keep their own block


class _Lease:
    """The memory of one array. NumPy keeps it as the array's base: when the array and all its views
    are gone, so is the lease, and the block is free again.
    """  # noqa: D205

    __slots__ = ("__array_interface__", "_block", "_free")

    def __init__(self, block, free, shape, dtype):
        self._block, self._free = block, free
        self.__array_interface__ = {
            "shape": shape,
            "typestr": dtype.str,
            "data": (block.__array_interface__["data"][0], False),
            "version": 3,
        }

    def __del__(self) -> None:
        self._free.append(self._block)
