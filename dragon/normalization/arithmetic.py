"""Arithmetic of batch normalisation for all layers and tools.

Arrays of activations have the shape (N, C, S) that `by_channel` gives; values per channel have the shape (C,).
Formulas: Ioffe & Szegedy 2015, section 3, with m = N * S values per channel.

    forward   d = x - mean(x)    var = mean(d^2)    inv = 1 / sqrt(var + eps)    y = gamma * inv * d + beta
    backward  dbeta = sum(dy)    dgamma = inv * sum(dy * d)
              dx = gamma * inv * (dy - dbeta / m - d * inv * dgamma / m)

The variance takes two passes: E[x^2] - E[x]^2 can be negative, and is not 0 for a constant channel.

Over the rows of several ranks m, mean(x), mean(d^2), and dbeta and dgamma in dx are those of all: `total` adds them up,
once for m and x, once for d^2, once in backward. The dgamma and dbeta that are returned stay those of the rank.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dragon.memory.scratch import parts
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.share import Total

__all__ = [
    "affine_diffs",
    "backward_batch",
    "backward_global",
    "by_channel",
    "centre",
    "channel_count",
    "channel_dot",
    "channel_sum",
    "inverse_std",
    "scale_shift",
    "subtract_mean",
]


def channel_count(shape: tuple[int, ...]) -> int:
    """Channels of a blob: axis 1, or 1 for a blob of a single axis."""
    return shape[1] if len(shape) > 1 else 1


def by_channel(x: Array) -> Array:
    """`x` as (N, C, S) without copying; a blob of one axis has one channel."""
    return x.reshape(x.shape[0], channel_count(x.shape), math.prod(x.shape[2:]))


def channel_sum(x: Array) -> Array:
    """Sum over N and S in x's dtype, the sums of the rows added in float64: (C,)."""
    rows = x[:, :, 0] if x.shape[2] == 1 else xp_of(x).einsum("ncs->nc", x)
    total: Array = rows.sum(axis=0, dtype="float64").astype(x.dtype)
    return total


def channel_dot(x: Array, y: Array) -> Array:
    """Sum of x * y over N and S: (C,)."""
    total: Array = xp_of(x).einsum("ncs,ncs->nc", x, y).sum(axis=0, dtype="float64").astype(x.dtype)
    return total


def subtract_mean(x: Array, mean: Array, out: Array) -> None:
    """Subtract the means of the channels: out = x - mean; `out` may be `x`."""
    xp_of(x).subtract(x, mean[:, None], out=out)


def centre(x: Array, out: Array, total: Total | None = None) -> tuple[Array, Array, int]:
    """Write d = x - mean(x) into `out`, which may be `x`; return the mean, the (biased) variance and m."""
    xp = xp_of(x)
    count = x.shape[0] * x.shape[2]
    sums = channel_sum(x)
    if total is not None:
        counted, sums = _added(total, np.array([count]), sums)
        count = round(float(counted[0]))
    mean = sums / x.dtype.type(count)
    squares = xp.zeros(x.shape[1], "float64")
    for part in parts(x):
        d = out[part]
        xp.subtract(x[part], mean[:, None], out=d)
        squares += channel_dot(d, d)
    if total is not None:
        (squares,) = _added(total, squares)
    return mean, (squares / count).astype(x.dtype), count


def _added(total: Total, *values: Array) -> list[Array]:
    """The sums of vectors over the ranks, in the types that they have and at the place of the last one."""
    xp = xp_of(values[-1])
    vectors = [xp.asarray(v) for v in values]
    whole = xp.concatenate([v.astype("float64") for v in vectors])
    total(whole)
    ends = np.cumsum([0, *(v.size for v in vectors)])
    return [whole[a:b].astype(v.dtype) for v, a, b in zip(vectors, ends[:-1], ends[1:], strict=True)]


def inverse_std(var: Array, eps: float) -> Array:
    """1 / sqrt(var + eps) in var's dtype."""
    inv: Array = (1 / xp_of(var).sqrt(var.astype("float64") + eps)).astype(var.dtype)
    return inv


def scale_shift(d: Array, scale: Array, shift: Array | None, out: Array) -> None:
    """Scale and shift each channel: out = d * scale + shift; `out` may be `d`."""
    xp = xp_of(d)
    for part in parts(d):
        y = out[part]
        xp.multiply(d[part], scale[:, None], out=y)
        if shift is not None:
            y += shift[:, None]


def affine_diffs(dy: Array, d: Array, inv: Array) -> tuple[Array, Array]:
    """The gradients dgamma and dbeta, (C,) each, whatever statistics d and inv come from."""
    return inv * channel_dot(dy, d), channel_sum(dy)


def backward_batch(
    dy: Array, d: Array, inv: Array, gamma: Array | None, out: Array | None, over: tuple[Total, int] | None = None
) -> tuple[Array, Array]:
    """Backward through statistics of the batch: write dx into `out`; return dgamma and dbeta.

    out: may be `dy`; None if dx is not wanted. gamma: None without a scale. over: `total` and m of `centre`.
    """
    xp = xp_of(dy)
    dgamma, dbeta = affine_diffs(dy, d, inv)
    if out is not None:
        count: Any = dy.dtype.type(dy.shape[0] * dy.shape[2])
        all_gamma, all_beta = dgamma, dbeta
        if over is not None:
            count = dy.dtype.type(over[1])
            all_gamma, all_beta = _added(over[0], dgamma, dbeta)
        along = (-inv * all_gamma / count)[:, None]
        level = (-all_beta / count)[:, None]
        factor = (inv if gamma is None else inv * gamma)[:, None]
        for part in parts(dy):
            t = d[part] * along
            t += dy[part]
            t += level
            xp.multiply(t, factor, out=out[part])
    return dgamma, dbeta


def backward_global(dy: Array, inv: Array, gamma: Array | None, out: Array) -> None:
    """Backward through fixed statistics, dx = gamma * inv * dy; `out` may be `dy`."""
    scale_shift(dy, inv if gamma is None else inv * gamma, None, out)
