"""Kernels of indices.cu: checks of indices and labels, rows picked by indices."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = ["check_indices", "check_labels", "pick_rows", "sum_picked"]

FILE = "indices"

check_indices = Kernel(FILE, "check_indices", """
    const real* values, int* out_of_range, Index count, Index each, Index size
""", Elements())  # fmt: skip
check_labels = Kernel(FILE, "check_labels", """
    const real* labels, int* out_of_range, Index count, Index classes, int has_ignore, int ignore
""", Elements())  # fmt: skip
pick_rows = Kernel(FILE, "pick_rows", """
    const real* x, const real* picks, const real* bias, real* y, Index count, Divisor row, Index size
""", Elements())  # fmt: skip
sum_picked = Kernel(FILE, "sum_picked", """
    const real* dy, const real* picks, real* dx, Index count, Divisor row, Index n_picks, int add
""", Elements())  # fmt: skip
