"""Kernels of channels.cu: sums over each channel."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Kernel

__all__ = ["channel_gradient", "channel_sums", "channel_sums_of_sum", "channel_totals", "fold_sums"]

FILE = "channels"

channel_sums = Kernel(FILE, "channel_sums", """
    const stored* dy, const stored* x, const real* mean, const stored* y, real* sums, Index n, Index c, Index s,
    int group, Index part, int vectors, real slope
""")  # fmt: skip
channel_sums_of_sum = Kernel(FILE, "channel_sums_of_sum", """
    const stored* dy, const stored* more, const stored* x, const real* mean, const stored* y, stored* out0,
    stored* out1, stored* out2, real* sums, Index n, Index c, Index s, int group, Index part, int vectors, real slope
""")  # fmt: skip
channel_gradient = Kernel(FILE, "channel_gradient", """
    const stored* dy, const real* unscale, real* out, Index n, Index c, Index s, int group, Index part, int vectors,
    int add
""")  # fmt: skip
fold_sums = Kernel(FILE, "fold_sums", "const real* sums, real* folded, Index c, Index parts, Index each")
channel_totals = Kernel(FILE, "channel_totals", """
    const real* sums, const real* inv, const real* unscale, real* out_a, real* out_b, Index c, Index parts, int add
""")  # fmt: skip
