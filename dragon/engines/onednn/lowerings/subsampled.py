"""In TEST: layers of which only every n-th pixel is read, computed at these pixels alone.

A 1 x 1 convolution with a stride reads every n-th pixel. Where all readers of a blob are such, the convolution that
makes it takes the stride in their place: the first layers of ResNet's stages. Sums are the same, so results are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from dragon.engines.onednn.kernels import pooling
from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.lowerings.bounds import pass_on
from dragon.engines.onednn.lowerings.convolution import spec_of
from dragon.engines.onednn.lowerings.folding import WeightChain, build_chain, make_lazy
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.memory.blob import Blob

if TYPE_CHECKING:
    from dragon.bases.convolution import ConvolutionBase

__all__ = ["Subsampled", "subsample"]

Steps = tuple[int, ...]


@dataclass(frozen=True)
class Subsampled:
    """A chain in the place where it reads and makes every n-th pixel.

    read, made: n for each spatial axis, of the bottom and of the top; 1 for a blob that is there in full.
    """

    chain: WeightChain
    read: Steps
    made: Steps


def subsample(b: Builder, chains: Sequence[Subsampled]) -> Backward | None:
    """Build chains of which the first ones have tops that only the others read."""
    small: dict[object, Blob] = {}  # by storage
    for each in chains:
        chain = each.chain
        bottom, top, operands = chain.bottom, chain.top, chain.operands
        spec = spec_of(b, cast("ConvolutionBase", chain.first.layer), bottom, top)
        stride = spec.stride
        if max(each.read) > 1:  # a 1 x 1 convolution
            bottom, stride = small[bottom.data_storage], (1,) * len(stride)
        elif max(each.made) > 1:
            stride = tuple(s * n for s, n in zip(stride, each.made, strict=True))
        if max(each.made) > 1:
            operands = [_pixels(b, operand, each.made) for operand in operands]
            small[top.data_storage] = Blob(_shape(top, each.made))
            top = small[top.data_storage]
        build_chain(b, chain, bottom, top, operands, replace(spec, src=bottom.shape, dst=top.shape, stride=stride))
    made = {each.chain.top.data_storage for each in chains if max(each.made) == 1}
    make_lazy(b, [each.chain for each in chains], made)
    b.remark = "at every n-th pixel, for the strides behind them"
    return None


def _shape(blob: Blob, steps: Steps) -> tuple[int, ...]:
    return (*blob.shape[:2], *(-(-extent // n) for extent, n in zip(blob.shape[2:], steps, strict=True)))


def _pixels(b: Builder, blob: Blob, steps: Steps) -> Blob:
    """A blob with every n-th pixel of another one: averages over one pixel each, fast in any layout."""
    if b.desc(blob).dtype != b.dtype:
        raise NotLoweredError("a source of another type")
    small, ones = Blob(_shape(blob, steps)), (1,) * len(steps)
    spec = pooling.PoolSpec(
        blob.shape, small.shape, ones, steps, (0,) * len(steps), Alg.pooling_avg_exclude_padding, b.dtype
    )
    primitive = pooling.forward(b.device, spec, src=b.desc(blob), training=False)
    b.call(primitive, {Arg.SRC: b.data(blob), Arg.DST: b.make(small, primitive[Arg.DST])})
    pass_on(b, [b.value_of(blob).bound], small)
    return small
