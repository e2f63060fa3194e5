"""Batch normalisation over all axes but the channel: statistics in or out, scale, shift, fused ReLU."""

from __future__ import annotations

from dataclasses import dataclass

from dragon.engines.onednn.library.constants import Arg, DataType, Norm, Prop
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import Primitive

__all__ = ["NormSpec", "backward", "by_rows", "forward"]

_SHORTEST = 28  # pixels of a row that is an image of its own


@dataclass(frozen=True)
class NormSpec:
    """Statistics, scale and shift are float32 of (C,) whatever the data's type.

    The variance is the biased one. With ``global_stats`` MEAN and VARIANCE are inputs, and constants of the
    gradient.
    """

    epsilon: float
    global_stats: bool = False
    scale: bool = False
    shift: bool = False
    relu: bool = False

    @property
    def _flags(self) -> Norm:
        flags = Norm.none
        for wanted, flag in (
            (self.global_stats, Norm.use_global_stats),
            (self.scale, Norm.use_scale),
            (self.shift, Norm.use_shift),
            (self.relu, Norm.fuse_relu),
        ):
            if wanted:
                flags |= flag
        return flags


def forward(
    device: Device,
    spec: NormSpec,
    src: MemoryDesc,
    *,
    dst: MemoryDesc | None = None,
    training: bool = True,
    layer: str = "",
) -> Primitive:
    """SRC, (SCALE), (SHIFT) -> DST, MEAN, VARIANCE, (WORKSPACE with relu); global statistics are inputs.

    ``training`` asks for what backward needs; without it the batch's statistics are not handed out.
    """
    statistics = [Arg.MEAN, Arg.VARIANCE]
    return Primitive(
        device,
        "batch_normalization_forward_primitive_desc_create",
        [
            Prop.forward_training if training else Prop.forward_inference,
            src,
            dst or src,
            spec.epsilon,
            spec._flags,
        ],
        [
            Arg.SRC,
            *(statistics if spec.global_stats else []),
            *([Arg.SCALE] if spec.scale else []),
            *([Arg.SHIFT] if spec.shift else []),
        ],
        [
            Arg.DST,
            *(statistics if training and not spec.global_stats else []),
            *([Arg.WORKSPACE] if training and spec.relu else []),
        ],
        layer=layer,
    )


def by_rows(desc: MemoryDesc) -> MemoryDesc:
    """The same bytes with each row of each image as an image (N H, C, 1, W), where that is faster; else `desc`.

    What does not depend on other pixels has the same results: quirk "normalisation of large images".
    """
    n, c, *space = desc.dims
    if desc.dtype != DataType.bf16 or len(space) != 2 or space[1] < _SHORTEST:
        return desc
    return MemoryDesc.channels_last((n * space[0], c, 1, space[1]), desc.dtype) if desc.is_channels_last else desc


def backward(
    device: Device,
    spec: NormSpec,
    hint: Primitive,
    *,
    diff_dst: MemoryDesc | None = None,
    diff_src: MemoryDesc | None = None,
    parameters: bool = True,
    layer: str = "",
) -> Primitive:
    """SRC, MEAN, VARIANCE, DIFF_DST, (SCALE), (WORKSPACE) -> DIFF_SRC, (DIFF_SCALE), (DIFF_SHIFT).

    ``parameters`` False leaves out the gradients of scale and shift; with one of them it does not run:
    quirk "frozen scale and shift".
    """
    learned = parameters and (spec.scale or spec.shift)
    diff = diff_dst or hint[Arg.DST]
    return Primitive(
        device,
        "batch_normalization_backward_primitive_desc_create",
        [
            Prop.backward if learned else Prop.backward_data,
            diff_src or diff,
            diff,
            hint[Arg.SRC],
            spec.epsilon,
            spec._flags,
            hint.desc,
        ],
        [
            Arg.SRC,
            Arg.MEAN,
            Arg.VARIANCE,
            Arg.DIFF_DST,
            *([Arg.SCALE] if spec.scale else []),
            *([Arg.WORKSPACE] if spec.relu else []),
        ],
        [
            Arg.DIFF_SRC,
            *([Arg.DIFF_SCALE] if learned and spec.scale else []),
            *([Arg.DIFF_SHIFT] if learned and spec.shift else []),
        ],
        layer=layer,
    )
