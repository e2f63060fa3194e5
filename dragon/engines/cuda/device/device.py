"""Device: the interface of lowerings to a GPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dragon.engines.cuda.device.checking import Check, Way
from dragon.engines.cuda.device.cudnn import Convolver
from dragon.engines.cuda.device.layout import Layout
from dragon.engines.cuda.device.precision import is_16_bit
from dragon.engines.cuda.device.staging import Staged, Uploaded
from dragon.engines.cuda.device.timing import Operand
from dragon.engines.cuda.kernels import cast
from dragon.engines.cuda.kernels import layout as layouts
from dragon.engines.cuda.kernels.kernel import THREADS, Kernel

__all__ = ["Device", "Matrix"]

LANES = 8  # 16-bit numbers of a 16-byte access


@dataclass(frozen=True)
class Matrix:
    """A row-major operand of a product: rows are `ld` elements apart, matrices of a batch `stride`."""

    array: Any
    ld: int
    stride: int = 0
    offset: int = 0
    transposed: bool = False


class Device(ABC):
    """The interface of launchers to a device.

    place: its name in a storage. shared_bytes: the most shared memory that a block can have. tf32: whether products may
    use TF32. timed_plans: whether ways to compute may be chosen by timing.
    """

    place: str
    multiprocessors: int
    shared_bytes: int
    tf32: bool = False
    timed_plans: bool = False

    @property
    def convolvers(self) -> Sequence[Convolver]:
        """The interfaces of cuDNN that are installed, the preferred one first."""
        return ()

    @abstractmethod
    def empty(self, shape: Sequence[int] | int, dtype: DTypeLike) -> Any:
        """A new array with arbitrary content."""

    @abstractmethod
    def zeros(self, shape: Sequence[int] | int, dtype: DTypeLike) -> Any:
        """A new array of zeros."""

    @abstractmethod
    def launch(
        self, kernel: Kernel, dtype: DTypeLike, grid: tuple[int, ...], arguments: tuple[Any, ...], shared: int = 0
    ) -> None:
        """Run a kernel, compiled for activations of `dtype`, on `grid` blocks with `shared` bytes of dynamic memory.

        Only Kernel.__call__ calls it, which has converted and checked the arguments.
        """

    @abstractmethod
    def upload(self, array: Any, values: np.ndarray[Any, Any]) -> None:
        """Copy host values into an array, in the order of the stream. The caller may change them at once."""

    @abstractmethod
    def gemm(
        self, m: int, n: int, k: int, a: Matrix, b: Matrix, c: Matrix, batch: int = 1, add: bool = False,
        unscale: Any = None,
    ) -> None:  # fmt: skip
        """Compute c (m, n) = a (m, k) b (k, n), or c += with `add`, for each matrix of a batch.

        a and b have one type; c has it as well or, where they have 16 bits, float32. unscale: float32 (1) on the
        device, by which a float32 product is multiplied, or None.
        """

    def __init__(self) -> None:
        self._workspace: Any = None

    def workspace(self, count: int, dtype: DTypeLike) -> Any:
        """An array (count) for the next launches. The next call hands out the same memory."""
        size = count * np.dtype(dtype).itemsize
        if self._workspace is None or self._workspace.nbytes < size:
            self._workspace = self.empty(-(-size // 8), np.float64)
        return self._workspace.view(dtype)[:count]

    def staged(self, count: int, dtype: DTypeLike) -> Staged:
        """A new array for small values that the host sets before each run; see `send_staged`."""
        return Uploaded(self, count, dtype)

    def send_staged(self) -> None:
        """Send what was set in staged arrays, in the order of the stream; to be called before the launches."""

    def fastest(
        self, key: Hashable, operands: Sequence[Operand], ways: Callable[[], Iterable[Way]], check: Check | None = None
    ) -> str | None:
        """The name of the way that was fastest when timed, see timing.py; None where nothing may be timed."""
        return None

    def to_16_bit(self, x: Any, y: Any, factor: Any = None) -> None:
        """Compute y (16 bits) = x (float32) times `factor`, (1) on the device; None: 1."""
        self._cast(cast.to_16_bit, y.dtype, x, y, factor)

    def to_float32(self, x: Any, y: Any, factor: Any = None) -> None:
        """Compute y (float32) = x (16 bits) times `factor`, (1) on the device; None: 1."""
        self._cast(cast.to_float32, x.dtype, x, y, factor)

    def convert(
        self, x: Any, y: Any, factor: Any = None, x_layout: Layout | None = None, y_layout: Layout | None = None
    ) -> None:
        """Compute y = x times `factor`, (1) on the device; None: 1.

        x and y are flat arrays, whose types and layouts may differ. What lies behind the last whole image of a layout
        has no order of its own and stays in its place.
        """
        if x_layout is not None and y_layout is not None and x_layout != y_layout:
            first = self.empty(x.size, x.dtype)
            self.convert(x, first, None, x_layout, None)
            x, x_layout = first, None
        layout = None if x_layout == y_layout else x_layout or y_layout
        rest = x.size if layout is None else x.size % (layout.channels * layout.spatial)
        done = x.size - rest
        if layout is not None and done:
            rows, columns = layout.channels, layout.spatial
            if x_layout is not None:
                rows, columns = columns, rows
            kernel, dtype = layouts.transpose, x.dtype
            if x.dtype != y.dtype:
                narrow = is_16_bit(y.dtype)
                kernel = layouts.transpose_to_16_bit if narrow else layouts.transpose_to_float32
                dtype = y.dtype if narrow else x.dtype
            sizes = layouts.matrices(done // (rows * columns), rows, columns)
            kernel(self, dtype, grid=self.grid(done), x=x[:done], y=y[:done], factor=factor, **sizes)
        if not rest:
            return
        if x.dtype == y.dtype:
            y[done:] = x[done:]
        elif is_16_bit(y.dtype):
            self.to_16_bit(x[done:], y[done:], factor)
        else:
            self.to_float32(x[done:], y[done:], factor)

    def _cast(self, kernel: Kernel, dtype: DTypeLike, x: Any, y: Any, factor: Any) -> None:
        vectors = all(a.data.ptr % 16 == 0 for a in (x, y)) and x.size % LANES == 0
        kernel(self, dtype, x=x, y=y, count=x.size, vectors=vectors, factor=factor)

    def grid(self, work: int) -> int:
        """The number of blocks for `work` threads: at most 16 for each multiprocessor, at least 1."""
        return max(1, min(-(-work // THREADS), 16 * self.multiprocessors))
