"""Kernels of softmax.cu: softmax, cross entropy, accuracy, and the sum of a loss's terms."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import WARP, Blocks, Elements, Kernel

__all__ = [
    "accuracy_terms",
    "class_accuracy",
    "cross_entropy",
    "softmax_backward_columns",
    "softmax_backward_long_rows",
    "softmax_backward_rows",
    "softmax_columns",
    "softmax_long_rows",
    "softmax_loss_backward",
    "softmax_rows",
    "sum_terms",
]

FILE = "softmax"

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
cross_entropy = Kernel(FILE, "cross_entropy", """
    const real* prob, const real* label, const real* weights, real* terms, Index positions, Index classes,
    Divisor inner, int has_ignore, int ignore, real least
""", Elements("positions"))  # fmt: skip
accuracy_terms = Kernel(FILE, "accuracy_terms", """
    const stored* score, const real* label, real* terms, Index positions, Index classes, Divisor inner,
    Index top_k, int has_ignore, int ignore
""", Elements("positions"))  # fmt: skip
class_accuracy = Kernel(FILE, "class_accuracy", """
    const real* terms, const real* label, real* out, Index positions
""")  # fmt: skip
sum_terms = Kernel(FILE, "sum_terms", """
    const real* terms, real* out, real* kept_divisor, int* out_of_range, Index positions, real divisor
""", Blocks(number=1))  # fmt: skip
softmax_loss_backward = Kernel(FILE, "softmax_loss_backward", """
    const real* prob, const real* label, const real* weights, const real* top_diff, const real* divisor,
    const real* scale, stored* dx, Index count, Divisor classes, Divisor inner, int has_ignore, int ignore
""", Elements())  # fmt: skip
