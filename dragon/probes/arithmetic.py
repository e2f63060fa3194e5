"""Arithmetic over lists of arrays, as gradients and weights are: norms, products, sums, all in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dragon.memory.storage import Array
from dragon.probes.probe_net import Batch, ProbeNet

__all__ = ["angle", "distance", "dot", "mean_gradient", "moved", "norm"]


def dot(a: Sequence[Array], b: Sequence[Array]) -> float:
    """The sum of the products of all elements."""
    return float(sum(np.vdot(x.astype(np.float64), y.astype(np.float64)) for x, y in zip(a, b, strict=True)))


def norm(*arrays: Array) -> float:
    """The L2 norm of all elements together."""
    return math.sqrt(dot(arrays, arrays))


def distance(a: Sequence[Array], b: Sequence[Array]) -> float:
    """The L2 norm of a - b."""
    return norm(*(x.astype(np.float64) - y for x, y in zip(a, b, strict=True)))


def angle(a: Array, b: Array) -> float:
    """The angle between two vectors in radians; NaN where one of them is 0.

    2 atan2(|u - v|, |u + v|) of the unit vectors u, v (Kahan 2006), since acos of the cosine has no digits left for
    angles below 1e-8.
    """
    lengths = norm(a), norm(b)
    if not all(lengths):
        return math.nan
    u, v = (x.astype(np.float64) / length for x, length in zip((a, b), lengths, strict=True))
    return 2 * math.atan2(norm(u - v), norm(u + v))


def moved(weights: Sequence[Array], step: float, direction: Sequence[Array]) -> list[Array]:
    """Weights + step * direction, in the dtype of the weights."""
    return [(w + step * d.astype(np.float64)).astype(w.dtype) for w, d in zip(weights, direction, strict=True)]


def mean_gradient(net: ProbeNet, batches: Sequence[Batch]) -> tuple[float, list[Array]]:
    """Loss and gradient of a net's present weights, averaged over batches; the gradient in float64."""
    loss, total = 0.0, [np.zeros(p.blob.shape, np.float64) for p in net.params]
    for batch in batches:
        one, gradient = net.gradient(batch)
        loss += one / len(batches)
        for sum_, g in zip(total, gradient, strict=True):
            sum_ += g.astype(np.float64) / len(batches)
    return loss, total
