"""Where operations get the memory of the arrays they hand out."""

from __future__ import annotations

import math
from sys import getrefcount

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register

HEAD_CHUNK = 1 << 24  # logits that exist at a time in a head_cross_entropy: 64 MB in float32

_current: Workspace | None = None


def head_chunk_rows(vocab_size: int) -> int:
    """Return how many rows of logits a head_cross_entropy makes at a time."""
    return max(1, HEAD_CHUNK // vocab_size)


def empty(shape: tuple[int, ...], dtype) -> np.ndarray:
    """Make an array with undefined content, as `numpy.empty` does.

    Inside a `Workspace` its memory is that of an earlier array which nobody holds any more.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
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
    Batches of different lengths share memory: a shorter array may lie in the memory of a longer
    one, and a longer one takes the place of a shorter one's. Memory is given back when the block
    ends. Like `use`, it holds for the whole process; blocks may be nested, and the innermost one
    counts.

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

    Attributes
    ----------
    blocks_made : int
        How often memory was not there already.
    bytes_made : int
        Of the memory that is kept now.
    """

    def __init__(self) -> None:
        self.blocks_made = 0
        self.bytes_made = 0
        self._blocks: dict[tuple, list[_Block]] = {}
        self._outer: Workspace | None = None

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Make an array with undefined content, in reused memory if some that fits is free.

        Parameters
        ----------
        shape : tuple of int
        dtype : dtype
        """
        key = len(shape), shape[-1:], dtype
        blocks = self._blocks.get(key)
        if blocks is None:
            blocks = self._blocks[key] = []
        size, best, outgrown = math.prod(shape), None, None
        for block in blocks:
            made = block.array.size
            if getrefcount(block.memory) != IDLE:
                continue
            if block.array.shape == shape:
                return block.array.view()
            if made < size:
                outgrown = block
            elif best is None or made < best.array.size:
                best = block
        if best is not None:
            return best.array.reshape(-1)[:size].reshape(shape)
        if outgrown is not None:
            self.bytes_made -= outgrown.array.nbytes
            blocks.remove(outgrown)
        block = _Block(shape, dtype)
        blocks.append(block)
        self.blocks_made += 1
        self.bytes_made += block.array.nbytes
        return block.array.view()

    def __enter__(self) -> Workspace:
        global _current
        self._outer, _current = _current, self
        return self

    def __exit__(self, *exc_info) -> None:
        global _current
        _current, self._outer = self._outer, None
        self._blocks = {}  # arrays still in use keep their own memory


class _Block:
    """Memory of one array. Every view of the array, and every view of a view, refers to it."""

    __slots__ = ("array", "memory")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype):
        size = math.prod(shape) * dtype.itemsize
        self.memory = np.empty(size + ALIGNMENT, np.uint8)
        start = -self.memory.ctypes.data % ALIGNMENT
        self.array = self.memory[start : start + size].view(dtype).reshape(shape)


# References to the memory of a block whose array nobody holds.
IDLE = 3  # the block's own, its array's, and getrefcount's argument
