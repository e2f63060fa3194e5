"""Launches over (N, C, S) in which a block keeps its channels in shared memory (batch_norm_at_once.cu)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dragon.engines.cuda.device.device import Device
from dragon.engines.cuda.device.precision import arithmetic
from dragon.engines.cuda.kernels.batch_norm_at_once import THREADS
from dragon.engines.cuda.kernels.kernel import VECTOR_BYTES
from dragon.engines.cuda.lowerings.channels import Channels
from dragon.engines.cuda.lowerings.lowering import aligned

__all__ = ["Slices", "slices"]

VALUES = 4  # numbers of a channel
SMALL = 64 << 10  # bytes that a multiprocessor reads and writes about as fast as a launch starts
RUN = 512  # bytes of a block that lie together; on an H200 runs of 32 bytes took 2 to 3.4 times as long as two launches
MOST_ROUNDS = 8


@dataclass(frozen=True)
class Slices:
    """How a launch shares an array (n, c, s) between its blocks, which have `group` channels each.

    shared: bytes of a block's shared memory. rounds: how often a multiprocessor's turn comes. is_sure: whether one
    launch is certainly faster than two that read the array once more.
    """

    n: int
    c: int
    s: int
    vectors: bool
    group: int
    shared: int
    rounds: int
    is_sure: bool

    @property
    def launch(self) -> dict[str, Any]:
        """The kernels' arguments, and those of the launch."""
        return {
            "grid": -(-self.c // self.group), "shared_bytes": self.shared, "n": self.n, "c": self.c, "s": self.s,
            "group": self.group, "vectors": self.vectors,
        }  # fmt: skip


def slices(device: Device, at: Channels, arrays: int, *given: Any, masks: bool = False) -> Slices | None:
    """How blocks keep `arrays` arrays of this shape, and with `masks` a byte for each vector; None if they do not fit.

    given: the arrays of the launch, which have one shape. None is skipped.
    """
    dtype = given[0].dtype
    lanes = VECTOR_BYTES // dtype.itemsize if aligned(*given) else 1
    found = _slices(
        at.n, at.c, at.s, lanes, dtype.itemsize, arithmetic(dtype).itemsize, arrays, masks, device.multiprocessors,
        device.shared_bytes,
    )  # fmt: skip
    return found if found is not None and found.rounds <= MOST_ROUNDS else None


@lru_cache(maxsize=1024)
def _slices(
    n: int, c: int, s: int, lanes: int, size: int, real: int, arrays: int, masks: bool, multiprocessors: int, most: int
) -> Slices | None:
    if not n * c * s:
        return None
    if c * s % lanes:
        lanes = 1
    least = lanes // math.gcd(s, lanes)  # channels that fill whole vectors
    units, wide = -(-c // least), least * s // lanes

    def shared(together: int) -> int:
        """Bytes of a block that has so many units."""
        vectors = n * wide * together
        pieces = [arrays * vectors * lanes * size, masks * vectors]
        return sum(_whole(one) for one in pieces) + (THREADS * lanes + VALUES * least * together) * real

    together = -(-units // multiprocessors)
    while together and (together * max(wide, least) > THREADS or shared(together) > most):
        together -= 1
    if not together:
        return None
    rounds = -(-units // (together * multiprocessors))
    together = -(-units // (rounds * multiprocessors))  # in as many rounds, with as much for each block
    blocks = -(-units // together)
    bytes_each = n * wide * together * lanes * size * arrays
    long = together * wide * lanes * size >= RUN
    small = bytes_each <= (SMALL if long else SMALL // 4)
    is_sure = rounds == 1 and (small or (long and 2 * blocks >= multiprocessors))
    return Slices(n, c, s, lanes > 1, least * together, shared(together), rounds, is_sure)


def _whole(size: int) -> int:
    """The bytes of as many 16-byte pieces as hold `size` bytes."""
    return -(-size // VECTOR_BYTES) * VECTOR_BYTES
