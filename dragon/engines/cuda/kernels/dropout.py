"""Kernels of dropout.cu: dropout's mask, and its backward."""

from __future__ import annotations

from dragon.engines.cuda.kernels.kernel import RANDOM_WORDS, Elements, Kernel

__all__ = ["dropout_backward", "dropout_forward"]

FILE = "dropout"

dropout_forward = Kernel(FILE, "dropout_forward", """
    const stored* x, stored* y, unsigned char* mask, const word* stream, Index count, word threshold, real scale,
    Divisor channels, Divisor spatial, int channels_last
""", Elements(each=RANDOM_WORDS))  # fmt: skip
dropout_backward = Kernel(FILE, "dropout_backward", """
    const stored* dy, const unsigned char* mask, stored* dx, Index count, real scale
""", Elements())  # fmt: skip
