"""Convolution and deconvolution in 1 to 3 dimensions: groups, depthwise, dilation, bias, post-ops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from dragon.engines.onednn.binding import dims
from dragon.engines.onednn.constants import Alg, Arg, DataType, Prop
from dragon.engines.onednn.memory import Device, MemoryDesc, Shape
from dragon.engines.onednn.primitive import Attributes, PostOp, Primitive, binary_operands

__all__ = ["ConvSpec", "backward_data", "backward_weights", "forward"]


@dataclass(frozen=True)
class ConvSpec:
    """Geometry of a convolution, or with ``transposed`` of a deconvolution, with 1 to 3 spatial axes.

    ``src`` and ``dst`` are (N, C, spatial...). ``dilation`` counts from 1, as in a prototxt. ``dtype`` is
    that of src, weights and dst; their gradients follow, but diff_weights and biases stay float32.
    """

    src: Shape
    dst: Shape
    kernel: Shape
    stride: Shape
    pad: Shape
    dilation: Shape
    groups: int = 1
    bias: bool = True
    transposed: bool = False
    dtype: DataType = DataType.f32

    @property
    def weights(self) -> Shape:
        """oneDNN's logical order: (groups,) outputs, inputs, kernel, per group."""
        outputs, inputs = self.dst[1] // self.groups, self.src[1] // self.groups
        return (*([self.groups] if self.groups > 1 else []), outputs, inputs, *self.kernel)

    def host_weights(self, dtype: DataType = DataType.f32) -> MemoryDesc:
        """The Caffe blob's row-major bytes in oneDNN's logical order.

        A convolution's blob is (outputs, inputs / groups, kernel). A deconvolution's is (inputs,
        outputs / groups, kernel): the same tensor with two strides exchanged.
        """
        if not self.transposed:
            return MemoryDesc.plain(self.weights, dtype)
        outputs, inputs = self.dst[1] // self.groups, self.src[1] // self.groups
        window = prod(self.kernel)
        inner = tuple(prod(self.kernel[i + 1 :]) for i in range(len(self.kernel)))
        group = [inputs * outputs * window] if self.groups > 1 else []
        return MemoryDesc.plain(self.weights, dtype, (*group, window, outputs * window, *inner))

    @property
    def _family(self) -> str:
        return "deconvolution" if self.transposed else "convolution"

    @property
    def _alg(self) -> Alg:
        return Alg.deconvolution_direct if self.transposed else Alg.convolution_direct

    @property
    def _window(self) -> list[Any]:
        """Strides, dilations (0 is none), left and right padding; the right one is what the sizes leave."""
        wide, narrow = (self.dst, self.src) if self.transposed else (self.src, self.dst)
        right = []
        for axis, kernel in enumerate(self.kernel):
            covered = (narrow[axis + 2] - 1) * self.stride[axis] + (kernel - 1) * self.dilation[axis] + 1
            right.append(covered - wide[axis + 2] - self.pad[axis])
        # A last column that no window reaches shows as a negative number; the floor rule drops it anyway.
        last = tuple(rest if self.transposed else max(rest, 0) for rest in right)
        return [dims(v) for v in (self.stride, tuple(d - 1 for d in self.dilation), self.pad, last)]


def forward(
    device: Device,
    spec: ConvSpec,
    *,
    src: MemoryDesc | None = None,
    weights: MemoryDesc | None = None,
    dst: MemoryDesc | None = None,
    training: bool = True,
    post_ops: Sequence[PostOp] = (),
    layer: str = "",
) -> Primitive:
    """SRC, WEIGHTS, (BIAS) -> DST; a layout not given is the library's choice."""
    bias = MemoryDesc.plain((spec.dst[1],)) if spec.bias else None
    return Primitive(
        device,
        f"{spec._family}_forward_primitive_desc_create",
        [
            Prop.forward_training if training else Prop.forward_inference,
            spec._alg,
            src or MemoryDesc.any(spec.src, spec.dtype),
            weights or MemoryDesc.any(spec.weights, spec.dtype),
            bias,
            dst or MemoryDesc.any(spec.dst, spec.dtype),
            *spec._window,
        ],
        [Arg.SRC, Arg.WEIGHTS, *([Arg.BIAS] if spec.bias else []), *binary_operands(post_ops)],
        [Arg.DST],
        attributes=Attributes(post_ops),
        layer=layer,
    )


def backward_data(
    device: Device,
    spec: ConvSpec,
    hint: Primitive,
    *,
    diff_dst: MemoryDesc | None = None,
    weights: MemoryDesc | None = None,
    diff_src: MemoryDesc | None = None,
    layer: str = "",
) -> Primitive:
    """DIFF_DST, WEIGHTS -> DIFF_SRC; ``hint`` is the forward primitive."""
    return Primitive(
        device,
        f"{spec._family}_backward_data_primitive_desc_create",
        [
            spec._alg,
            diff_src or MemoryDesc.any(spec.src, spec.dtype),
            weights or MemoryDesc.any(spec.weights, spec.dtype),
            diff_dst or MemoryDesc.any(spec.dst, spec.dtype),
            *spec._window,
            hint.desc,
        ],
        [Arg.DIFF_DST, Arg.WEIGHTS],
        [Arg.DIFF_SRC],
        layer=layer,
    )


def backward_weights(
    device: Device,
    spec: ConvSpec,
    hint: Primitive,
    *,
    src: MemoryDesc | None = None,
    diff_dst: MemoryDesc | None = None,
    diff_weights: MemoryDesc | None = None,
    layer: str = "",
) -> Primitive:
    """SRC, DIFF_DST -> DIFF_WEIGHTS, (DIFF_BIAS), both float32."""
    bias = MemoryDesc.plain((spec.dst[1],)) if spec.bias else None
    return Primitive(
        device,
        f"{spec._family}_backward_weights_primitive_desc_create",
        [
            spec._alg,
            src or MemoryDesc.any(spec.src, spec.dtype),
            diff_weights or MemoryDesc.any(spec.weights),
            bias,
            diff_dst or MemoryDesc.any(spec.dst, spec.dtype),
            *spec._window,
            hint.desc,
        ],
        [Arg.SRC, Arg.DIFF_DST],
        [Arg.DIFF_WEIGHTS, *([Arg.DIFF_BIAS] if spec.bias else [])],
        layer=layer,
    )
