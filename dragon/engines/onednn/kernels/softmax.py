"""Softmax or its logarithm along one axis."""

from __future__ import annotations

from dragon.engines.onednn.library.constants import Alg, Arg, Prop
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import Primitive

__all__ = ["backward", "forward"]


def forward(
    device: Device,
    src: MemoryDesc,
    axis: int = 1,
    *,
    alg: Alg = Alg.softmax_accurate,
    dst: MemoryDesc | None = None,
    training: bool = True,
    layer: str = "",
) -> Primitive:
    """SRC -> DST; ``dst`` may have another element type (float32 probabilities of bf16 logits)."""
    prop = Prop.forward_training if training else Prop.forward_inference
    create = "softmax_forward_primitive_desc_create"
    return Primitive(device, create, [prop, alg, src, dst or src, axis], [Arg.SRC], [Arg.DST], layer=layer)


def backward(
    device: Device,
    hint: Primitive,
    axis: int = 1,
    *,
    alg: Alg = Alg.softmax_accurate,
    diff_src: MemoryDesc | None = None,
    layer: str = "",
) -> Primitive:
    """DST, DIFF_DST -> DIFF_SRC."""
    dst = hint[Arg.DST]
    return Primitive(
        device,
        "softmax_backward_primitive_desc_create",
        [alg, diff_src or dst, dst, dst, axis, hint.desc],
        [Arg.DST, Arg.DIFF_DST],
        [Arg.DIFF_SRC],
        layer=layer,
    )
