"""Kernels of batch_norm_at_once.cu: batch normalisation in one launch each way."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Kernel

__all__ = ["THREADS", "bn_backward_at_once", "bn_forward_at_once"]

FILE = "batch_norm_at_once"
THREADS = 512  # of each block

bn_forward_at_once = Kernel(FILE, "bn_forward_at_once", """
    const stored* x, const real* gamma, const real* beta, stored* y, stored* copy, real* mean_inv, real* running_mean,
    real* running_var, real* weight, int* arrived, Index n, Index c, Index s, int group, int vectors, real momentum,
    real batch_weight, int full, int unbiased, int divided, int deviation, real eps, int rectify, real slope
""", threads=THREADS)  # fmt: skip
bn_backward_at_once = Kernel(FILE, "bn_backward_at_once", """
    const stored* dy, const stored* x, const real* mean_inv, const real* gamma, const real* unscale, const stored* y,
    stored* dx, real* dgamma, real* dbeta, int add, Index n, Index c, Index s, int group, int vectors, int batch,
    real slope
""", threads=THREADS)  # fmt: skip
