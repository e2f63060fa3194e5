"""Square tiles: how a map is cut for Winograd's filtering along both axes, and when that is faster than the direct sum.

F(4, 3) along both axes makes 36 products for 16 outputs, where the direct sum makes 144.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

from dragon.engines.onednn.kernels.convolution import ConvSpec
from dragon.engines.onednn.kernels.winograd import Tiling
from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.device import Device

__all__ = ["POINTS", "SquareTiles", "Strip", "square_tiles"]

POINTS = 6  # of a tile along an axis; more would round more
MOST = 8  # tiles of a strip
TOGETHER = 4  # tiles at most that go back to widths in one product
FEWEST = 9  # tiles of a map; with fewer, the transformed weights take more memory than time is saved
WORTH = 0.9  # of the direct sum's time
MEASURED = True  # whether to keep the direct sum on processors on which nothing was measured


def square_tiles(device: Device, spec: ConvSpec) -> SquareTiles | None:
    """The tiles of a convolution; None where the direct sum is expected to be faster, or is the only way."""
    if not _is_possible(device, spec):
        return None
    tiles = SquareTiles(spec)
    if any(strip.tiling.size <= 0 for strip in (*tiles.high, *tiles.wide)):  # all of it padding
        return None
    if tiles.count < FEWEST or (MEASURED and device.has_avx512):
        return None
    return tiles if tiles.cost() < WORTH * prod(spec.weights) * prod(spec.dst[2:]) else None


def _is_possible(device: Device, spec: ConvSpec) -> bool:
    if spec.dtype != DataType.f32 or spec.transposed or spec.groups != 1 or len(spec.kernel) != 2:
        return False
    if set(spec.stride) != {1} or set(spec.dilation) != {1} or not all(1 < taps < POINTS for taps in spec.kernel):
        return False
    # the channels of a group of the products
    return spec.src[1] % device.block == spec.dst[1] % device.block == 0


@dataclass(frozen=True)
class Strip:
    """Some tiles of an axis. source, target: the first input and output. first: the first tile."""

    source: int
    target: int
    first: int
    tiling: Tiling

    @property
    def last(self) -> int:
        """The number of tiles up to its end."""
        return self.first + self.tiling.tiles


@dataclass(frozen=True)
class SquareTiles:
    """The tiles of a convolution's map, in strips along each axis: so matrices are small and data stay in the cache."""

    spec: ConvSpec

    @cached_property
    def high(self) -> list[Strip]:
        """Strips of the height, of the same number of tiles."""
        return self._strips(0)

    @cached_property
    def wide(self) -> list[Strip]:
        """Strips of the width, of the same number of tiles."""
        return self._strips(1)

    def _strips(self, axis: int) -> list[Strip]:
        """The last two may overlap."""
        s = self.spec
        size, outputs, pad, taps = s.src[axis + 2], s.dst[axis + 2], s.pad[axis], s.kernel[axis]
        tile = POINTS + 1 - taps
        tiles = -(-outputs // tile)
        count = -(-tiles // MOST)
        length = -(-tiles // count)
        found = []
        for i in range(count):
            first = min(i * length, tiles - length)
            target, end = first * tile, min((first + length) * tile, outputs)
            source = max(0, target - pad)
            rows = min(size, end + taps - 1 - pad) - source
            found.append(Strip(source, target, first, Tiling(rows, source - (target - pad), taps, end - target, tile)))
        return found

    @property
    def across(self) -> int:
        """Tiles along the width."""
        return self.wide[-1].last

    @property
    def overlaps(self) -> bool:
        """Whether two strips of the height make the same rows, so that they cannot add to what is there."""
        return self.high[0].tiling.tiles * len(self.high) > self.high[-1].last

    @property
    def count(self) -> int:
        """Tiles of the map."""
        return self.across * self.high[-1].last

    @property
    def together(self) -> int:
        """Tiles that go back to widths in one product."""
        return max(count for count in range(1, TOGETHER + 1) if self.across % count == 0)

    @property
    def name(self) -> str:
        """Such as F(4 x 4, 3 x 3)."""
        (high, wide), (h, w) = (strips[0].tiling for strips in (self.high, self.wide)), self.spec.kernel
        return f"F({high.tile} x {wide.tile}, {h} x {w})"

    def cost(self) -> float:
        """Of a map, in the time that one product takes in the direct sum.

        The factors were fitted to times with AVX2, on one thread and on two: 8 to 512 channels, maps of 14 to 224.
        """
        (_, c, _, width), k = self.spec.src, self.spec.dst[1]
        across, wide = self.across, self.wide
        into = sum(POINTS * strip.tiling.tiles * strip.tiling.size for strip in wide) * c
        back = across * wide[0].tiling.tile * POINTS * self.together * k
        total = 0.0
        for tiling in (strip.tiling for strip in self.high):
            rows = POINTS * tiling.tiles
            heights = rows * (tiling.size * width * c + tiling.outputs * self.spec.dst[3] * k)
            transforms, products = heights + rows * (into + back), rows * across * POINTS * c * k
            weights, calls = POINTS**2 * c * k, POINTS + 3 + len(wide)
            total += 1.45 * products + 1.7 * transforms + 1.6 * weights + 8e5 * calls
        return total
