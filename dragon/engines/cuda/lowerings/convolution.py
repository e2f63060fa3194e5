"""Convolution and Deconvolution over one to three spatial axes; Im2col, which only unfolds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dragon.engines.cuda.device.counting import Shaped
from dragon.engines.cuda.device.device import Device
from dragon.engines.cuda.kernels import convolution as kernels
from dragon.engines.cuda.kernels import elementwise
from dragon.engines.cuda.lowerings import products_first
from dragon.engines.cuda.lowerings.elementwise import element_wise
from dragon.engines.cuda.lowerings.filtering import NO_SLOPE, Filtering
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.engines.cuda.lowerings.pooling import pool_rectified, rectified_backward
from dragon.engines.cuda.lowerings.windows import at_least_2d, axes_of, spread_out
from dragon.graph.node import Node
from dragon.memory.blob import Blob

__all__ = [
    "ConvolutionLowering",
    "ConvolutionReLULowering",
    "ConvolutionReLUPoolingLowering",
    "DeconvolutionLowering",
    "Im2colLowering",
]


@lowers("Convolution", "DepthwiseConvolution")
class ConvolutionLowering(Filtering):
    """Convolution: products by cuDNN or cuBLAS, depthwise ones by convolution.cu."""

    with_relu = False  # whether a ReLU in place follows in the same group
    gains_by_channels_last = True

    @classmethod
    def takes_channels_last(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return len(layer.window.kernel) == 2 and not cls._is_depthwise_layer(layer)

    @classmethod
    def _unfolded(cls, layer: Any) -> int:
        wide, narrow = layer.bottom_view, layer.top_view
        return math.prod((wide[1], *layer.window.kernel, *narrow[2:]))

    @property
    def _is_depthwise(self) -> bool:
        return self._is_depthwise_layer(self.layer)

    @staticmethod
    def _is_depthwise_layer(layer: Any) -> bool:
        if axes_of(layer.window) > 2:
            return False
        return bool(layer.group > 1 and layer.group == layer.num_output == layer.bottom_view[1])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer = self.layer
        bias = None if layer.bias is None else layer.bias.data
        weight = layer.weight.data if self._is_depthwise else self.working(layer.weight)
        for b, t in zip(bottom, top, strict=True):
            x, y = self._images(b.data, t.data)
            if self._is_depthwise:
                self.launch(
                    kernels.depthwise_forward, x=x, weight=weight, bias=bias, y=y, count=y.size, channels=x.shape[1],
                    **self.window_of(x, y),
                )  # fmt: skip
                continue
            self.narrow_from_wide(x, weight, y, bias, self.with_relu)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        layer = self.layer
        weight = layer.weight.data if self._is_depthwise else self.working(layer.weight)
        for b, t, down in zip(bottom, top, propagate_down, strict=True):
            x, dy = self._images(b.data, t.diff)
            self._learn_bias(dy)
            if self._is_depthwise:
                self._depthwise_backward(x, dy, weight, spread_out(b.diff, layer.bottom_view) if down else None)
                continue
            self.weight_gradient(x, dy, layer.weight)
            if down:
                self.wide_from_narrow(dy, weight, spread_out(b.diff, layer.bottom_view))

    def _depthwise_backward(self, x: Any, dy: Any, weight: Any, dx: Any) -> None:
        window, diff = self.window_of(x, dy), self.layer.weight.diff
        self.launch(
            kernels.depthwise_backward_weight, grid=diff.size, x=x, dy=dy, dweight=diff, unscale=self.unscale,
            add=self.adds(self.layer.weight), n=x.shape[0], channels=x.shape[1], **window,
        )  # fmt: skip
        if dx is not None:
            self.launch(
                kernels.depthwise_backward_data, dy=dy, weight=weight, dx=dx, count=dx.size, channels=dx.shape[1],
                **window,
            )  # fmt: skip


class ConvolutionReLULowering(ConvolutionLowering):
    """A convolution fused with the ReLU that works in place on its top."""

    with_relu = True
    overwrites_top_diff = True

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        y, dy = top[0].data, top[0].diff
        element_wise(self, elementwise.relu.backward, {"x": y, "y": y, "dy": dy, "out": dy}, NO_SLOPE)
        super().backward(top, propagate_down, bottom)

    @classmethod
    def fits_before_relu(cls, lowering: Lowering | None, device: Device) -> bool:
        """Whether a layer's own lowering may be replaced by this one."""
        return (
            type(lowering) is ConvolutionLowering
            and not lowering._is_depthwise
            and not at_least_2d(lowering.layer.window).is_pointwise
            and any(one.fuses for one in device.convolvers)
        )


class ConvolutionReLUPoolingLowering(ConvolutionReLULowering):
    """A convolution, the ReLU in place on its top, and the pooling of that by the layer `pooling`.

    The launch that takes the pooling's gradient takes that of the ReLU too.
    """

    overwrites_top_diff = False

    def __init__(self, device: Device, node: Node, pooling: Any) -> None:
        super().__init__(device, node)
        self._pooling = pooling

    def on(self, device: Device) -> ConvolutionReLUPoolingLowering:
        return type(self)(device, self.node, self._pooling)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().forward(bottom, self.node.tops)
        pool_rectified(self, self._pooling, self.node.tops[0], top[0], 0.0)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        rectified_backward(self, self._pooling, self.node.tops[0], top[0], 0.0)
        ConvolutionLowering.backward(self, self.node.tops, propagate_down, bottom)


@lowers("Deconvolution")
class DeconvolutionLowering(Filtering):
    """Deconvolution: the products of a convolution with forward and backward exchanged."""

    gains_by_channels_last = True

    @classmethod
    def takes_channels_last(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return len(layer.window.kernel) == 2

    @classmethod
    def _unfolded(cls, layer: Any) -> int:
        wide, narrow = layer.top_view, layer.bottom_view
        return math.prod((wide[1], *layer.window.kernel, *narrow[2:]))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer = self.layer
        bias = None if layer.bias is None else layer.bias.data
        for b, t in zip(bottom, top, strict=True):
            x, y = self._images(b.data, t.data)
            self.wide_from_narrow(x, self.working(layer.weight), y, bias)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        layer = self.layer
        for b, t, down in zip(bottom, top, propagate_down, strict=True):
            x, dy = self._images(b.data, t.diff)
            self._learn_bias(dy)
            self.weight_gradient(dy, x, layer.weight)
            if down:
                self.narrow_from_wide(dy, self.working(layer.weight), spread_out(b.diff, layer.bottom_view))


@lowers("Im2col")
class Im2colLowering(Filtering):
    """Im2col: unfolds all images as one image of all their channels, whose columns have the layout of the top."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, narrow = self._as_one(bottom[0].data, top[0])
        products_first.unfold(self, x, narrow, top[0].data)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dx, narrow = self._as_one(bottom[0].diff, top[0])
            products_first.fold(self, top[0].diff, None, dx, narrow)

    def _as_one(self, wide: Any, top: Blob) -> tuple[Any, Any]:
        """All images as one, (1, channels of all images, *size), and an array of the shape of its outputs."""
        n = len(self.layer.window.kernel)
        size = wide.shape[wide.ndim - n :]
        one = spread_out(wide, (1, math.prod(wide.shape[: wide.ndim - n]), *size))
        return one, Shaped((1, 1, *[1] * (axes_of(self.layer.window) - n), *top.shape[top.ndim - n :]), self.dtype)
