"""Kernels of cast.cu: between float32 and 16-bit activations."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = ["accumulate", "to_16_bit", "to_float32"]

FILE = "cast"

to_16_bit = Kernel(FILE, "to_16_bit", """
    const real* x, stored* y, Index count, int vectors, const real* factor
""", Elements())  # fmt: skip
to_float32 = Kernel(FILE, "to_float32", """
    const stored* x, real* y, Index count, int vectors, const real* factor
""", Elements())  # fmt: skip
accumulate = Kernel(FILE, "accumulate", """
    const stored* x, real* y, Index count, const real* factor, int add
""", Elements())  # fmt: skip
