"""Inner product over all dimensions but the first; weights take the layout of a blocked source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from dragon.engines.onednn.constants import Arg, DataType, Prop
from dragon.engines.onednn.memory import Device, MemoryDesc, Shape
from dragon.engines.onednn.primitive import Attributes, PostOp, Primitive, binary_operands

__all__ = ["InnerProductSpec", "backward_data", "backward_weights", "forward"]


@dataclass(frozen=True)
class InnerProductSpec:
    """``src`` is (N, K) or (N, C, spatial...); the blob is (inputs, outputs) if ``transposed``."""

    src: Shape
    outputs: int
    bias: bool = True
    transposed: bool = False
    dtype: DataType = DataType.f32

    @property
    def dst(self) -> Shape:
        return (self.src[0], self.outputs)

    @property
    def weights(self) -> Shape:
        return (self.outputs, *self.src[1:])

    def host_weights(self, dtype: DataType = DataType.f32) -> MemoryDesc:
        """The Caffe blob's row-major bytes in oneDNN's logical order (outputs, inputs...)."""
        if not self.transposed:
            return MemoryDesc.plain(self.weights, dtype)
        inner = tuple(prod(self.src[i + 1 :]) * self.outputs for i in range(1, len(self.src)))
        return MemoryDesc.plain(self.weights, dtype, (1, *inner))


def forward(
    device: Device,
    spec: InnerProductSpec,
    *,
    src: MemoryDesc | None = None,
    weights: MemoryDesc | None = None,
    dst: MemoryDesc | None = None,
    training: bool = True,
    post_ops: Sequence[PostOp] = (),
    layer: str = "",
) -> Primitive:
    """SRC, WEIGHTS, (BIAS) -> DST; a layout not given is the library's choice."""
    return Primitive(
        device,
        "inner_product_forward_primitive_desc_create",
        [
            Prop.forward_training if training else Prop.forward_inference,
            src or MemoryDesc.any(spec.src, spec.dtype),
            weights or MemoryDesc.any(spec.weights, spec.dtype),
            MemoryDesc.plain((spec.outputs,)) if spec.bias else None,
            dst or MemoryDesc.any(spec.dst, spec.dtype),
        ],
        [Arg.SRC, Arg.WEIGHTS, *([Arg.BIAS] if spec.bias else []), *binary_operands(post_ops)],
        [Arg.DST],
        attributes=Attributes(post_ops),
        layer=layer,
    )


def backward_data(
    device: Device,
    spec: InnerProductSpec,
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
        "inner_product_backward_data_primitive_desc_create",
        [
            diff_src or MemoryDesc.any(spec.src, spec.dtype),
            weights or MemoryDesc.any(spec.weights, spec.dtype),
            diff_dst or MemoryDesc.any(spec.dst, spec.dtype),
            hint.desc,
        ],
        [Arg.DIFF_DST, Arg.WEIGHTS],
        [Arg.DIFF_SRC],
        layer=layer,
    )


def backward_weights(
    device: Device,
    spec: InnerProductSpec,
    hint: Primitive,
    *,
    src: MemoryDesc | None = None,
    diff_dst: MemoryDesc | None = None,
    diff_weights: MemoryDesc | None = None,
    layer: str = "",
) -> Primitive:
    """SRC, DIFF_DST -> DIFF_WEIGHTS, (DIFF_BIAS), both float32."""
    return Primitive(
        device,
        "inner_product_backward_weights_primitive_desc_create",
        [
            src or MemoryDesc.any(spec.src, spec.dtype),
            diff_weights or MemoryDesc.any(spec.weights),
            MemoryDesc.plain((spec.outputs,)) if spec.bias else None,
            diff_dst or MemoryDesc.any(spec.dst, spec.dtype),
            hint.desc,
        ],
        [Arg.SRC, Arg.DIFF_DST],
        [Arg.DIFF_WEIGHTS, *([Arg.DIFF_BIAS] if spec.bias else [])],
        layer=layer,
    )
