"""Nearest-neighbour resampling: elements are repeated where the new size is a multiple of the old one."""

from __future__ import annotations

from dragon.engines.onednn.library.constants import Alg, Arg, Prop
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import Primitive

__all__ = ["backward", "forward"]


def forward(device: Device, src: MemoryDesc, dst: MemoryDesc, *, training: bool = True, layer: str = "") -> Primitive:
    """SRC -> DST; a dst of `any` layout takes that of src."""
    prop = Prop.forward_training if training else Prop.forward_inference
    create = "resampling_forward_primitive_desc_create"
    factors = None  # they follow from the sizes
    return Primitive(
        device, create, [prop, Alg.resampling_nearest, factors, src, dst], [Arg.SRC], [Arg.DST], layer=layer
    )


def backward(device: Device, hint: Primitive, dst: MemoryDesc, src: MemoryDesc, *, layer: str = "") -> Primitive:
    """DIFF_DST -> DIFF_SRC, in the layouts dst and src."""
    return Primitive(
        device,
        "resampling_backward_primitive_desc_create",
        [Alg.resampling_nearest, None, src, dst, hint.desc],
        [Arg.DIFF_DST],
        [Arg.DIFF_SRC],
        layer=layer,
    )
