"""Comparisons and choices: a truth is 1 or 0, as in Caffe's Threshold."""

from __future__ import annotations

import numpy as np

from dragon.files.onnx_package import onnx_module
from dragon.importing.context import Context
from dragon.importing.graph import NoForm
from dragon.importing.operators.arithmetic import broadcast, difference, multiply_constant, multiply_values
from dragon.importing.registry import operator


@operator("Greater")
def greater(c: Context) -> None:
    """Threshold of the difference, or at a constant number."""
    c.result(_greater(c, 0, 1))


@operator("Less")
def less(c: Context) -> None:
    """As Greater, the other way round."""
    c.result(_greater(c, 1, 0))


@operator("GreaterOrEqual")
def greater_or_equal(c: Context) -> None:
    """1 less what Less gives."""
    c.result(_negated(c, _greater(c, 1, 0)))


@operator("LessOrEqual")
def less_or_equal(c: Context) -> None:
    """1 less what Greater gives."""
    c.result(_negated(c, _greater(c, 0, 1)))


@operator("Equal")
def equal(c: Context) -> None:
    """AbsVal of the difference, Threshold, and 1 less that."""
    c.result(_negated(c, _positive(c, c.layer("AbsVal", _difference(c, 0, 1)))))


@operator("Not")
def negation(c: Context) -> None:
    """Power, 1 less the truth."""
    c.result(_negated(c, c.blob()))


@operator("And")
def conjunction(c: Context) -> None:
    """As Mul."""
    for k in (0, 1):
        constant = c.constant(k)
        if constant is not None:
            c.result(multiply_constant(c, c.blob(1 - k), c.shape(1 - k), constant.astype(np.float32)))
            return
    c.result(multiply_values(c, c.blob(0), c.shape(0), c.blob(1), c.shape(1)))


@operator("Or")
def disjunction(c: Context) -> None:
    """Eltwise MAX."""
    shape = c.output_shape()
    c.result(c.eltwise([broadcast(c, c.blob(k), c.shape(k), shape, f"tile{k}") for k in (0, 1)], "MAX"))


@operator("Xor")
def exclusive_or(c: Context) -> None:
    """AbsVal of the difference."""
    c.result(c.layer("AbsVal", _difference(c, 0, 1)))


@operator("Sign")
def sign(c: Context) -> None:
    """The difference of two Threshold."""
    above = _positive(c, c.blob(), "above")
    below = _positive(c, c.linear(c.blob(), -1, suffix="opposite"), "below")
    c.result(c.eltwise([above, below], "SUM", coeff=[1, -1]))


@operator("Cast")
def cast(c: Context) -> None:
    """Threshold of AbsVal, for truths made of numbers."""
    if c.node.integer("to", 0) != onnx_module().TensorProto.BOOL:
        raise NoForm("it rounds to integers: Caffe's blobs are floats")
    c.result(_positive(c, c.layer("AbsVal", c.blob())))


@operator("Where")
def where(c: Context) -> None:
    """Products with the truth and with 1 less the truth, added; what is not chosen has to be finite."""
    shape, values = c.output_shape(), [c.constant(1), c.constant(2)]
    if any(value is not None and not np.isfinite(value).all() for value in values):
        raise NoForm("it puts in infinity or NaN, which a product with 0 leaves: use a large number, as -1e4")
    numbers = [c.graph.scalar(name) for name in c.node.inputs[1:]]
    truth = c.constant(0)
    if truth is None and None not in numbers and c.shape() == shape:
        yes, no = (float(v) for v in numbers if v is not None)
        c.result(c.linear(c.blob(), yes - no, no))
        return
    parts = []
    for k, number in enumerate(numbers, 1):
        if number == 0:
            continue
        value = values[k - 1]
        if truth is not None:
            factor = np.asarray(truth == (k == 1), np.float32)
            part = multiply_constant(c, c.blob(k), c.shape(k), factor)
            part_shape = np.broadcast_shapes(c.shape(k), factor.shape)
        else:
            gate = c.blob() if k == 1 else _negated(c, c.blob(), "otherwise")
            if value is not None:
                part = multiply_constant(c, gate, c.shape(), value)
            else:
                part = multiply_values(c, gate, c.shape(), c.blob(k), c.shape(k))
            part_shape = np.broadcast_shapes(c.shape(), c.shape(k))
        parts.append(broadcast(c, part, part_shape, shape, f"tile{k}"))
    c.result(c.eltwise(parts, "SUM") if len(parts) > 1 else parts[0])


def _difference(c: Context, one: int, other: int) -> str:
    for k in (one, other):
        constant = c.constant(k)
        if constant is not None and not np.isfinite(constant.astype(np.float64)).all():
            raise NoForm("it compares with infinity or NaN")
    return difference(c, one, other)


def _greater(c: Context, one: int, other: int) -> str:
    limit = c.graph.scalar(c.node.inputs[other])
    if limit is not None and c.shape(one) == c.output_shape():
        return c.layer("Threshold", c.blob(one), threshold_param={"threshold": limit} if limit else {})
    return _positive(c, _difference(c, one, other))


def _positive(c: Context, blob: str, suffix: str = "") -> str:
    return c.layer("Threshold", blob, suffix)


def _negated(c: Context, blob: str, suffix: str = "not") -> str:
    return c.linear(blob, -1, 1, suffix=suffix)
