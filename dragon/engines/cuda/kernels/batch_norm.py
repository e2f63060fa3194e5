"""Kernels of batch_norm.cu: batch normalisation by channel; scale and bias of a channel."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = [
    "TO_BETA",
    "TO_GAMMA",
    "bn_affine",
    "bn_backward",
    "bn_normalize",
    "bn_normalize_sum",
    "bn_running",
    "bn_statistics",
    "fold_moments",
]

FILE = "batch_norm"
TO_GAMMA, TO_BETA = 1, 2  # bits of the argument `add`, as in batch_norm.cuh

bn_statistics = Kernel(FILE, "bn_statistics", """
    const stored* x, real* moments, real* weight, real* before, const real* running_mean, const real* running_var,
    Index n, Index c, Index s, int group, Index part, int vectors, real momentum, real batch_weight, int full
""")  # fmt: skip
fold_moments = Kernel(FILE, "fold_moments", """
    const real* moments, real* folded, Index c, Index parts, Index each, Index values, Index all
""")  # fmt: skip
bn_normalize = Kernel(FILE, "bn_normalize", """
    const stored* x, const real* moments, const real* gamma, const real* beta, stored* y, stored* copy,
    real* mean_inv, real* running_mean, real* running_var, const real* before, Index n, Index c, Index s, int group,
    Index part, int vectors, Index moment_parts, Index moment_values, real momentum, real batch_weight, int unbiased,
    int divided, int deviation, real eps, int rectify, real slope
""")  # fmt: skip
bn_normalize_sum = Kernel(FILE, "bn_normalize_sum", """
    const stored* x, const stored* other, const real* moments, const real* gamma, const real* beta, stored* y,
    stored* copy, stored* sum, real* mean_inv, real* running_mean, real* running_var, const real* before, Index n,
    Index c, Index s, int group, Index part, int vectors, Index moment_parts, Index moment_values, real momentum,
    real batch_weight, int unbiased, int divided, int deviation, real eps, int rectify, real slope
""")  # fmt: skip
bn_running = Kernel(FILE, "bn_running", """
    const real* running_mean, const real* running_var, const real* weight, real* mean_inv, Index c, real eps,
    real zero, int deviation
""", Elements("c"))  # fmt: skip
bn_affine = Kernel(FILE, "bn_affine", """
    const stored* x, const real* mean_inv, const real* gamma, const real* beta, stored* y, stored* copy, Index n,
    Index c, Index s, int group, Index part, int vectors, int rectify, real slope
""")  # fmt: skip
bn_backward = Kernel(FILE, "bn_backward", """
    const stored* dy, const stored* x, const real* mean_inv, const real* gamma, const real* sums,
    const real* unscale, const stored* y, stored* dx, real* dgamma, real* dbeta, int add, Index n, Index c,
    Index s, int group, Index part, int vectors, Index sum_parts, int batch, real slope
""")  # fmt: skip
