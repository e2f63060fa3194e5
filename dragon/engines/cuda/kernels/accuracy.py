"""Kernels of accuracy.cu: the share of hits, of all labels and of each class."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Kernel
from dragon.engines.cuda.kernels.terms import TOTAL

__all__ = ["accuracy_columns", "accuracy_rows", "class_accuracy"]

FILE = "accuracy"
ACCURACY = f"""
    const stored* score, const real* label, real* terms, Index positions, Index classes, Index top_k, int has_ignore,
    int ignore, {TOTAL}
"""

accuracy_rows = Kernel(FILE, "accuracy_rows", ACCURACY)
accuracy_columns = Kernel(FILE, "accuracy_columns", f"{ACCURACY}, Divisor inner")
class_accuracy = Kernel(FILE, "class_accuracy", """
    const real* terms, const real* label, real* out, Index positions
""")  # fmt: skip
