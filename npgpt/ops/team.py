"""Who runs a parallel kernel: Numba's team of threads, or the calling thread alone.

Numba divides a parallel loop into as many pieces as threads are wanted and hands them to a function
of its threading layer, which is GNU OpenMP's on Linux, even if there is one piece. A process that
has used GNU OpenMP cannot use it after a fork: there, Numba ends the process at the first kernel,
and a pool of such processes waits for ever.

So kernels are linked to a function of ours in that place. For one thread it runs the loop where it
is, without OpenMP; for more it goes on to the threading layer. It is the same machine code either
way, so the same bits and one cache. In a process that `os.fork` has made the loop always runs where
it is: piece after piece, if there are several.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Any

SYMBOL = "numba_parallel_for"
WORD = 8 * struct.calcsize("P")  # bits
# the loop's function, its arrays, sizes, strides and data; axes, arrays, threads
ARGUMENTS, OF_LOOP, THREADS = 8, 5, 7

_in_child: ctypes.c_size_t | None = None  # what the linked function reads
_engine: Any = None  # owns the machine code


def link() -> None:
    """Put our function into the place of the threading layer's, for kernels that are linked later.

    Where Numba's function is not found under its name, all stays as Numba has it.
    """
    global _engine, _in_child
    if _engine is not None:
        return
    import llvmlite.binding
    import numba

    numba.get_num_threads()  # loads the threading layer
    address = llvmlite.binding.address_of_symbol(SYMBOL)
    if address is None:
        return
    _engine = _compile(address)
    _in_child = ctypes.c_size_t.from_address(_engine.get_global_value_address("npgpt_in_child"))
    llvmlite.binding.add_symbol(SYMBOL, _engine.get_function_address("npgpt_parallel_for"))
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_remember_fork)


def is_alone() -> bool:
    """Say whether this process was forked from one with kernels, and runs them on one thread."""
    return _in_child is not None and bool(_in_child.value)


def _remember_fork() -> None:
    assert _in_child is not None
    _in_child.value = 1


def _compile(team_address: int) -> Any:
    r"""Compile the function that takes the place of the threading layer's.

    In C, with ``args`` for the five arguments that the loop's function and the team need::

        if (threads == 1 || npgpt_in_child)
            loop(arrays, sizes, strides, data);
        else
            team(loop, arrays, sizes, strides, data, axes, num_arrays, threads);
    """
    import llvmlite.binding as llvm
    from llvmlite import ir

    word, module = ir.IntType(WORD), ir.Module("npgpt_team")
    in_child = ir.GlobalVariable(module, word, "npgpt_in_child")
    in_child.initializer = ir.Constant(word, 0)
    of_team = ir.FunctionType(ir.VoidType(), [word] * ARGUMENTS)
    of_loop = ir.FunctionType(ir.VoidType(), [word] * (OF_LOOP - 1))
    function = ir.Function(module, of_team, "npgpt_parallel_for")
    builder = ir.IRBuilder(function.append_basic_block())
    one = builder.icmp_unsigned("==", function.args[THREADS], ir.Constant(word, 1))
    forked = builder.icmp_unsigned("!=", builder.load(in_child), ir.Constant(word, 0))
    with builder.if_else(builder.or_(one, forked)) as (alone, together):
        with alone:
            loop, *arguments = function.args[:OF_LOOP]
            builder.call(builder.inttoptr(loop, of_loop.as_pointer()), arguments)
        with together:
            team = builder.inttoptr(ir.Constant(word, team_address), of_team.as_pointer())
            builder.call(team, function.args)
    builder.ret_void()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    return engine
