"""Device, the interface of lowerings to a GPU, and Gpu: its stream, compiled kernels, workspace and libraries."""

from __future__ import annotations

import importlib
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dragon.engines.cuda.device.availability import FORKED, capability_problem, problem
from dragon.engines.cuda.device.blas import Blas
from dragon.engines.cuda.device.checking import Check, Way
from dragon.engines.cuda.device.cudnn import Convolver, open_cudnn
from dragon.engines.cuda.device.cudnn_frontend import open_frontend
from dragon.engines.cuda.device.feed import Feed
from dragon.engines.cuda.device.layout import Layout
from dragon.engines.cuda.device.precision import defines, is_16_bit
from dragon.engines.cuda.device.staging import Staged, Staging, Uploaded
from dragon.engines.cuda.device.timing import Operand, fastest
from dragon.engines.cuda.kernels import cast
from dragon.engines.cuda.kernels import layout as layouts
from dragon.engines.cuda.kernels.kernel import THREADS, Kernel
from dragon.engines.cuda.kernels.sources import OPTIONS, source
from dragon.errors import EngineError, first_line

__all__ = ["Device", "Gpu", "Matrix", "open_gpu"]

LANES = 8  # 16-bit numbers of a 16-byte access
NOT_READY = 600  # cudaErrorNotReady
MOST_SHARED = 97  # cudaDevAttrMaxSharedMemoryPerBlockOptin
SHARED = 48 << 10  # bytes of shared memory that a kernel may have without asking for them


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
            kernel(
                self, dtype, grid=self.grid(done), x=x[:done], y=y[:done], batch=done // (rows * columns), rows=rows,
                columns=columns, factor=factor,
            )  # fmt: skip
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


# -- GPUs --------------------------------------------------------------------------------------------------------
# They last as long as the process, and so do their streams and the handles, plans and descriptors of cuBLAS and cuDNN:
# graphs, other libraries and profilers may refer to these after nets are gone. Destroying them crashed a process.
_gpus: dict[int, Gpu] = {}


def open_gpu(number: int) -> Gpu:
    """GPU `number`, one object for all nets on it, which share its stream. EngineError where it cannot be used."""
    gpu = _gpus.get(number)
    if gpu is None:
        gpu = _gpus[number] = Gpu(number)
    return gpu


class Gpu(Device):
    """A GPU through CuPy. EngineError where it cannot be used."""

    def __init__(self, number: int) -> None:
        super().__init__()
        missing = problem()
        if missing:
            raise EngineError(f"the CUDA engine cannot run: {missing}")
        cupy = self.cupy = importlib.import_module("cupy")
        count = cupy.cuda.runtime.getDeviceCount()
        if not 0 <= number < count:
            known = "0" if count == 1 else f"0 to {count - 1}"
            raise EngineError(f"the CUDA engine cannot run: there is no GPU {number}, only {known}")
        too_old = capability_problem(cupy, number)
        if too_old:
            raise EngineError(f"the CUDA engine cannot run: {too_old}")
        self._pid = os.getpid()
        self._users = 0
        self.number = number
        self.place = f"cuda:{number}"
        self._modules: dict[tuple[str, str], Any] = {}
        self._kernels: dict[tuple[Kernel, str], Any] = {}  # by kernel and type of activations
        self._blas: Blas | None = None
        self._staging: Staging | None = None
        self.most_pool_bytes = 0  # when free blocks were last given back
        self._convolvers: list[Convolver] | None = None
        runtime = cupy.cuda.runtime
        try:
            with cupy.cuda.Device(number):
                self.multiprocessors = int(runtime.getDeviceProperties(number)["multiProcessorCount"])
                self.shared_bytes = int(runtime.deviceGetAttribute(MOST_SHARED, number))
                self.stream = cupy.cuda.Stream(non_blocking=True)
                self.copy_stream = cupy.cuda.Stream(non_blocking=True)
        except runtime.CUDARuntimeError as error:  # another program has it for itself, or has taken all its memory
            raise EngineError(
                f"the CUDA engine cannot run: GPU {number} cannot be opened ({first_line(error)}): "
                "nvidia-smi shows which programs use it"
            ) from None

    @property
    def convolvers(self) -> Sequence[Convolver]:
        if self._convolvers is None:
            found: list[Convolver | None] = [open_frontend(self), open_cudnn(self)]
            self._convolvers = [one for one in found if one is not None]
        return self._convolvers

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within the block, CuPy uses this GPU and its stream. EngineError in a forked process, which cannot."""
        if self._pid != os.getpid():
            raise EngineError(FORKED)
        with self.cupy.cuda.Device(self.number), self.stream:
            yield

    def used_by(self, owner: object) -> None:
        """Note that `owner` runs on the GPU. The workspace is freed when the last owner is dropped."""
        self._users += 1
        weakref.finalize(owner, self._left).atexit = False

    def _left(self) -> None:
        self._users -= 1
        if not self._users:
            self._workspace = None

    @property
    def is_busy(self) -> bool:
        """Whether the stream has unfinished work. False after an error, too, which `synchronize` raises."""
        return int(self.cupy.cuda.runtime.streamQuery(self.stream.ptr)) == NOT_READY

    @property
    def pool_bytes(self) -> int:
        """Bytes that CuPy's common memory pool holds now."""
        return int(self.cupy.get_default_memory_pool().total_bytes())

    def free_pool(self) -> None:
        """Give the free blocks of CuPy's common memory pool back to the GPU, which waits for its work to end."""
        self.most_pool_bytes = max(self.most_pool_bytes, self.pool_bytes)
        self.cupy.get_default_memory_pool().free_all_blocks()

    def empty(self, shape: Sequence[int] | int, dtype: DTypeLike) -> Any:
        return self.cupy.empty(shape, dtype)

    def zeros(self, shape: Sequence[int] | int, dtype: DTypeLike) -> Any:
        return self.cupy.zeros(shape, dtype)

    def _compiled(self, kernel: Kernel, dtype: DTypeLike) -> Any:
        kind = np.dtype(dtype).name
        found = self._kernels.get((kernel, kind))
        if found is None:
            module = self._modules.get((kernel.file, kind))
            if module is None:
                module = self._modules[kernel.file, kind] = self.cupy.RawModule(
                    code=source(kernel.file), options=(*OPTIONS, *defines(dtype)), backend="nvrtc"
                )
            found = self._kernels[kernel, kind] = module.get_function(kernel.name)
        return found

    def launch(
        self, kernel: Kernel, dtype: DTypeLike, grid: tuple[int, ...], arguments: tuple[Any, ...], shared: int = 0
    ) -> None:
        compiled = self._compiled(kernel, dtype)
        if shared > SHARED:
            compiled.max_dynamic_shared_size_bytes = shared
        compiled(grid, (kernel.threads,), arguments, shared_mem=shared)

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """Within the block, arrays and the workspace are taken from memory that is given back at its end."""
        pool, held = self.cupy.cuda.MemoryPool(), self._workspace
        self._workspace = None
        try:
            with self.cupy.cuda.using_allocator(pool.malloc):
                yield
        finally:
            self._workspace = held
            pool.free_all_blocks()

    def fastest(
        self, key: Hashable, operands: Sequence[Operand], ways: Callable[[], Iterable[Way]], check: Check | None = None
    ) -> str | None:
        return fastest(self, key, operands, ways, check) if self.timed_plans else None

    def upload(self, array: Any, values: np.ndarray[Any, Any]) -> None:
        array.set(values, stream=self.stream)

    def staged(self, count: int, dtype: DTypeLike) -> Staged:
        if self._staging is None:
            self._staging = Staging(self)
        return self._staging.take(count, dtype) or super().staged(count, dtype)

    def send_staged(self) -> None:
        if self._staging is not None:
            self._staging.send()

    def feed(self, array: Any, factor: Any = None, layout: Layout | None = None) -> Feed:
        """A feed for an array that is written repeatedly. factor, layout: see Feed."""
        return Feed(self, array, factor, layout)

    def gemm(
        self, m: int, n: int, k: int, a: Matrix, b: Matrix, c: Matrix, batch: int = 1, add: bool = False,
        unscale: Any = None,
    ) -> None:  # fmt: skip
        if self._blas is None:
            self._blas = Blas(self)
        self._blas.gemm(m, n, k, a, b, c, batch, add, unscale)
