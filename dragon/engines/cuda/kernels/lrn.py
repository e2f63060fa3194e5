"""Kernels of lrn.cu: local response normalisation."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = ["lrn_backward", "lrn_forward", "lrn_ratio"]

FILE = "lrn"

lrn_forward = Kernel(FILE, "lrn_forward", """
    const stored* x, stored* y, real* base, Index count, int across, Divisor channels, Divisor height,
    Divisor width, int reach, real k, real scale, real beta
""", Elements())  # fmt: skip
lrn_ratio = Kernel(FILE, "lrn_ratio", """
    const stored* x, const stored* dy, const real* base, real* ratio, Index count, real beta
""", Elements())  # fmt: skip
lrn_backward = Kernel(FILE, "lrn_backward", """
    const stored* x, const stored* dy, const real* base, const real* ratio, stored* dx, Index count, int across,
    Divisor channels, Divisor height, Divisor width, int reach, real scale, real beta
""", Elements())  # fmt: skip
