"""Launches over (N, C, S) by channel: what the lowerings of batch norm, scale and biases share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dragon.engines.cuda.device.device import Device
from dragon.engines.cuda.device.precision import arithmetic
from dragon.engines.cuda.kernels import channels as kernels
from dragon.engines.cuda.kernels.kernel import THREADS, WARP
from dragon.engines.cuda.lowerings.lowering import aligned

__all__ = ["Channels", "channel_sums", "totals"]

MOST_SLICES = 32


@dataclass(frozen=True)
class Channels:
    """The launch geometry of common.cuh's Channel for an array of n * c * s elements."""

    n: int
    c: int
    s: int
    width: int
    slices: int

    @classmethod
    def of(cls, device: Device, n: int, c: int, s: int) -> Channels:
        """The geometry for an array (n, c, s): enough blocks to fill the GPU, but no small ones."""
        width = WARP if s == 1 else 1
        columns = -(-c // width)
        per_block = THREADS // width * 4  # elements of a channel that a block should have at least
        wanted = -(-8 * device.multiprocessors // columns)  # 8 blocks fill a multiprocessor
        return cls(n, c, s, width, max(1, min(wanted, -(-n * s // per_block), MOST_SLICES)))

    @property
    def grid(self) -> tuple[int, int]:
        """Blocks: over the channels, and over the parts of each."""
        return -(-self.c // self.width), self.slices

    @property
    def sizes(self) -> dict[str, int]:
        """The kernels' arguments."""
        return {"n": self.n, "c": self.c, "s": self.s, "width": self.width, "slices": self.slices}

    def vectors(self, device: Device, *arrays: Any) -> bool:
        """Whether the kernels may use 16-byte accesses on these arrays."""
        lanes = 16 // arrays[0].dtype.itemsize
        return self.width == 1 and self.s % lanes == 0 and aligned(*arrays)

    def finer(self, device: Device) -> Channels:
        """The geometry for element-wise kernels: more, smaller parts of a channel."""
        per_block = THREADS // self.width * 8
        columns = -(-self.c // self.width)
        most = max(1, -(-16 * device.multiprocessors // columns))
        return Channels(self.n, self.c, self.s, self.width, max(1, min(-(-self.n * self.s // per_block), most, 65535)))


def channel_sums(
    device: Device, at: Channels, dy: Any, x: Any = None, *, mean: Any = None, y: Any = None, slope: float = 0.0
) -> Any:
    """Partial sums (slices, C, 2) of dy and dy * (x - mean), in the workspace; see channels.cu."""
    sums = device.workspace(at.slices * at.c * 2, arithmetic(dy.dtype))
    kernels.channel_sums(
        device, dy.dtype, grid=at.grid, dy=dy, x=x, mean=mean, y=y, sums=sums, **at.sizes,
        vectors=at.vectors(device, dy, x, y), slope=slope,
    )  # fmt: skip
    return sums


def totals(
    device: Device, at: Channels, sums: Any, out_a: Any, out_b: Any, *, inv: Any = None, unscale: Any = None,
    add: bool = True,
) -> None:  # fmt: skip
    """Sum the partial sums, in order, into out_a and out_b (C), either of which may be None.

    inv: (C), by which out_b is multiplied. unscale: see Lowering.unscale. add: the outputs are added to.
    """
    kernels.channel_totals(
        device, sums.dtype, sums=sums, inv=inv, unscale=unscale, out_a=out_a, out_b=out_b, c=at.c, slices=at.slices,
        add=add,
    )  # fmt: skip
