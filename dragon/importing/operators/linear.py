"""Products with a constant matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dragon.importing.context import Context
from dragon.importing.graph import Array, NoForm
from dragon.importing.operators.arithmetic import add_constant, multiply_values
from dragon.importing.operators.convolution import convolution_settings
from dragon.importing.registry import operator

__all__ = ["inner_product", "matrix_along"]


@operator("Gemm")
def gemm(c: Context) -> None:
    """InnerProduct."""
    weight = c.needed_constant(1, "matrix B").astype(np.float32)
    shape, blob = c.shape(), c.blob()
    if weight.ndim != 2 or len(shape) != 2:
        raise NoForm(f"it multiplies shapes {shape} and {weight.shape}, not two matrices")
    if c.node.integer("transA", 0):
        blob, shape = c.permute(blob, shape, (1, 0)), shape[::-1]
    rows = weight if c.node.integer("transB", 0) else weight.T
    alpha = c.node.number("alpha", 1.0)
    rows = rows if alpha == 1 else rows * np.float32(alpha)
    if not c.node.has_input(2):
        c.result(inner_product(c, blob, shape, rows))
        return
    bias = c.needed_constant(2, "matrix C").astype(np.float32) * np.float32(c.node.number("beta", 1.0))
    if bias.size == bias.shape[-1:][0] if bias.ndim else True:
        c.result(inner_product(c, blob, shape, rows, np.broadcast_to(bias.reshape(-1), rows.shape[:1])))
    else:
        c.result(add_constant(c, inner_product(c, blob, shape, rows), (shape[0], len(rows)), bias))


@operator("MatMul")
def matrix_product(c: Context) -> None:
    """InnerProduct, where one factor is a constant matrix; a product and sums for two computed ones, one a vector."""
    left, right = c.constant(0), c.constant(1)
    if right is not None and right.ndim <= 2:
        shape = c.shape()
        rows = right.reshape(len(right), -1).T
        found = inner_product(c, c.blob(), shape, rows, c.constant(2))
        c.result(c.reshape(found, (*shape[:-1], len(rows)), c.output_shape(), "vector") if right.ndim == 1 else found)
    elif left is not None and left.ndim == 2 and len(c.shape(1)) >= 2:
        shape = c.shape(1)
        last = len(shape) - 1
        order = [*range(last - 1), last, last - 1]
        turned = c.permute(c.blob(1), shape, order, "columns")
        found = inner_product(c, turned, [shape[axis] for axis in order], left)
        c.result(c.permute(found, (*shape[:-2], shape[-1], len(left)), order, "rows"))
    elif left is None and right is None:
        c.result(_computed_product(c))
    else:
        raise NoForm("its constant is not one matrix, but one for each item")


def _computed_product(c: Context) -> str:
    """A matrix times a vector, or a vector times a matrix, which both are computed: products, and their sums."""
    left, right = c.shape(0), c.shape(1)
    if len(left) < 2 or len(right) < 2 or (left[-2] > 1 and right[-1] > 1):
        raise NoForm(
            "both its factors are computed by the net, as in attention: Caffe multiplies by a constant matrix; take a"
            " net without attention, or end the model before it"
        )
    axis = len(c.output_shape()) - 1
    if right[-1] == 1:
        vector = (*right[:-2], 1, right[-2])
        product = multiply_values(c, c.blob(0), left, c.reshape(c.blob(1), right, vector, "vector"), vector)
        shape = np.broadcast_shapes(left, vector)
        summed = c.layer("Reduction", product, reduction_param={"operation": "SUM", "axis": axis})
        return c.reshape(summed, shape[:-1], c.output_shape(), "column")
    vector = (*left[:-2], left[-1], 1)
    product = multiply_values(c, c.blob(1), right, c.reshape(c.blob(0), left, vector, "vector"), vector)
    shape = np.broadcast_shapes(right, vector)
    return matrix_along(c, product, shape, axis - 1, np.ones((1, shape[-2])), "sum")


def inner_product(
    c: Context, blob: str, shape: tuple[int, ...] | list[int], rows: Array, bias: Array | None = None
) -> str:
    """The last axis of a blob times the matrix `rows` (outputs, inputs), plus a bias."""
    if rows.shape[1] != shape[-1]:
        raise NoForm(f"a matrix of shape {rows.shape} does not fit an input of shape {tuple(shape)}")
    settings = {"num_output": len(rows)} | ({} if bias is not None else {"bias_term": False})
    if len(shape) != 2:
        settings["axis"] = len(shape) - 1
    arrays = [rows] if bias is None else [rows, bias.reshape(-1)]
    return c.layer("InnerProduct", blob, arrays=arrays, inner_product_param=settings)


def matrix_along(c: Context, blob: str, shape: Sequence[int], axis: int, matrix: Array, suffix: str) -> str:
    """The vectors along an axis times a constant matrix (new extent, old extent)."""
    new = [*shape[:axis], len(matrix), *shape[axis + 1 :]]
    if axis == len(shape) - 1:
        settings: dict[str, Any] = {"num_output": len(matrix), "bias_term": False}
        settings |= {} if axis == 1 else {"axis": axis}
        return c.layer("InnerProduct", blob, f"{suffix}{axis}", arrays=[matrix], inner_product_param=settings)
    # the axis becomes that of the channels
    flat = tuple(shape)
    if len(shape) != 4 or axis != 1:
        flat = (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]), 1)
    settings = {**convolution_settings(len(matrix), [1, 1], [1, 1], [0, 0], [1, 1], 1), "bias_term": False}
    rows = c.reshape(blob, shape, flat, f"rows{axis}")
    weight = matrix[:, :, None, None]
    rows = c.layer("Convolution", rows, f"{suffix}{axis}", arrays=[weight], convolution_param=settings)
    return c.reshape(rows, (flat[0], len(matrix), *flat[2:]), new, f"axes{axis}")
