"""Which convolutions of a TEST plan in float32 work in blocks of channels, as far as that was measured to be faster."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from dragon.bases.convolution import ConvolutionBase
from dragon.engines.onednn.library.device import Device

if TYPE_CHECKING:
    from dragon.engines.onednn.kernels.convolution import ConvSpec
    from dragon.graph.node import Node

__all__ = ["FEW", "BlockChoice", "filled"]

FEW = 4  # channels of an image
SMALL = 49  # pixels of a map
MANY = 48  # outputs from which blocks are fast for several images in a net that has few points
MANY_PIXELS = 65  # of a map for that


class BlockChoice:
    """The choice for the convolutions of a net.

    For one image blocks are about as fast as channels last, the library's choice, and concatenations then copy nothing.
    Without AVX-512 they are faster for several images, too: for points and depthwise windows, for windows beside these,
    and for those of many outputs.
    """

    def __init__(self, nodes: Sequence[Node], device: Device) -> None:
        self._block, self._several = device.block, not device.has_avx512
        layers = [node.layer for node in nodes]
        kernels = [layer.window.kernel for layer in layers if isinstance(layer, ConvolutionBase) and layer.group == 1]
        # shuffles leave rows, which would have to be put into blocks
        self._shuffles = any(layer.type == "ShuffleChannel" for layer in layers)
        points = sum(max(kernel) == 1 for kernel in kernels)
        self._mixed = any(node.layer.type == "Concat" and len(node.bottoms) > 1 for node in nodes)
        self._mixed |= 2 * points >= len(kernels)

    def of(self, images: int) -> bool:
        """Whether any convolutions of so many images work in blocks."""
        return not self._shuffles and (images == 1 or self._several)

    def fits(self, spec: ConvSpec) -> bool:
        """Whether a convolution is at least as fast in blocks, or nearly.

        Windows on small maps are not; nor, with AVX2, those of another size than 3 x 3.
        """
        if not self.of(spec.src[0]) or len(spec.kernel) != 2 or spec.transposed:
            return False
        if spec.src[1] % self._block or filled(spec.dst[1], self._block) > 1.5:
            return False
        if spec.groups > 1:
            return spec.groups == spec.src[1] == spec.dst[1]
        pixels = prod(spec.dst[2:])
        if spec.src[0] > 1 and not self._mixed and (spec.dst[1] < MANY or pixels < MANY_PIXELS):
            return False
        if max(spec.kernel) == 1:
            return True
        return pixels > SMALL and (self._block == 16 or spec.kernel == (3, 3))


def filled(channels: int, block: int) -> float:
    """How many times more channels there are once they are filled up to whole blocks."""
    return 1.0 if channels <= FEW else -(-channels // block) * block / channels
