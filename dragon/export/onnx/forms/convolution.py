"""Convolution, Deconvolution, Local, InnerProduct and Im2col."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np

from dragon.bases.convolution import ConvolutionBase
from dragon.bases.geometry import Window
from dragon.counting import how_many
from dragon.export.onnx.forms import NoFormError, writes
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node
from dragon.layers.im2col import Im2col
from dragon.layers.inner_product import InnerProduct
from dragon.layers.local import Local

__all__ = ["window_attributes"]

_MOST_AXES = 3  # that ONNX Runtime and others convolve over


def window_attributes(window: Window) -> dict[str, list[int]]:
    """The attributes of ONNX for a window."""
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "pads": [*window.before, *window.after],
        "dilations": list(window.dilation),
    }


def _spatial(window: Window) -> Window:
    """The window, with one of extent 1 where it has no axes, since ONNX needs one."""
    if len(window.kernel) > _MOST_AXES:
        raise NoFormError(
            f"slides over {how_many(len(window.kernel), 'axis')}, runtimes convolve over at most {_MOST_AXES}"
        )
    return window if window.kernel else Window((1,), (1,), (0,), (0,), (1,))


@writes("Convolution", "DepthwiseConvolution", "Deconvolution")
def convolution(g: Graph, node: Node) -> list[str]:
    """Conv or ConvTranspose, one for each bottom."""
    layer = cast(ConvolutionBase, node.layer)
    transposed = layer.type == "Deconvolution"
    size, positions = layer.bottom_view[2:], layer.top_view[2:]
    window = _spatial(layer.window if transposed else layer.window.reaching(size, positions))
    weight = g.blob(layer.weight, "weight", (*layer.weight.shape[:2], *window.kernel))
    bias = [] if layer.bias is None else [g.blob(layer.bias, "bias")]
    tops = []
    for x, bottom, top in zip(g.bottoms(node), node.bottoms, node.tops, strict=True):
        view = (g.lead(node, layer.bottom_view[0]), layer.bottom_view[1], *(size or (1,)))
        x = x if bottom.shape == (*layer.bottom_view[:2], *(size or (1,))) else g.reshape(x, view)
        kind = "ConvTranspose" if transposed else "Conv"
        y = g.op(kind, x, weight, *bias, group=layer.group, **window_attributes(window))
        tops.append(y if top.shape == (*layer.top_view[:2], *(positions or (1,))) else g.like(y, top))
    return tops


@writes("InnerProduct")
def inner_product(g: Graph, node: Node) -> str:
    """Gemm, with a Flatten before it where the bottom has other axes than two."""
    layer = cast(InnerProduct, node.layer)
    bottom, top = node.bottoms[0], node.tops[0]
    axis = layer.axis(layer.param.inner_product_param.axis, bottom.ndim)
    x = g.bottom(node)
    if (bottom.ndim, axis) != (2, 1):
        x = g.op("Flatten", x, axis=axis)
    bias = [] if layer.bias is None else [g.blob(layer.bias, "bias")]
    y = g.op("Gemm", x, g.blob(layer.weight, "weight"), *bias, transB=int(not layer.transposed))
    return y if top.ndim == 2 else g.like(y, top)


@writes("Im2col")
def im2col(g: Graph, node: Node) -> str:
    """A convolution of each channel by kernels of a single 1."""
    layer = cast(Im2col, node.layer)
    bottom = node.bottoms[0]
    axis = layer.axis(layer.param.convolution_param.axis, bottom.ndim)
    channels, *size = bottom.shape[axis:]
    x = g.reshape(g.bottom(node), (g.lead(node, math.prod(bottom.shape[:axis])), channels, *(size or [1])))
    return g.like(_columns(g, x, channels, size, layer.window), node.tops[0])


def _columns(g: Graph, x: str, channels: int, size: Sequence[int], window: Window) -> str:
    """The content of each window, (N, C * kernel elements, *positions)."""
    window = _spatial(window.reaching(size, window.positions(size)))
    taps = math.prod(window.kernel)
    kernels = np.tile(np.eye(taps, dtype=np.float32), (channels, 1)).reshape(-1, 1, *window.kernel)
    return g.op("Conv", x, g.constant(kernels, "kernels"), group=channels, **window_attributes(window))


@writes("Local")
def local(g: Graph, node: Node) -> str:
    """The columns of the windows, and a MatMul for each position."""
    layer = cast(Local, node.layer)
    bottom, top = node.bottoms[0], node.tops[0]
    channels, *size = bottom.shape[1:]
    weight = layer.blobs[0].peek()[:, 0].transpose(2, 1, 0)  # positions, elements, outputs
    positions, elements, _ = weight.shape
    columns = _columns(g, g.bottom(node), channels, size, layer.window)
    columns = g.reshape(columns, [g.lead(node, bottom.shape[0]), elements, positions])
    y = g.op("MatMul", g.op("Transpose", columns, perm=[2, 0, 1]), g.constant(weight, "weight"))
    y = g.op("Transpose", y, perm=[1, 2, 0])
    if layer.param.local_param.bias_term:
        y = g.op("Add", y, g.blob(layer.blobs[1], "bias", layer.blobs[1].shape[1:]))
    return g.like(y, top)
