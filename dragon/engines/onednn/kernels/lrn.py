"""Local response normalisation: x (k + alpha / n sum x^2)^-beta, n the number of values summed."""

from __future__ import annotations

from dataclasses import dataclass

from dragon.engines.onednn.library.constants import Alg, Arg, Prop
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import Primitive

__all__ = ["LrnSpec", "backward", "forward"]


@dataclass(frozen=True)
class LrnSpec:
    """``size`` channels, or a window of ``size`` in each spatial axis with ``Alg.lrn_within_channel``."""

    size: int
    alpha: float
    beta: float
    k: float = 1.0
    alg: Alg = Alg.lrn_across_channels


def forward(device: Device, spec: LrnSpec, src: MemoryDesc, *, training: bool = True, layer: str = "") -> Primitive:
    """SRC -> DST, (WORKSPACE) in the same layout."""
    prop = Prop.forward_training if training else Prop.forward_inference
    return Primitive(
        device,
        "lrn_forward_primitive_desc_create",
        [prop, spec.alg, src, src, spec.size, spec.alpha, spec.beta, spec.k],
        [Arg.SRC],
        [Arg.DST, *([Arg.WORKSPACE] if training else [])],
        layer=layer,
    )


def backward(device: Device, spec: LrnSpec, hint: Primitive, src: MemoryDesc, *, layer: str = "") -> Primitive:
    """SRC, DIFF_DST, (WORKSPACE) -> DIFF_SRC, all in src's layout."""
    return Primitive(
        device,
        "lrn_backward_primitive_desc_create",
        [spec.alg, src, src, src, spec.size, spec.alpha, spec.beta, spec.k, hint.desc],
        [Arg.SRC, Arg.DIFF_DST, Arg.WORKSPACE],
        [Arg.DIFF_SRC],
        layer=layer,
    )
