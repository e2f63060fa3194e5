"""GPUs through CuPy.

They last as long as the process, and so do their streams and the handles, plans and descriptors of cuBLAS and cuDNN:
graphs, other libraries and profilers may refer to these after nets are gone. Destroying them crashed a process.
"""

from __future__ import annotations

import importlib
import os
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dragon.engines.cuda.device.availability import FORKED, capability_problem, problem
from dragon.engines.cuda.device.blas import Blas
from dragon.engines.cuda.device.checking import Check, Way
from dragon.engines.cuda.device.cudnn import Convolver, open_cudnn
from dragon.engines.cuda.device.cudnn_frontend import open_frontend
from dragon.engines.cuda.device.device import Device, Matrix
from dragon.engines.cuda.device.feed import Feed
from dragon.engines.cuda.device.layout import Layout
from dragon.engines.cuda.device.precision import defines
from dragon.engines.cuda.device.staging import Staged, Staging
from dragon.engines.cuda.device.timing import Operand, fastest
from dragon.engines.cuda.kernels.kernel import Kernel
from dragon.engines.cuda.kernels.sources import OPTIONS, source
from dragon.errors import EngineError, first_line

__all__ = ["Gpu", "open_gpu"]

NOT_READY = 600  # cudaErrorNotReady
MOST_SHARED = 97  # cudaDevAttrMaxSharedMemoryPerBlockOptin
SHARED = 48 << 10  # bytes of shared memory that a kernel may have without asking for them

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
