"""Kernels of layout.cu: between channels first and channels last."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = [
    "accumulate_transposed",
    "matrices",
    "pad_channels",
    "transpose",
    "transpose_to_16_bit",
    "transpose_to_float32",
]

FILE = "layout"
TILE = 32  # rows and columns of a matrix that a block transposes at a time, as in layout.cu
MATRICES = "Index batch, Divisor rows, Divisor columns, Divisor down, Divisor across, const real* factor"

transpose = Kernel(FILE, "transpose", f"""
    const stored* x, stored* y, {MATRICES}
""")  # fmt: skip
transpose_to_16_bit = Kernel(FILE, "transpose_to_16_bit", f"""
    const real* x, stored* y, {MATRICES}
""")  # fmt: skip
transpose_to_float32 = Kernel(FILE, "transpose_to_float32", f"""
    const stored* x, real* y, {MATRICES}
""")  # fmt: skip
accumulate_transposed = Kernel(FILE, "accumulate_transposed", """
    const stored* x, real* y, Index count, Divisor rows, Divisor columns, const real* factor, int add
""", Elements())  # fmt: skip
pad_channels = Kernel(FILE, "pad_channels", """
    const stored* x, stored* y, Index count, Index channels, Divisor padded, int vectors
""", Elements())  # fmt: skip


def matrices(batch: int, rows: int, columns: int) -> dict[str, int]:
    """The arguments of a transposition for the sizes of x."""
    return {"batch": batch, "rows": rows, "columns": columns, "down": -(-rows // TILE), "across": -(-columns // TILE)}
