"""Max and average pooling with Caffe's window rule, in 1 to 3 dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.engines.onednn.library.binding import dims
from dragon.engines.onednn.library.constants import Alg, Arg, DataType, Prop
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import Attributes, PostOp, Primitive, binary_operands

__all__ = ["PoolSpec", "average_alg", "average_correction", "backward", "forward"]


@dataclass(frozen=True)
class PoolSpec:
    """``src`` and ``dst`` are (N, C, spatial...); the layer computes dst's size (ceil or floor).

    ``pad`` is the padding before the image; ``behind`` that behind it, None for the same.
    """

    src: Shape
    dst: Shape
    kernel: Shape
    stride: Shape
    pad: Shape
    alg: Alg
    dtype: DataType = DataType.f32
    behind: Shape | None = None

    @property
    def padding_behind(self) -> Shape:
        """The padding behind the image that an average counts."""
        return self.pad if self.behind is None else self.behind

    @property
    def right(self) -> Shape:
        """Right padding with which the floor rule gives ``dst``: how far the last window reaches past the edge."""
        reach = [
            (out - 1) * stride + kernel - size - pad
            for size, out, kernel, stride, pad in zip(
                self.src[2:], self.dst[2:], self.kernel, self.stride, self.pad, strict=True
            )
        ]
        return tuple(max(rest, 0) for rest in reach)

    @property
    def _window(self) -> list[Any]:
        none = (0,) * len(self.kernel)
        return [dims(v) for v in (self.stride, self.kernel, none, self.pad, self.right)]


def average_alg(spec: PoolSpec) -> tuple[Alg, bool]:
    """The mode of average pooling with Caffe's divisor, and whether ``average_correction`` must follow.

    Caffe divides by the window clipped at the padded edge, size + pad: without padding that is the part in
    the image; with padding it is the whole window, unless the last one reaches beyond the right padding.
    """
    behind = spec.padding_behind
    if not any(spec.pad) and not any(behind):
        return Alg.pooling_avg_exclude_padding, False
    beyond = any(right > pad for right, pad in zip(spec.right, behind, strict=True))
    return Alg.pooling_avg_include_padding, beyond


def average_correction(spec: PoolSpec) -> NDArray[np.float32]:
    """Factors (1, 1, spatial...) from oneDNN's whole-window average to Caffe's, for diff_dst as well."""
    factor: NDArray[np.float32] = np.ones((1, 1, *spec.dst[2:]), np.float32)
    for axis, kernel in enumerate(spec.kernel):
        start = np.arange(spec.dst[axis + 2]) * spec.stride[axis] - spec.pad[axis]
        end = np.minimum(start + kernel, spec.src[axis + 2] + spec.padding_behind[axis])
        shape = [1] * factor.ndim
        shape[axis + 2] = -1
        factor *= (kernel / (end - start)).astype(np.float32).reshape(shape)
    return factor


def forward(
    device: Device,
    spec: PoolSpec,
    *,
    src: MemoryDesc,
    dst: MemoryDesc | None = None,
    training: bool = True,
    post_ops: Sequence[PostOp] = (),
    layer: str = "",
) -> Primitive:
    """SRC -> DST, (WORKSPACE: positions of the maxima, for max pooling in training)."""
    return Primitive(
        device,
        "pooling_forward_primitive_desc_create",
        [
            Prop.forward_training if training else Prop.forward_inference,
            spec.alg,
            src,
            dst or MemoryDesc.any(spec.dst, spec.dtype),
            *spec._window,
        ],
        [Arg.SRC, *binary_operands(post_ops)],
        [Arg.DST, Arg.WORKSPACE],
        attributes=Attributes(post_ops),
        layer=layer,
    )


def backward(
    device: Device,
    spec: PoolSpec,
    hint: Primitive,
    *,
    diff_dst: MemoryDesc | None = None,
    diff_src: MemoryDesc | None = None,
    layer: str = "",
) -> Primitive:
    """DIFF_DST, (WORKSPACE) -> DIFF_SRC."""
    return Primitive(
        device,
        "pooling_backward_primitive_desc_create",
        [
            spec.alg,
            diff_src or MemoryDesc.any(spec.src, spec.dtype),
            diff_dst or hint[Arg.DST],
            *spec._window,
            hint.desc,
        ],
        [Arg.DIFF_DST, Arg.WORKSPACE],
        [Arg.DIFF_SRC],
        layer=layer,
    )
