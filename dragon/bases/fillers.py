"""Weight fillers: constant, uniform, gaussian (also sparse), positive_unitball, xavier, msra, fixup, bilinear.

xavier is uniform in +-sqrt(3/n) (Glorot & Bengio 2010), msra is normal with standard deviation sqrt(2/n) or, before a
ReLU with a negative slope alpha, sqrt(2/n/(1 + alpha^2)) (He et al. 2015), where n is fan_in = count/shape[0], fan_out
= count/shape[1] or their mean. fixup is msra times L^(-1/(2m-2)), for all layers but the last of each of L residual
branches of m layers, which start at 0 (Zhang, Dauphin & Ma 2019, arXiv 1901.09321). bilinear is the interpolation
kernel for a deconvolution. Where a blob has no elements nothing is filled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from dragon.errors import PrototxtError, ShapeError, nearest
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream

__all__ = ["FILLERS", "fill", "may_wait", "unknown_filler"]


def _constant(out: Array, p: pb.FillerParameter, rng: Stream) -> None:
    out[...] = p.value


def _uniform(out: Array, p: pb.FillerParameter, rng: Stream) -> None:
    if p.min > p.max:
        raise ValueError(f"min must not exceed max, got {p.min:g} and {p.max:g}")
    out[...] = rng.generator().uniform(p.min, p.max, out.shape)


def _gaussian(out: Array, p: pb.FillerParameter, rng: Stream) -> None:
    if p.std < 0:
        raise ValueError(f"std must not be negative, got {p.std:g}")
    generator = rng.generator()
    out[...] = generator.normal(p.mean, p.std, out.shape)
    if p.sparse >= 0:
        # `sparse` is the expected number of non-zero inputs of each output
        if out.ndim < 1:
            raise ShapeError(f"a sparse gaussian filler needs at least one axis, the shape is {out.shape}")
        fraction = min(1.0, p.sparse / max(1, out.shape[0]))
        out *= generator.random(out.shape) < fraction


def _positive_unitball(out: Array, p: pb.FillerParameter, rng: Stream) -> None:
    if not out.ndim:
        raise ShapeError(f"a positive_unitball filler needs at least one axis, the shape is {out.shape}")
    if not out.size:
        return
    out[...] = rng.generator().random(out.shape)
    rows = out.reshape(out.shape[0], -1)
    rows /= rows.sum(axis=1, keepdims=True)


def _fan(out: Array, p: pb.FillerParameter) -> float:
    if not out.size:
        return 1.0  # nothing is filled
    fan_in = out.size / out.shape[0] if out.ndim > 0 else 1.0
    fan_out = out.size / out.shape[1] if out.ndim > 1 else float(out.size)
    if p.variance_norm == pb.FillerParameter.AVERAGE:
        return (fan_in + fan_out) / 2
    return fan_out if p.variance_norm == pb.FillerParameter.FAN_OUT else fan_in


def _xavier(out: Array, p: pb.FillerParameter, rng: Stream) -> None:
    limit = math.sqrt(3.0 / _fan(out, p))
    out[...] = rng.generator().uniform(-limit, limit, out.shape)


def _msra(out: Array, p: pb.FillerParameter, rng: Stream) -> None:
    out[...] = rng.generator().normal(0.0, math.sqrt(2.0 / _fan(out, p) / (1 + p.alpha**2)), out.shape)


def _fixup(out: Array, p: pb.FillerParameter, rng: Stream) -> None:
    if p.branches < 1:
        raise ValueError(f"branches, the number of residual branches of the net, must be at least 1, got {p.branches}")
    if p.branch_layers < 2:
        raise ValueError(f"branch_layers must be at least 2, got {p.branch_layers}: a single layer starts at 0")
    _msra(out, p, rng)
    out *= p.branches ** (-1 / (2 * p.branch_layers - 2))


def _bilinear(out: Array, p: pb.FillerParameter, rng: Stream) -> None:
    if out.ndim != 4 or out.shape[2] != out.shape[3]:
        raise ShapeError(f"a bilinear filler needs 4 axes with a square kernel, the shape is {out.shape}")
    if not out.size:
        return
    size = out.shape[3]
    f = math.ceil(size / 2.0)
    c = (size - 1) / (2.0 * f)
    ramp = 1 - np.abs(np.arange(size) / f - c)
    out[...] = ramp[:, None] * ramp[None, :]


FILLERS: dict[str, Callable[[Array, pb.FillerParameter, Stream], None]] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "fixup": _fixup,
    "bilinear": _bilinear,
}


def may_wait(shape: Sequence[int], param: pb.FillerParameter) -> bool:
    """Whether `fill` is known to succeed, so that it may be left until the values are needed."""
    own = FILLERS.get(param.type)
    if own not in _KNOWN or not all(shape) or param.HasField("branches") or param.HasField("branch_layers"):
        return False
    if own is _uniform:
        width = param.max - param.min  # NumPy takes no -0.0
        return math.isfinite(width) and math.copysign(1, width) > 0 and param.sparse < 0
    if own is _gaussian:
        return param.std >= 0 and math.copysign(1, param.std) > 0 and (param.sparse < 0 or len(shape) > 0)
    return param.sparse < 0


_KNOWN = (_constant, _uniform, _gaussian, _xavier, _msra)  # the others are rare


def unknown_filler(name: str) -> str:
    """The message for a type that no filler has, with the nearest known one."""
    return f'unknown filler type "{name}"{nearest(name, FILLERS)}'


def fill(out: Array, param: pb.FillerParameter, rng: Stream, who: str) -> None:
    """Fill `out` in place as `param` says.

    who: what is filled, for messages. Raises PrototxtError for an unknown type or values that cannot be used,
    ShapeError for a shape that the filler cannot fill.
    """
    try:
        filler = FILLERS[param.type]
    except KeyError:
        raise PrototxtError(f"{who}: {unknown_filler(param.type)}") from None
    if param.sparse >= 0 and param.type != "gaussian":
        raise PrototxtError(f"{who}: sparse is for the gaussian filler, not for {param.type}")
    for field in ("branches", "branch_layers"):
        if param.HasField(field) and param.type != "fixup":
            raise PrototxtError(f"{who}: {field} is for the fixup filler, not for {param.type}")
    try:
        filler(out, param, rng)
    except ShapeError as error:
        raise ShapeError(f"{who}: {error}") from None
    except (ValueError, OverflowError, ZeroDivisionError) as error:  # also a range that overflows
        raise PrototxtError(f"{who}: cannot be filled by {param.type}: {error}") from None
