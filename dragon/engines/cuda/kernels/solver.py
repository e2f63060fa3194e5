"""Kernels of solver.cu: the update of all learned blobs, the loss scale, the check of an iteration's loss."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import Blocks, Kernel

__all__ = ["adopt_scale", "check_loss", "clear_gradients", "clip_factor", "gradient_squares", "updates"]

FILE = "solver"

check_loss = Kernel(FILE, "check_loss", """
    const real* loss, const int* out_of_range, double* total, double* step, const float* scale, word report,
    Index count, int layers, double weight, int first, int last
""", Blocks(number=1))  # fmt: skip
gradient_squares = Kernel(FILE, "gradient_squares", """
    const Entry* entries, const Chunk* chunks, double* squares
""")  # fmt: skip
adopt_scale = Kernel(FILE, "adopt_scale", """
    float* scale
""", Blocks(number=1))  # fmt: skip
clip_factor = Kernel(FILE, "clip_factor", """
    const double* squares, double* step, Index chunks, double limit, float* scale
""", Blocks(number=1))  # fmt: skip
clear_gradients = Kernel(FILE, "clear_gradients", """
    const Entry* entries, const Chunk* chunks
""")  # fmt: skip

# an update by each rule, by the name of its macro RULE
updates = {
    name: Kernel(FILE, f"{name}_update", """
        const Entry* entries, const Chunk* chunks, const double* step, double grad_scale, int regularization,
        int decoupled, double p, double q, double delta
    """)
    for name in ("sgd", "nesterov", "adagrad", "rmsprop", "adadelta", "adam")
}  # fmt: skip
