"""The CPU engine of the library with its stream, and who owns an object of the library."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Hashable
from ctypes import byref, c_void_p
from typing import Any

from dragon.engines.onednn.library.binding import check, library

__all__ = ["Device", "Owner"]


class Owner:
    """The only owner of an object of the library, `handle`, which `_destroy` ends together with this object.

    Not by weakref.finalize: thousands of those take longer than making the objects. When the process ends nothing is
    done, since the library may be gone by then.
    """

    _destroy: Callable[[Any], Any] | None = None

    def __init__(self, handle: c_void_p, destroy: Callable[[Any], Any] | None) -> None:
        self._as_parameter_ = handle.value  # a number, for the search for cycles has no need to look at it
        self._destroy = destroy

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if self._destroy is not None and not finalizing():
            self._destroy(self._as_parameter_)


class Device:
    """The CPU engine with one in-order stream: a primitive has finished when its call returns.

    compiled: what `Primitive` has had the library make, as long as something uses it.
    """

    def __init__(self) -> None:
        self.compiled: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()
        lib = library()
        engine, self.stream = c_void_p(), c_void_p()
        check(lib.engine_create(byref(engine), 1, 0), "engine_create")
        self.engine = Owner(engine, lib.engine_destroy)
        check(lib.stream_create(byref(self.stream), self.engine, 1), "stream_create")
        weakref.finalize(self, lib.stream_destroy, self.stream).atexit = False

    @property
    def native_bf16(self) -> bool:
        """Whether the CPU multiplies bf16 itself (AVX-512 BF16 or newer) instead of emulating it slowly."""
        return self._has(0xE7)  # dnnl_cpu_isa_avx512_core_bf16

    @property
    def has_vnni(self) -> bool:
        """Whether the CPU adds up products of int8 in 32 bits. Others add pairs of them in 16 bits, which saturate."""
        return self._has(0x67) or self._has(0x0F)  # dnnl_cpu_isa_avx512_core_vnni, dnnl_cpu_isa_avx2_vnni

    @property
    def has_avx512(self) -> bool:
        """Whether vectors have 16 numbers of float32."""
        return self._has(0x27)  # dnnl_cpu_isa_avx512_core

    @property
    def block(self) -> int:
        """Channels of a block in the layouts in which the library is fast: a vector of float32."""
        return 16 if self.has_avx512 else 8

    @property
    def has_amx(self) -> bool:
        """Whether the CPU multiplies whole tiles of bf16 and int8 (Sapphire Rapids or newer)."""
        return self._has(0xFEF)  # dnnl_cpu_isa_avx512_core_amx

    def _has(self, features: int) -> bool:
        return int(library().get_effective_cpu_isa()) & features == features
