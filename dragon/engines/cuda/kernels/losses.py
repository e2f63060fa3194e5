"""Kernels of losses.cu: losses other than SoftmaxWithLoss."""

from __future__ import annotations

from dataclasses import dataclass

from dragon.engines.cuda.kernels.kernel import Elements, Kernel
from dragon.engines.cuda.kernels.terms import TOTAL

__all__ = [
    "ElementLoss", "contrastive_backward", "contrastive_terms", "euclidean", "hinge_backward", "hinge_terms",
    "infogain_backward", "infogain_terms", "l1", "multinomial_backward", "multinomial_terms", "sigmoid_cross_entropy",
    "smooth_l1",
]  # fmt: skip

FILE = "losses"

hinge_terms = Kernel(FILE, "hinge_terms", f"""
    const real* x, const real* label, Index rows, Index classes, int square, {TOTAL}
""")  # fmt: skip
hinge_backward = Kernel(FILE, "hinge_backward", """
    const real* x, const real* label, const real* top_diff, const real* divisor, real* dx, Index count,
    Divisor classes, int square
""", Elements())  # fmt: skip
multinomial_terms = Kernel(FILE, "multinomial_terms", f"""
    const real* x, const real* label, Index rows, Index classes, real least, {TOTAL}
""")  # fmt: skip
multinomial_backward = Kernel(FILE, "multinomial_backward", """
    const real* x, const real* label, const real* top_diff, const real* divisor, real* dx, Index count,
    Divisor classes, real least
""", Elements())  # fmt: skip
infogain_terms = Kernel(FILE, "infogain_terms", f"""
    const real* prob, const real* label, const real* gains, real* totals, Index positions, Index classes,
    Divisor inner, int has_ignore, int ignore, real least, {TOTAL}
""")  # fmt: skip
infogain_backward = Kernel(FILE, "infogain_backward", """
    const real* prob, const real* label, const real* gains, const real* totals, const real* top_diff,
    const real* divisor, real* dx, Index count, Divisor classes, Divisor inner, int has_ignore, int ignore
""", Elements())  # fmt: skip
contrastive_terms = Kernel(FILE, "contrastive_terms", f"""
    const real* a, const real* b, const real* similar, real* squares, Index rows, Index length, int legacy,
    real margin, {TOTAL}
""")  # fmt: skip
contrastive_backward = Kernel(FILE, "contrastive_backward", """
    const real* a, const real* b, const real* similar, const real* squares, const real* top_diff,
    const real* divisor, real* dx, Index count, Divisor length, int legacy, real margin, real least, real sign
""", Elements())  # fmt: skip


@dataclass(frozen=True)
class ElementLoss:
    """What LOSS in losses.cu makes: a loss whose term belongs to one element of `first` and `second`."""

    terms: Kernel
    backward: Kernel


def _element_loss(name: str) -> ElementLoss:
    return ElementLoss(
        Kernel(FILE, f"{name}_terms", f"""
            const real* first, const real* second, const real* insides, const real* outsides, Index count,
            int has_ignore, int ignore, real setting, {TOTAL}
        """),
        Kernel(FILE, f"{name}_backward", """
            const real* first, const real* second, const real* insides, const real* outsides, const real* top_diff,
            const real* divisor, real* dx, Index count, int has_ignore, int ignore, real setting, real sign
        """, Elements()),
    )  # fmt: skip


euclidean = _element_loss("euclidean")
smooth_l1 = _element_loss("smooth_l1")
l1 = _element_loss("l1")
sigmoid_cross_entropy = _element_loss("sigmoid_cross_entropy")
