"""Normalisations: by statistics of the batch or running ones, of each sample, and of neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.row_norm import RowNorm
from dragon.export.onnx.forms import NoFormError, writes
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node
from dragon.layers.decorrelated_bn import DecorrelatedBN
from dragon.layers.lrn import LRN
from dragon.normalization.whitening import whitening


@writes("BatchNorm", "BN", "SegNetBN", "BatchRenorm")
def batch_norm(g: Graph, node: Node) -> list[str]:
    """BatchNormalization by running statistics; where the net has none of them, by those of the batch."""
    layer = cast(BatchStatistics, node.layer)
    x, bottom = g.bottom(node), node.bottoms[0]
    if not layer.normalization.by_running(layer.phase):
        return _by_batch(g, node, layer)
    mean, variance = layer.peek_running()
    eps = layer.normalization.eps
    gamma, beta = _affine(layer)
    if bottom.ndim == 1:
        factor = gamma / np.sqrt(variance.astype(np.float64) + eps)
        y = g.op("Mul", x, g.constant(factor, "scale"))
        return [g.op("Add", y, g.constant(beta - factor * mean, "bias"))]
    constants = [
        g.constant(np.asarray(value, np.float32), what)
        for value, what in ((gamma, "scale"), (beta, "bias"), (mean, "mean"), (variance, "variance"))
    ]
    return [g.op("BatchNormalization", x, *constants, epsilon=eps)]


def _affine(layer: BatchStatistics) -> tuple[Any, Any]:
    """Scale and shift, each (C,), also of a layer that has none."""
    if layer.affine is None:
        channels = layer.peek_running()[0].size if layer.keeps_statistics else layer.blobs[0].count
        return np.ones(channels), np.zeros(channels)
    gamma, beta = (blob.peek().reshape(-1) for blob in layer.affine)
    return gamma, beta


def _by_batch(g: Graph, node: Node, layer: BatchStatistics) -> list[str]:
    if not layer.by_formula:
        raise NoFormError("normalises by the batch in TEST, corrected by a count of iterations: use its running mean")
    x, bottom = g.bottom(node), node.bottoms[0]
    groups = layer.normalization.groups(bottom.shape[0])
    axes = [axis for axis in range(bottom.ndim) if axis != 1]
    if len(groups) > 1:
        if g.grows(bottom, 0):
            raise NoFormError(
                "normalises parts of the batch in TEST, whose size must be known: leave out dynamic-batch"
            )
        sizes = [part.stop - part.start for part in groups]
        parts = g.ops("Split", len(groups), x, g.ints(sizes), axis=0)
        x = g.op("Concat", *(_normal(g, part, axes, layer.normalization.eps)[0] for part in parts), axis=0)
        statistics: list[str] = []
    else:
        x, *statistics = _normal(g, x, axes, layer.normalization.eps)
    if layer.affine is not None:
        gamma, beta = _affine(layer)
        x = g.op("Mul", x, g.along_channels(gamma, bottom.ndim, "scale"))
        x = g.op("Add", x, g.along_channels(beta, bottom.ndim, "bias"))
    return [x, *(g.like(value, top) for value, top in zip(statistics, node.tops[1:], strict=False))]


def _normal(g: Graph, x: str, axes: Sequence[int], eps: float) -> tuple[str, str, str]:
    """(x - mean) / sqrt(variance + eps) over axes, with mean and variance."""
    mean = g.reduce("ReduceMean", x, axes)
    centred = g.op("Sub", x, mean)
    variance = g.reduce("ReduceMean", g.op("Mul", centred, centred), axes)
    return g.op("Div", centred, g.op("Sqrt", g.scaled(variance, 1, eps))), mean, variance


@writes("DecorrelatedBN")
def decorrelated_bn(g: Graph, node: Node) -> str:
    """A convolution by the whitening matrix, with scale and shift in it."""
    layer = cast(DecorrelatedBN, node.layer)
    bottom = node.bottoms[0]
    mean, covariance = layer.running()
    matrix = np.asarray(whitening(covariance, layer.param.decorrelated_bn_param.eps)[0], np.float64)
    groups, each = matrix.shape[:2]
    weight = matrix.reshape(groups * each, each)
    shift = -np.einsum("gij,gj->gi", matrix, np.asarray(mean, np.float64).reshape(groups, each)).reshape(-1)
    if len(layer.blobs) > 3:
        gamma, beta = (blob.peek().astype(np.float64) for blob in layer.blobs[3:5])
        weight, shift = weight * gamma[:, None], shift * gamma + beta
    x = g.reshape(g.bottom(node), [g.lead(node, bottom.shape[0]), groups * each, math.prod(bottom.shape[2:])])
    y = g.op("Conv", x, g.constant(weight[:, :, None], "weight"), g.constant(shift, "bias"), group=groups)
    return g.like(y, node.tops[0])


@writes("GroupNorm", "LayerNorm", "InstanceNorm")
def row_norm(g: Graph, node: Node) -> str:
    """InstanceNormalization of rows of values, then Mul and Add for scale and shift."""
    layer = cast(RowNorm, node.layer)
    rows, width = layer.view
    x = g.reshape(g.bottom(node), [g.lead(node, rows), 1, width])
    one, zero = g.constant(np.ones(1), "one"), g.constant(np.zeros(1), "zero")
    y = g.like(g.op("InstanceNormalization", x, one, zero, epsilon=layer.eps), node.tops[0])
    if layer.learns:
        y = g.op("Mul", y, g.blob(layer.blobs[0], "scale", layer.affine_view))
        y = g.op("Add", y, g.blob(layer.blobs[1], "bias", layer.affine_view))
    return y


@writes("MVN")
def mvn(g: Graph, node: Node) -> str:
    """Subtraction of the mean, and division by standard deviation + eps."""
    layer: Any = node.layer
    rows, width = layer.rows
    x = g.reshape(g.bottom(node), [g.lead(node, rows), width])
    y = g.op("Sub", x, g.reduce("ReduceMean", x, [1]))
    if layer.scaled:
        deviation = g.op("Sqrt", g.reduce("ReduceMean", g.op("Mul", y, y), [1]))
        y = g.op("Div", y, g.scaled(deviation, 1, layer.eps))
    return g.like(y, node.tops[0])


@writes("Normalize")
def normalize(g: Graph, node: Node) -> str:
    """Division by the root of the sum of squares, then Mul."""
    layer: Any = node.layer
    x, ndim, scale = g.bottom(node), node.bottoms[0].ndim, node.layer.blobs[0]
    axes = range(1, ndim) if len(layer.over) > 1 else [1]
    squares = g.reduce("ReduceSum", g.op("Mul", x, x), axes)
    norm = g.op("Sqrt", g.scaled(squares, 1, layer.param.norm_param.eps))
    return g.op("Mul", g.op("Div", x, norm), g.blob(scale, "scale", (scale.count, *[1] * (ndim - 2))))


@writes("FRN")
def frn(g: Graph, node: Node) -> str:
    """Division by the root mean square of each channel, scale, shift and maximum."""
    layer: Any = node.layer
    x, ndim = g.bottom(node), node.bottoms[0].ndim
    squares = g.op("Mul", x, x)
    mean = g.reduce("ReduceMean", squares, range(2, ndim)) if ndim > 2 else squares
    y = g.op("Div", x, g.op("Sqrt", g.scaled(mean, 1, layer.param.frn_param.eps)))
    scale, shift, *limit = (
        g.blob(blob, what, (blob.count, *[1] * (ndim - 2)))
        for blob, what in zip(layer.blobs, ("scale", "bias", "threshold"), strict=False)
    )
    y = g.op("Add", g.op("Mul", y, scale), shift)
    return g.op("Max", y, limit[0]) if limit else y


@writes("EvoNormS0")
def evo_norm_s0(g: Graph, node: Node) -> str:
    """Product with Sigmoid(v x), divided by the standard deviation of each group, scale and shift."""
    layer: Any = node.layer
    bottom, ndim = node.bottoms[0], node.bottoms[0].ndim
    scale, shift, v = (
        g.blob(blob, what, (blob.count, *[1] * (ndim - 2)))
        for blob, what in zip(layer.blobs, ("scale", "bias", "v"), strict=True)
    )
    x, groups = g.bottom(node), layer.groups
    rows = [g.lead(node, bottom.shape[0]), groups, math.prod(bottom.shape[1:]) // groups]
    grouped = g.reshape(x, rows)
    centred = g.op("Sub", grouped, g.reduce("ReduceMean", grouped, [2]))
    variance = g.reduce("ReduceMean", g.op("Mul", centred, centred), [2])
    deviation = g.op("Sqrt", g.scaled(variance, 1, layer.param.evo_norm_s0_param.eps))
    gated = g.reshape(g.op("Mul", x, g.op("Sigmoid", g.op("Mul", x, v))), rows)
    y = g.like(g.op("Div", gated, deviation), node.tops[0])
    return g.op("Add", g.op("Mul", y, scale), shift)


@writes("LRN")
def lrn(g: Graph, node: Node) -> str:
    """LRN over channels; over pixels an average of squares, a power and a product."""
    layer = cast(LRN, node.layer)
    x, bottom, size = g.bottom(node), node.bottoms[0], layer.local_size
    if layer.across:
        flat = bottom.ndim != 4
        if flat:
            x = g.reshape(x, [g.lead(node, bottom.shape[0]), bottom.shape[1], math.prod(bottom.shape[2:]), 1])
        y = g.op("LRN", x, size=size, alpha=layer.alpha, beta=layer.beta, bias=layer.k)
        return g.like(y, node.tops[0]) if flat else y
    mean = g.op(
        "AveragePool", g.op("Mul", x, x), kernel_shape=[size] * 2, pads=[size // 2] * 4, count_include_pad=1
    )  # fmt: skip
    base = g.scaled(mean, layer.alpha, layer.k)
    return g.op("Mul", x, g.op("Pow", base, g.number(-layer.beta)))
