"""How Scale and Bias broadcast an operand that has some of the axes of their bottom."""

from __future__ import annotations

import math

from dragon.bases.layer import Layer
from dragon.memory.storage import Array

__all__ = ["by_operand", "operand_shape", "operand_span"]


def operand_shape(layer: Layer, shape: tuple[int, ...], axis: int, num_axes: int) -> tuple[int, ...]:
    """Shape of a learned operand for a bottom of `shape`: `num_axes` axes from `axis` on, -1 for all of them.

    Raises PrototxtError or ShapeError, naming `layer`, for axes that the bottom does not have.
    """
    first = layer.axis(axis, len(shape)) if shape else 0
    if num_axes < -1:
        layer.bad_param(f"num_axes must be -1 or more, got {num_axes}")
    if num_axes == -1:
        return shape[first:]
    if first + num_axes > len(shape):
        layer.bad_shape(f"axis {axis} and num_axes {num_axes} reach beyond a bottom of shape {shape}")
    return shape[first : first + num_axes]


def operand_span(layer: Layer, shape: tuple[int, ...], operand: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """Counts (outer, operand, inner) of a bottom of `shape`: before, in and after the axes of the operand.

    Raises ShapeError unless the shape `operand` matches the bottom at `axis`.
    """
    first = layer.axis(axis, len(shape)) if operand and shape else 0
    if shape[first : first + len(operand)] != operand:
        layer.bad_shape(f"an operand of shape {operand} does not fit at axis {axis} of a bottom of shape {shape}")
    return math.prod(shape[:first]), math.prod(operand), math.prod(shape[first + len(operand) :])


def by_operand(x: Array, spans: tuple[int, int, int]) -> Array:
    """A view of `x` as (outer, operand, inner)."""
    return x.reshape(spans)
