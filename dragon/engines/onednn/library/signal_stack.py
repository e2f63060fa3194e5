"""A stack of its own for signal handlers, in each thread that runs the library.

The library's matrix product for long rows (x64:gemm:jit, rows of more than 2,048 numbers) copies them into work memory
from the heap, and lets the processor's stack pointer refer to it. The system stores the registers below the stack
pointer when a signal arrives: then it would overwrite whatever the heap has there. CPython asks for an alternate stack
(SA_ONSTACK) with each handler that it installs, but sets none up except in `faulthandler`.

Signals to a process go to its main thread while that does not block them, so OpenMP's workers need no such stack.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from functools import cache
from typing import Any

__all__ = ["ensure_signal_stack"]

_DISABLED = 2  # SS_DISABLE
_AT_MINSIGSTKSZ = 51  # how the system is asked what the registers take: 11 KB with AMX; 0 from old kernels
_ROOM = 1 << 16  # bytes for the handlers themselves


class _Stack(ctypes.Structure):
    """Linux's stack_t."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


class _Own:
    """The stack that this module gave to a thread; ends with the thread's local variables."""

    def __init__(self, libc: Any) -> None:
        self._libc = libc
        size = _ROOM + int(libc.getauxval(_AT_MINSIGSTKSZ))
        # not Python's memory, which may go while the thread still runs
        self._start: int | None = libc.malloc(size)
        if self._start is not None:
            libc.sigaltstack(ctypes.byref(_Stack(self._start, 0, size)), None)

    def __del__(self) -> None:
        if sys.is_finalizing() or self._start is None:
            return
        now = _Stack()
        self._libc.sigaltstack(None, ctypes.byref(now))
        if now.start == self._start:  # else another thread ends this object, or somebody has exchanged the stack
            now.flags = _DISABLED
            if self._libc.sigaltstack(ctypes.byref(now), None) == 0:
                self._libc.free(self._start)


_local = threading.local()


def ensure_signal_stack() -> None:
    """Let signal handlers of the calling thread run on a stack of their own, unless it has one. Linux only."""
    if not hasattr(_local, "stack"):
        _local.stack = _made()


def _made() -> _Own | None:
    libc = _libc()
    if libc is None:
        return None
    now = _Stack()
    known = libc.sigaltstack(None, ctypes.byref(now)) == 0 and now.flags & _DISABLED
    return _Own(libc) if known else None


@cache
def _libc() -> Any:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    try:
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
        libc.getauxval.restype, libc.getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
        libc.sigaltstack.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    except AttributeError:
        return None
    return libc
