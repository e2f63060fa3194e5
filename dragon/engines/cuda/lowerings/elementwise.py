"""Launches over all elements of arrays of one size: what many lowerings share of elementwise.cu."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dragon.engines.cuda.kernels import elementwise as kernels
from dragon.engines.cuda.kernels.kernel import Kernel
from dragon.engines.cuda.lowerings.lowering import Lowering, aligned

__all__ = ["copied", "element_wise", "weighted_sum"]


def element_wise(
    lowering: Lowering, kernel: Kernel, arrays: Mapping[str, Any], settings: Mapping[str, float]
) -> None:  # fmt: skip
    """Launch a kernel (arrays, count, vectors, settings) over all elements of the arrays, which have one size."""
    some = next(iter(arrays.values()))
    lowering.launch(kernel, **arrays, count=some.size, vectors=aligned(*arrays.values()), **settings)


def copied(lowering: Lowering, x: Any, out: Any) -> None:
    """Compute out = x."""
    element_wise(lowering, kernels.scaled.forward, {"x": x, "out": out}, {"a": 1.0, "b": 0.0, "c": 0.0})


def weighted_sum(lowering: Lowering, x: Any, y: Any, out: Any, a: float, b: float) -> None:
    """Compute out = a x + b y."""
    element_wise(lowering, kernels.weighted_sum, {"x": x, "y": y, "out": out}, {"a": a, "b": b})
