"""Sums, products and their kin of two or more values, which are broadcast as in NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dragon.importing.context import Context
from dragon.importing.graph import Array, NoForm, shrunk
from dragon.importing.operators.activations import LARGEST, clipped
from dragon.importing.registry import operator

__all__ = ["add_constant", "broadcast", "difference", "multiply_constant", "multiply_values"]

Shape = tuple[int, ...]


@operator("Add")
def add(c: Context) -> None:
    """Eltwise SUM; Bias or Power for a constant; Bias with two bottoms where one is broadcast."""
    c.result(_add(c, 0, 1, 1.0))


@operator("Sub")
def subtract(c: Context) -> None:
    """As Add, with a factor of -1."""
    c.result(difference(c, 0, 1))


def difference(c: Context, one: int, other: int) -> str:
    """An input less another one."""
    return _add(c, one, other, -1.0)


def _add(c: Context, one: int, other: int, sign: float) -> str:
    """Input `one` plus sign times input `other`."""
    left, right = c.constant(one), c.constant(other)
    if right is not None:
        return add_constant(c, c.blob(one), c.shape(one), sign * right)
    if left is not None:
        return add_constant(c, c.linear(c.blob(other), sign, suffix="sign"), c.shape(other), left)
    if c.shape(one) == c.shape(other):
        return c.eltwise([c.blob(one), c.blob(other)], "SUM", coeff=[] if sign == 1 else [1, sign])
    second = c.linear(c.blob(other), sign, suffix="sign")
    return _combine(c, "Bias", c.blob(one), c.shape(one), second, c.shape(other))


@operator("Mul")
def multiply(c: Context) -> None:
    """Eltwise PROD; Scale or Power for a constant; Scale with two bottoms where one is broadcast, as in SE blocks."""
    for k in (0, 1):
        constant = c.constant(k)
        if constant is not None:
            c.result(multiply_constant(c, c.blob(1 - k), c.shape(1 - k), constant))
            return
    c.result(multiply_values(c, c.blob(0), c.shape(0), c.blob(1), c.shape(1)))


@operator("ScaleBias")
def scale_and_bias(c: Context) -> None:
    """Scale with bias_term, for Mul and Add with constants of one shape."""
    axis, scale = _span(c.needed_constant(1, "scale"), c.shape())
    _, bias = _span(c.needed_constant(2, "bias"), c.shape())
    settings = {**_placed(axis, scale.ndim), "bias_term": True}
    c.result(c.layer("Scale", c.blob(), arrays=[scale, bias], scale_param=settings))


@operator("Div")
def divide(c: Context) -> None:
    """As Mul, with Power -1 of the divisor."""
    left, right = c.constant(0), c.constant(1)
    if right is not None:
        with np.errstate(divide="ignore"):
            c.result(multiply_constant(c, c.blob(0), c.shape(0), 1 / right.astype(np.float64)))
        return
    inverse = c.linear(c.blob(1), power=-1, suffix="inverse")
    if left is not None:
        c.result(multiply_constant(c, inverse, c.shape(1), left))
    else:
        c.result(multiply_values(c, c.blob(0), c.shape(0), inverse, c.shape(1)))


@operator("Pow")
def power(c: Context) -> None:
    """Power, for a constant exponent of one value."""
    exponent = c.graph.scalar(c.node.inputs[1])
    if exponent is None:
        raise NoForm("its exponent is not one constant number: Caffe's Power has no other")
    c.result(c.linear(c.blob(), power=exponent))


@operator("Max")
def maximum(c: Context) -> None:
    """Eltwise MAX; ReLU or Clip for a constant."""
    c.result(_extreme(c, 1.0))


@operator("Min")
def minimum(c: Context) -> None:
    """Eltwise MAX between two Power with -1; Clip for a constant."""
    c.result(_extreme(c, -1.0))


def _extreme(c: Context, sign: float) -> str:
    """The maximum, or with sign -1 the minimum, of all inputs."""
    values = [c.graph.scalar(name) for name in c.node.inputs]
    numbers = [value for value in values if value is not None]
    others = [k for k, value in enumerate(values) if value is None]
    shape = c.output_shape()
    blobs = [broadcast(c, c.blob(k), c.shape(k), shape, f"tile{k}") for k in others]
    found = blobs[0]
    if len(blobs) > 1:
        found = c.eltwise([c.linear(blob, sign, suffix=f"sign{k}") for k, blob in enumerate(blobs)], "MAX")
        found = c.linear(found, sign, suffix="sign")
    if not numbers:
        return found
    return clipped(c, found, *((max(numbers), LARGEST) if sign > 0 else (-LARGEST, min(numbers))))


@operator("Sum")
def total(c: Context) -> None:
    """Eltwise SUM."""
    c.result(c.eltwise(_equal(c), "SUM") if len(c.node.inputs) > 1 else c.blob())


@operator("Mean")
def mean(c: Context) -> None:
    """Eltwise SUM with equal coefficients."""
    count = len(c.node.inputs)
    c.result(c.eltwise(_equal(c), "SUM", coeff=[1 / count] * count) if count > 1 else c.blob())


def _equal(c: Context) -> list[str]:
    return [broadcast(c, c.blob(k), c.shape(k), c.output_shape(), f"tile{k}") for k in range(len(c.node.inputs))]


# -- with a constant ----------------------------------------------------------------------------------------------
def add_constant(c: Context, blob: str, shape: Shape, constant: Array) -> str:
    """Blob + constant."""
    wanted = np.broadcast_shapes(shape, constant.shape)
    constant = shrunk(constant) if wanted == shape else constant
    number = _only_number(constant)
    if number is not None:
        return c.linear(c.reshape(blob, shape, _ranked(shape, len(wanted))), 1, number, suffix="add")
    blob = broadcast(c, blob, shape, wanted)
    axis, values = _span(constant, wanted)
    return c.layer("Bias", blob, arrays=[values], bias_param=_placed(axis, values.ndim))


def multiply_constant(c: Context, blob: str, shape: Shape, constant: Array) -> str:
    """Blob * constant."""
    wanted = np.broadcast_shapes(shape, constant.shape)
    constant = shrunk(constant) if wanted == shape else constant
    number = _only_number(constant)
    if number is not None:
        return c.linear(c.reshape(blob, shape, _ranked(shape, len(wanted))), number, suffix="multiply")
    blob = broadcast(c, blob, shape, wanted)
    axis, values = _span(constant, wanted)
    return c.layer("Scale", blob, arrays=[values], scale_param=_placed(axis, values.ndim))


def _only_number(constant: Array) -> float | None:
    """The value of a constant all of whose elements are equal and which enlarges nothing; None for others."""
    return float(constant.reshape(-1)[0]) if constant.size == 1 else None


def _span(constant: Array, shape: Shape) -> tuple[int, Array]:
    """The first axis of `shape` along which a constant varies, and its values over all from there to the last."""
    aligned = constant.reshape(_ranked(constant.shape, len(shape)))
    long = [axis for axis, extent in enumerate(aligned.shape) if extent != 1]
    first, end = long[0], long[-1] + 1
    values = np.broadcast_to(aligned.reshape(aligned.shape[first:end]), shape[first:end])
    return first, values


def _placed(axis: int, count: int) -> dict[str, int]:
    return {name: value for name, value in (("axis", axis), ("num_axes", count)) if value != 1}


def _ranked(shape: Shape, count: int) -> Shape:
    """A shape with axes of extent 1 in front, `count` axes in all."""
    return (*[1] * (count - len(shape)), *shape)


# -- of two values ------------------------------------------------------------------------------------------------
def multiply_values(c: Context, a: str, a_shape: Shape, b: str, b_shape: Shape) -> str:
    """A * b."""
    if a_shape == b_shape:
        return c.eltwise([a, b], "PROD")
    return _combine(c, "Scale", a, a_shape, b, b_shape)


def _combine(c: Context, kind: str, a: str, a_shape: Shape, b: str, b_shape: Shape) -> str:
    """Scale or Bias with two bottoms, the larger one first; both are repeated where neither covers the other."""
    wanted = np.broadcast_shapes(a_shape, b_shape)
    if math.prod(a_shape) < math.prod(b_shape):
        a, a_shape, b, b_shape = b, b_shape, a, a_shape
    a = broadcast(c, a, a_shape, wanted, "tile")
    rank = len(wanted)
    aligned = _ranked(b_shape, rank)
    long = [axis for axis, extent in enumerate(aligned) if extent != 1]
    first, end = (long[0], long[-1] + 1) if long else (0, 0)
    if rank and aligned[0] == wanted[0]:
        first, end = 0, max(end, 1)  # also in a batch of one, so that the batch may change
    part_shape = (*aligned[:first], *wanted[first:end], *aligned[end:])
    part = broadcast(c, b, b_shape, part_shape, "repeat")
    if part_shape == wanted:
        return c.eltwise([a, part], "PROD" if kind == "Scale" else "SUM")
    part = c.reshape(part, part_shape, wanted[first:end], "operand")
    settings: dict[str, Any] = {f"{kind.lower()}_param": {} if first == 1 else {"axis": first}}
    return c.layer(kind, [a, part], **settings)


def broadcast(c: Context, blob: str, shape: Sequence[int], wanted: Sequence[int], suffix: str = "tile") -> str:
    """The blob repeated along its axes of extent 1 until it has the shape `wanted`."""
    if tuple(shape) == tuple(wanted):
        return blob
    aligned = _ranked(tuple(shape), len(wanted))
    blob = c.reshape(blob, shape, aligned, f"{suffix}_axes")
    for axis, (old, new) in enumerate(zip(aligned, wanted, strict=True)):
        if old != new:
            blob = c.layer("Tile", blob, f"{suffix}{axis}", tile_param={"axis": axis, "tiles": new})
    return blob
