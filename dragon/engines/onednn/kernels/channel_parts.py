"""Sums of each channel by parts of some hundred values, which are added in float64.

oneDNN's normalisation adds all values of a channel in one float32 register: quirk "sums of a normalisation". Here the
same bytes are described as one image with many more channels, each a short part of a channel of the tensor. What a
primitive sums per channel of that image is exact to a few roundings, and there are few enough of them for NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from dragon.engines.onednn.kernels import batch_norm, convolution
from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.layouts import BLOCKED, block_of
from dragon.engines.onednn.library.primitive import Primitive

__all__ = ["ChannelParts", "Vector", "channel_vector", "moments", "products"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class ChannelParts:
    """A tensor (N, C, spatial...) as one image (1, parts, 1, length).

    order: the parts as an array (outer, channel blocks, inner, channels of a block); those of one channel differ in the
    first and third index. Blocks may be filled with channels of zeros beyond `channels`.
    """

    desc: MemoryDesc
    order: tuple[int, int, int, int]
    channels: int

    @staticmethod
    def of(desc: MemoryDesc, longest: int) -> ChannelParts | None:
        """Parts of at most `longest` values where the extents can be divided so; None for layouts not known here."""
        batch, channels, *space = desc.dims
        size = prod(space)
        block = block_of(desc)
        if block:
            length = _length(size, longest)
            order = (batch, -(-channels // block), size // length, block)
            image = MemoryDesc.tagged((1, prod(order), 1, length), desc.dtype, BLOCKED[block][4])
            return ChannelParts(image, order, channels)
        if desc.is_channels_last:
            length = _length(batch * size, longest)
            order = (batch * size // length, 1, 1, channels)
            return ChannelParts(MemoryDesc.channels_last((1, prod(order), 1, length), desc.dtype), order, channels)
        if desc.is_row_major:
            length = _length(size, longest)
            order = (batch, channels, size // length, 1)
            return ChannelParts(MemoryDesc.plain((1, prod(order), 1, length), desc.dtype), order, channels)
        return None

    @property
    def count(self) -> int:
        """The number of parts, with those of the channels that fill blocks."""
        return prod(self.order)

    @property
    def per_channel(self) -> int:
        """The number of parts of a channel."""
        return self.order[0] * self.order[2]

    def total(self, values: NDArray[np.floating]) -> Vector:
        """The sum in float64 of each channel's values (..., C), of a value for each part (..., parts)."""
        outer, blocks, inner, block = self.order
        rows = values.shape[:-1]
        sums: Vector = np.add.reduce(values.reshape(*rows, outer, -1), axis=-2, dtype=np.float64)
        if inner > 1:
            sums = np.add.reduce(sums.reshape(*rows, blocks, inner, block), axis=-2).reshape(*rows, -1)
        return sums[..., : self.channels]

    def spread(self, vector: NDArray[np.floating], out: NDArray[np.float32]) -> None:
        """Write a value for each channel (C,) to all parts of the channel in `out` (parts,); others are left."""
        _, blocks, _, block = self.order
        target = out.reshape(self.order)
        full = self.channels // block
        target[:, :full] = vector[: full * block].reshape(full, 1, block)
        if full < blocks:
            target[:, full, :, : self.channels - full * block] = vector[full * block :]


def channel_vector(desc: MemoryDesc) -> MemoryDesc:
    """(1, C, 1, ...) float32, in the layout of a tensor: quirk "operand of a blocked tensor"."""
    shape = (1, desc.dims[1], *(1 for _ in desc.dims[2:]))
    block = block_of(desc)
    return MemoryDesc.tagged(shape, DataType.f32, BLOCKED[block][len(shape)]) if block else MemoryDesc.plain(shape)


def _length(size: int, longest: int) -> int:
    """The largest divisor of `size` up to `longest`; all of `size` where that is below an eighth of `longest`."""
    found = next(d for d in range(min(size, longest), 0, -1) if size % d == 0)
    return found if found * 8 >= min(size, longest) else size


def products(device: Device, parts: ChannelParts, layer: str = "") -> Primitive | None:
    """SRC, DIFF_DST -> DIFF_WEIGHTS, DIFF_BIAS: for each part the sum of products, and the sum of DIFF_DST.

    Given the same tensor twice it is the fastest way to the sums of values and squares: one pass over the tensor.
    None where the library has only a slow kernel.
    """
    shape: Shape = parts.desc.dims
    one = (1, 1)
    spec = convolution.ConvSpec(shape, shape, one, one, (0, 0), one, groups=parts.count)
    if parts.count == 1 or parts.desc.dtype != DataType.f32:
        return None
    forward = convolution.forward(device, spec, src=parts.desc, dst=parts.desc, layer=layer)
    primitive = convolution.backward_weights(device, spec, forward, src=parts.desc, diff_dst=parts.desc, layer=layer)
    return primitive if primitive.implementation.startswith("jit_dw") else None


def moments(device: Device, parts: ChannelParts, layer: str = "") -> Primitive:
    """SRC -> MEAN, VARIANCE of each part, in two passes; and DST, which is of no use."""
    return batch_norm.forward(device, batch_norm.NormSpec(1e-5), parts.desc, layer=layer)
