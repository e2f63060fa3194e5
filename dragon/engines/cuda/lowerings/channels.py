"""Launches over (N, C, S) by channel: what the lowerings of batch norm, scale and biases share."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from numpy.typing import DTypeLike

from dragon.engines.cuda.device.device import Device
from dragon.engines.cuda.device.precision import arithmetic
from dragon.engines.cuda.kernels import channels as kernels
from dragon.engines.cuda.kernels.kernel import THREADS, VECTOR_BYTES, WARP, Kernel
from dragon.engines.cuda.lowerings.lowering import aligned

__all__ = ["Channels", "Geometry", "Partial", "channel_gradient", "channel_sums", "totals"]

RESIDENT = 4  # blocks of these kernels that a multiprocessor runs at a time
MOST_GROUP = 128  # channels of a block, as in parts.cuh
SIDE = 16  # threads that read 16 bytes of a row of columns each, where there are many rows
LONG_MAP = 1024  # bytes of a map that is read well on its own
MOST_PARTS = 40  # partial results of a channel that each block of a later kernel adds up itself
FEW_READS = 12  # vectors of a thread that are read faster than a launch that folds starts
ONE_BLOCK = 48 << 10  # bytes of a block's channels that it reads faster than a second launch starts
FOLDED = 8  # partial results of a channel after a fold


@dataclass(frozen=True)
class Geometry:
    """How a launch shares an array (n, c, s) between its blocks; see parts.cuh.

    group: channels of a block that reads columns; 0: it reads the maps of one channel. part: vectors or rows of a
    block. values: of a channel, in a part.
    """

    n: int
    c: int
    s: int
    vectors: bool
    group: int
    part: int
    parts: int
    values: int

    @property
    def grid(self) -> tuple[int, int]:
        """Blocks: over the channels, and over the parts of each."""
        return -(-self.c // (self.group or 1)), self.parts

    @property
    def sizes(self) -> dict[str, int]:
        """The kernels' arguments."""
        return {
            "n": self.n, "c": self.c, "s": self.s, "group": self.group, "part": self.part, "vectors": self.vectors,
        }  # fmt: skip


@dataclass(frozen=True)
class Channels:
    """An array of n * c * s elements, by channel."""

    n: int
    c: int
    s: int

    @classmethod
    def of(cls, device: Device, n: int, c: int, s: int) -> Channels:
        """The shape (n, c, s)."""
        return cls(n, c, s)

    def geometry(self, device: Device, *arrays: Any, sums: bool = False) -> Geometry:
        """How kernels share these arrays, which have one shape, between their blocks. None is skipped.

        sums: of a launch that makes partial results, of which a small array has few.
        """
        lanes = VECTOR_BYTES // arrays[0].dtype.itemsize if aligned(*arrays) else 1
        size: int = arrays[0].dtype.itemsize
        return _geometry(self.n, self.c, self.s, lanes, size, RESIDENT * device.multiprocessors, sums)


@lru_cache(maxsize=1024)
def _geometry(n: int, c: int, s: int, lanes: int, size: int, slots: int, sums: bool) -> Geometry:
    """slots: blocks that the GPU runs at a time. lanes: elements of a vector that the arrays' alignment allows."""
    group, is_long = 0, s * size >= LONG_MAP
    if s % lanes or not is_long:
        group = _group(n, c, s, lanes)
        if not group and lanes > 1:
            lanes = 1
            group = 0 if is_long else _group(n, c, s, 1)
    if group:
        total, step, unit = n, max(1, THREADS // (group * s // lanes)), s
    else:
        total, step, unit = n * (s // lanes), THREADS, lanes
    part = _part(total, step, -(-c // (group or 1)), slots, sums)
    return Geometry(n, c, s, lanes > 1, group, part, max(1, -(-total // part)), part * unit)


def _group(n: int, c: int, s: int, lanes: int) -> int:
    """The channels whose columns the threads of a block read side by side; 0 where a row does not fit."""
    if c * s % lanes:
        return 0
    least = lanes // math.gcd(s, lanes)  # channels that fill whole vectors
    wide = least * s // lanes
    if wide > THREADS:
        return 0
    side = max(WARP if lanes == 1 else SIDE, THREADS // max(1, n))  # with few rows, more threads share one
    most = min(max(1, side // wide), max(1, THREADS // wide), max(1, MOST_GROUP // least))
    return least * min(most, -(-c // least))


def _part(total: int, step: int, columns: int, slots: int, sums: bool) -> int:
    """Vectors or rows of a block, of which its threads read `step` at a time.

    The blocks should fill the GPU once, or nearly a whole number of times, since those of a last round run alone.
    """
    most = max(1, -(-total // step))

    def filled(parts: int) -> float:
        return columns * parts / (-(-columns * parts // slots) * slots)

    if columns <= slots:
        parts = min(slots // columns, most)
    else:
        parts = max(range(1, min(4, most) + 1), key=lambda k: (round(filled(k), 1), -k))
    if sums and parts > MOST_PARTS and most <= FEW_READS * MOST_PARTS:
        parts = MOST_PARTS
    return max(1, -(-total // (parts * step)) * step)


@dataclass(frozen=True)
class Partial:
    """Partial results of a channel's values, of which each part but the last has `values`: (parts, C, 2).

    array: in the workspace, with space behind it for what `folded` makes of many parts.
    """

    array: Any
    c: int
    parts: int
    values: int

    @classmethod
    def of(cls, device: Device, geometry: Geometry, dtype: DTypeLike) -> Partial:
        """Space for the partial results of a launch on activations of `dtype`."""
        behind = FOLDED if geometry.parts > MOST_PARTS else 0
        array = device.workspace((geometry.parts + behind) * geometry.c * 2, arithmetic(dtype))
        return cls(array, geometry.c, geometry.parts, geometry.values)

    def folded(self, device: Device, dtype: DTypeLike, kernel: Kernel, **arguments: Any) -> Partial:
        """The same in few parts, since each block of the next kernel adds them up for itself. kernel: does it."""
        if self.parts <= MOST_PARTS:
            return self
        each = -(-self.parts // FOLDED)
        array, parts = self.array[self.parts * self.c * 2 :], -(-self.parts // each)
        kernel(
            device, dtype, grid=(-(-self.c // WARP), parts), folded=array, c=self.c, parts=self.parts, each=each,
            **arguments,
        )  # fmt: skip
        return Partial(array, self.c, parts, self.values * each)


def channel_sums(
    device: Device, at: Channels, dy: Any, x: Any = None, *, mean: Any = None, y: Any = None, slope: float = 0.0
) -> Partial:
    """Partial sums of dy and dy * (x - mean), in the workspace; see channels.cu."""
    of = at.geometry(device, dy, x, y, sums=True)
    sums = Partial.of(device, of, dy.dtype)
    kernels.channel_sums(
        device, dy.dtype, grid=of.grid, dy=dy, x=x, mean=mean, y=y, sums=sums.array, **of.sizes, slope=slope
    )
    return sums


def channel_gradient(device: Device, at: Channels, dy: Any, out: Any, *, unscale: Any = None, add: bool = True) -> None:
    """Sum dy over each channel into `out` (C), in one launch where the array is small. unscale, add: see `totals`."""
    of = at.geometry(device, dy)
    if at.n * (of.group or 1) * at.s * dy.dtype.itemsize > ONE_BLOCK:
        totals(device, at, channel_sums(device, at, dy), out, None, unscale=unscale, add=add)
        return
    whole = replace(of, part=of.part * of.parts, parts=1)
    kernels.channel_gradient(
        device, dy.dtype, grid=whole.grid[0], dy=dy, unscale=unscale, out=out, **whole.sizes, add=add
    )


def totals(
    device: Device, at: Channels, sums: Partial, out_a: Any, out_b: Any, *, inv: Any = None, unscale: Any = None,
    add: bool = True,
) -> None:  # fmt: skip
    """Sum the partial sums, in order, into out_a and out_b (C), either of which may be None.

    inv: (C), by which out_b is multiplied. unscale: see Lowering.unscale. add: the outputs are added to.
    """
    kernels.channel_totals(
        device, sums.array.dtype, grid=-(-at.c // WARP), sums=sums.array, inv=inv, unscale=unscale, out_a=out_a,
        out_b=out_b, c=at.c, parts=sums.parts, add=add,
    )  # fmt: skip
