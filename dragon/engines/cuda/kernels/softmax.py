"""Kernels of softmax.cu: softmax, softmax with its loss."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import WARP, Blocks, Elements, Kernel
from dragon.engines.cuda.kernels.terms import TOTAL

__all__ = [
    "softmax_backward_columns",
    "softmax_backward_long_rows",
    "softmax_backward_rows",
    "softmax_columns",
    "softmax_long_rows",
    "softmax_loss_backward",
    "softmax_loss_columns",
    "softmax_loss_long_rows",
    "softmax_loss_rows",
    "softmax_rows",
]

FILE = "softmax"
LOSS = f"""
    const stored* x, const real* label, const real* weights, real* prob, Index positions, Index classes,
    int has_ignore, int ignore, real least, {TOTAL}
"""

softmax_rows = Kernel(FILE, "softmax_rows", """
    const stored* x, real* y, Index rows, Index classes
""", Elements("rows", together=WARP))  # fmt: skip
softmax_long_rows = Kernel(FILE, "softmax_long_rows", """
    const stored* x, real* y, Index rows, Index classes
""", Blocks("rows"))  # fmt: skip
softmax_columns = Kernel(FILE, "softmax_columns", """
    const stored* x, real* y, Index positions, Index classes, Divisor inner
""", Elements("positions"))  # fmt: skip
softmax_backward_rows = Kernel(FILE, "softmax_backward_rows", """
    const real* y, const real* dy, const real* scale, stored* dx, Index rows, Index classes
""", Elements("rows", together=WARP))  # fmt: skip
softmax_backward_long_rows = Kernel(FILE, "softmax_backward_long_rows", """
    const real* y, const real* dy, const real* scale, stored* dx, Index rows, Index classes
""", Blocks("rows"))  # fmt: skip
softmax_backward_columns = Kernel(FILE, "softmax_backward_columns", """
    const real* y, const real* dy, const real* scale, stored* dx, Index positions, Index classes, Divisor inner
""", Elements("positions"))  # fmt: skip
softmax_loss_rows = Kernel(FILE, "softmax_loss_rows", LOSS)
softmax_loss_long_rows = Kernel(FILE, "softmax_loss_long_rows", LOSS)
softmax_loss_columns = Kernel(FILE, "softmax_loss_columns", f"{LOSS}, Divisor inner")
softmax_loss_backward = Kernel(FILE, "softmax_loss_backward", """
    const real* prob, const real* label, const real* weights, const real* top_diff, const real* divisor,
    const real* scale, stored* dx, Index count, Divisor classes, Divisor inner, int has_ignore, int ignore
""", Elements())  # fmt: skip
