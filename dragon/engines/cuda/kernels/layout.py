"""Kernels of layout.cu: between channels first and channels last."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = ["accumulate_transposed", "pad_channels", "transpose", "transpose_to_16_bit", "transpose_to_float32"]

FILE = "layout"

transpose = Kernel(FILE, "transpose", """
    const stored* x, stored* y, Index batch, Index rows, Index columns, const real* factor
""")  # fmt: skip
transpose_to_16_bit = Kernel(FILE, "transpose_to_16_bit", """
    const real* x, stored* y, Index batch, Index rows, Index columns, const real* factor
""")  # fmt: skip
transpose_to_float32 = Kernel(FILE, "transpose_to_float32", """
    const stored* x, real* y, Index batch, Index rows, Index columns, const real* factor
""")  # fmt: skip
accumulate_transposed = Kernel(FILE, "accumulate_transposed", """
    const stored* x, real* y, Index count, Divisor rows, Divisor columns, const real* factor
""", Elements())  # fmt: skip
pad_channels = Kernel(FILE, "pad_channels", """
    const stored* x, stored* y, Index count, Index channels, Divisor padded, int vectors
""", Elements())  # fmt: skip
