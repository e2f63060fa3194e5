"""Layer normalisation: each row of a matrix by its own mean and variance, with scale and shift of a row's length."""

from __future__ import annotations

from dragon.engines.onednn.library.constants import Arg, Norm, Prop
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import Primitive

__all__ = ["backward", "forward"]

_STATISTICS = [Arg.MEAN, Arg.VARIANCE]
_AFFINE = [Arg.SCALE, Arg.SHIFT]


def _flags(affine: bool) -> Norm:
    return Norm.use_scale | Norm.use_shift if affine else Norm.none


def forward(
    device: Device, src: MemoryDesc, epsilon: float, affine: bool, *, training: bool = True, layer: str = ""
) -> Primitive:
    """SRC (rows, values), (SCALE, SHIFT: float32 of (values,)) -> DST, and in training MEAN, VARIANCE of (rows,)."""
    prop = Prop.forward_training if training else Prop.forward_inference
    statistics = MemoryDesc.plain(src.dims[:1])
    return Primitive(
        device,
        "layer_normalization_forward_primitive_desc_create",
        [prop, src, src, statistics, epsilon, _flags(affine)],
        [Arg.SRC, *(_AFFINE if affine else [])],
        [Arg.DST, *(_STATISTICS if training else [])],
        layer=layer,
    )


def backward(device: Device, hint: Primitive, epsilon: float, affine: bool, *, layer: str = "") -> Primitive:
    """SRC, MEAN, VARIANCE, DIFF_DST, (SCALE, SHIFT) -> DIFF_SRC, (DIFF_SCALE, DIFF_SHIFT).

    With scale and shift their gradients are always computed: quirk "gradients of scale and shift".
    """
    src = hint[Arg.SRC]
    return Primitive(
        device,
        "layer_normalization_backward_primitive_desc_create",
        [
            Prop.backward if affine else Prop.backward_data,
            *(src, src, src, hint[Arg.MEAN]),
            epsilon,
            _flags(affine),
            hint.desc,
        ],
        [Arg.SRC, *_STATISTICS, Arg.DIFF_DST, *(_AFFINE if affine else [])],
        [Arg.DIFF_SRC, *([Arg.DIFF_SCALE, Arg.DIFF_SHIFT] if affine else [])],
        layer=layer,
    )
