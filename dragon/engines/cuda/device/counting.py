"""A device that records launches and their bytes instead of running them, for `--dry-run`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dragon.engines.cuda.device.device import Device, Matrix
from dragon.engines.cuda.kernels.kernel import Kernel

__all__ = ["CountingDevice", "Shaped"]


class Shaped:
    """An array without memory: shape, type and the other attributes that launchers read. ptr: says which memory."""

    def __init__(self, shape: Sequence[int] | int, dtype: DTypeLike, ptr: int = 0) -> None:
        self.shape: tuple[int, ...] = (shape,) if isinstance(shape, int) else tuple(shape)
        self.dtype = np.dtype(dtype)
        self.size = math.prod(self.shape)
        self.nbytes = self.size * self.dtype.itemsize
        self.ndim = len(self.shape)
        self.data = self
        self.ptr = ptr

    def reshape(self, *shape: Any) -> Shaped:
        """An array of this shape; one extent may be -1."""
        dims = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
        known = math.prod(d for d in dims if d >= 0)
        return Shaped([d if d >= 0 else self.size // max(1, known) for d in dims], self.dtype, self.ptr)

    def view(self, dtype: DTypeLike) -> Shaped:
        """A flat array of another type with as many bytes."""
        return Shaped(self.nbytes // np.dtype(dtype).itemsize, dtype, self.ptr)

    def __getitem__(self, key: slice) -> Shaped:
        return Shaped((len(range(*key.indices(self.shape[0]))), *self.shape[1:]), self.dtype, self.ptr)


@dataclass
class CountingDevice(Device):
    """Records each launch instead of running it: its name, the bytes of its arrays, and its multiply-adds."""

    multiprocessors: int = 132
    shared_bytes: int = 227 << 10  # of an H200
    place: str = "counting"
    launches: list[tuple[str, int, int]] = field(default_factory=list)  # name, bytes, multiply-adds

    def __post_init__(self) -> None:
        super().__init__()

    def empty(self, shape: Sequence[int] | int, dtype: DTypeLike) -> Any:
        return Shaped(shape, dtype)

    zeros = empty

    def launch(
        self, kernel: Kernel, dtype: DTypeLike, grid: tuple[int, ...], arguments: tuple[Any, ...], shared: int = 0
    ) -> None:
        self.launches.append((kernel.name, sum(a.nbytes for a in arguments if isinstance(a, Shaped)), 0))

    def upload(self, array: Any, values: np.ndarray[Any, Any]) -> None:
        self.launches.append(("upload", values.nbytes, 0))

    def gemm(
        self, m: int, n: int, k: int, a: Matrix, b: Matrix, c: Matrix, batch: int = 1, add: bool = False,
        unscale: Any = None,
    ) -> None:  # fmt: skip
        sizes = ((a, m * k), (b, k * n), (c, m * n), *([(c, m * n)] if add else []))
        moved = sum(size * (batch if one.stride else 1) * one.array.dtype.itemsize for one, size in sizes)
        self.launches.append(("gemm", moved, m * n * k * batch))
