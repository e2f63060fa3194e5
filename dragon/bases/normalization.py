"""Arithmetic of batch normalisation, once for every layer and tool that needs it.

Arrays of activations have the form (N, C, S) that `by_channel` gives; everything of one value per channel
has the form (C,). Formulas: Ioffe & Szegedy 2015, section 3, with m = N * S values per channel.

    forward   d = x - mean(x)    var = mean(d^2)    inv = 1 / sqrt(var + eps)    y = gamma * inv * d + beta
    backward  dbeta = sum(dy)    dgamma = inv * sum(dy * d)
              dx = gamma * inv * (dy - dbeta / m - d * inv * dgamma / m)

The variance takes two passes: E[x^2] - E[x]^2 can be negative, and is not 0 for a constant channel.
"""

from __future__ import annotations

import math

from dragon.memory.scratch import parts
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = [
    "accumulate",
    "backward_batch",
    "backward_global",
    "by_channel",
    "centre",
    "channel_count",
    "channel_dot",
    "channel_sum",
    "inverse_std",
    "read_running",
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
    """out = x - mean; `out` may be `x`."""
    xp_of(x).subtract(x, mean[:, None], out=out)


def centre(x: Array, out: Array) -> tuple[Array, Array]:
    """Write d = x - mean(x) into `out`, which may be `x`; return the mean and the (biased) variance."""
    xp = xp_of(x)
    count = x.shape[0] * x.shape[2]
    mean = channel_sum(x) / x.dtype.type(count)
    squares = xp.zeros(x.shape[1], "float64")
    for part in parts(x):
        d = out[part]
        xp.subtract(x[part], mean[:, None], out=d)
        squares += channel_dot(d, d)
    return mean, (squares / count).astype(x.dtype)


def inverse_std(var: Array, eps: float) -> Array:
    """1 / sqrt(var + eps) in var's dtype."""
    inv: Array = (1 / xp_of(var).sqrt(var.astype("float64") + eps)).astype(var.dtype)
    return inv


def scale_shift(d: Array, scale: Array, shift: Array | None, out: Array) -> None:
    """out = d * scale + shift, per channel; `out` may be `d`."""
    xp = xp_of(d)
    for part in parts(d):
        y = out[part]
        xp.multiply(d[part], scale[:, None], out=y)
        if shift is not None:
            y += shift[:, None]


def backward_batch(dy: Array, d: Array, inv: Array, gamma: Array | None, out: Array | None) -> tuple[Array, Array]:
    """Backward through statistics of the batch: write dx into `out` (it may be `dy`; None: not wanted).

    Return dgamma and dbeta.
    """
    xp = xp_of(dy)
    dbeta = channel_sum(dy)
    dgamma = inv * channel_dot(dy, d)
    if out is not None:
        count = dy.dtype.type(dy.shape[0] * dy.shape[2])
        along = (-inv * dgamma / count)[:, None]
        level = (-dbeta / count)[:, None]
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


# -- running statistics ---------------------------------------------------------------------------------------


def accumulate(
    rule: int,
    running: tuple[Array, Array],
    weight: Array | None,
    batch: tuple[Array, Array],
    count: int,
    keep: float,
) -> None:
    """Add a batch's (mean, biased variance) over `count` values per channel to the running ones, in place.

    weight: one element, what the batches so far weigh together. `keep` is moving_average_fraction or decay:
      CAFFE       r <- keep * r + batch, w <- keep * w + 1; the variance enters times count / (count - 1)
      EMA         r <- keep * r + (1 - keep) * batch, w likewise
      CUMULATIVE  r <- (r * w + batch) / (w + 1), w <- w + 1
      LATEST      r <- (1 - keep) * r + keep * batch, w likewise
    Without a weight (layouts of forks that have no blob for it) a CAFFE or CUMULATIVE average cannot be kept.
    """
    mean, var = batch
    if weight is None and rule == pb.CAFFE:
        raise ValueError("Caffe's average needs a weight")
    if rule == pb.CAFFE:
        if count > 1:
            var = var * var.dtype.type(count / (count - 1))
        old, new = keep, 1.0
    elif rule == pb.EMA:
        old, new = keep, 1 - keep
    elif rule == pb.LATEST:
        old, new = 1 - keep, keep
    elif weight is None:
        raise ValueError("a cumulative average needs a weight")
    else:
        for r, b in zip(running, (mean, var), strict=True):
            r += (b - r) / (weight + 1)
        weight += 1
        return
    if weight is not None:
        if rule != pb.CAFFE:
            # statistics that came without a weight, say from a fork's file, are a full average
            given = (running[0] != 0).any() | (running[1] != 0).any()
            weight[...] = xp_of(weight).where((weight == 0) & given, 1, weight)
        weight *= old
        weight += new
    for r, b in zip(running, (mean, var), strict=True):
        r *= old
        r += b * b.dtype.type(new)


def read_running(rule: int, running: tuple[Array, Array], weight: Array | None) -> tuple[Array, Array]:
    """Mean and variance to normalise with: the sums divided by their weight, which corrects the start from 0.

    CAFFE reads a weight of 0 as statistics of 0; EMA and LATEST take such blobs as they are.
    """
    mean, var = running
    if weight is None or rule == pb.CUMULATIVE:
        return mean, var
    xp = xp_of(weight)
    safe = xp.where(weight == 0, 1, weight)
    factor = (xp.where(weight == 0, 0 if rule == pb.CAFFE else 1, 1) / safe).astype(mean.dtype)
    return mean * factor, var * factor
