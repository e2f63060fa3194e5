"""Kernels of elementwise.cu: element-wise layers, weighted sums, PReLU."""

from __future__ import annotations

from dataclasses import dataclass

from dragon.engines.cuda.kernels.kernel import Elements, Kernel

__all__ = [
    "Family", "absval", "bnll", "clip", "elu", "exponential", "hard_sigmoid", "hard_swish", "logarithm", "mish",
    "power", "prelu_backward", "prelu_forward", "relu", "relu6", "scaled", "selu", "sigmoid", "swish", "tanh",
    "threshold", "weighted_sum",
]  # fmt: skip

FILE = "elementwise"

weighted_sum = Kernel(FILE, "weighted_sum", """
    const stored* x, const stored* y, stored* out, Index count, int vectors, real a, real b
""", Elements())  # fmt: skip
prelu_forward = Kernel(FILE, "prelu_forward", """
    const stored* x, const real* slope, stored* y, stored* copy, Index count, Divisor slopes,
    Divisor spatial
""", Elements())  # fmt: skip
prelu_backward = Kernel(FILE, "prelu_backward", """
    const stored* x, const stored* dy, const real* slope, stored* dx, real* below, Index count, Divisor slopes,
    Divisor spatial
""", Elements())  # fmt: skip


@dataclass(frozen=True)
class Family:
    """What FAMILY in elementwise.cu makes: y from x; dx from x, y and dy. a, b and c are the layer's settings."""

    forward: Kernel
    backward: Kernel


def _family(name: str) -> Family:
    return Family(
        Kernel(FILE, f"{name}_forward", """
            const stored* x, stored* out, Index count, int vectors, real a, real b, real c
        """, Elements()),
        Kernel(FILE, f"{name}_backward", """
            const stored* x, const stored* y, const stored* dy, stored* out, Index count, int vectors,
            real a, real b, real c
        """, Elements()),
    )  # fmt: skip


relu = _family("relu")
relu6 = _family("relu6")
hard_sigmoid = _family("hard_sigmoid")
hard_swish = _family("hard_swish")
sigmoid = _family("sigmoid")
tanh = _family("tanh")
absval = _family("absval")
bnll = _family("bnll")
clip = _family("clip")
elu = _family("elu")
selu = _family("selu")
mish = _family("mish")
exponential = _family("exponential")
logarithm = _family("logarithm")
power = _family("power")
swish = _family("swish")
threshold = _family("threshold")
scaled = _family("scaled")
