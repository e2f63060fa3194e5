"""Kernels of cast.cu: between float32 and 16-bit activations."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = ["accumulate", "narrow", "widen"]

FILE = "cast"

narrow = Kernel(FILE, "narrow", """
    const real* x, stored* y, Index count, int vectors, const real* factor
""", Elements())  # fmt: skip
widen = Kernel(FILE, "widen", """
    const stored* x, real* y, Index count, int vectors, const real* factor
""", Elements())  # fmt: skip
accumulate = Kernel(FILE, "accumulate", """
    const stored* x, real* y, Index count, const real* factor
""", Elements())  # fmt: skip
