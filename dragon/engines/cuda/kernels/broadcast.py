"""Kernels of broadcast.cu: sums and products of arrays of which one is repeated along some axes."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Blocks, Elements, Kernel

__all__ = ["combine", "sum_repeats"]

FILE = "broadcast"

combine = Kernel(FILE, "combine", """
    const stored* a, const stored* b, stored* y, Index count, int product, Divisor n1, Divisor n2, Divisor n3,
    Divisor n4, Divisor n5, int b0, int b1, int b2, int b3, int b4, int b5
""", Elements())  # fmt: skip
sum_repeats = Kernel(FILE, "sum_repeats", """
    const stored* dy, stored* db, Index count, Index repeats, Divisor k1, Divisor k2, Divisor k3, int s0,
    int s1, int s2, int s3, Divisor r1, Divisor r2, int t0, int t1, int t2
""", Blocks("count"))  # fmt: skip
