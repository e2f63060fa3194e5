"""cuBLAS through its C interface: CuPy's own wrapper refuses to be captured into a graph."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.cuda.device.precision import arithmetic, is_16_bit
from dragon.errors import EngineError

if TYPE_CHECKING:
    from dragon.engines.cuda.device.device import Matrix
    from dragon.engines.cuda.device.gpu import Gpu

__all__ = ["Blas", "load_library"]

WORKSPACE = 32 << 20  # bytes; what NVIDIA advises for Hopper. cuBLAS must not allocate during a capture
NO, TRANSPOSED = 0, 1  # cublasOperation_t
TYPES = {"float32": 0, "float64": 1, "float16": 2, "uint16": 14}  # cudaDataType_t; uint16 has bfloat16's bits
COMPUTE = {"float32": 68, "float64": 70}  # cublasComputeType_t: CUBLAS_COMPUTE_32F, _64F
FULL_SUMS = 16  # CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION: parts of a sum are added in the compute type
ON_HOST, ON_DEVICE = 0, 1  # cublasPointerMode_t: where the factors lie
COMPUTE_TF32 = 77  # CUBLAS_COMPUTE_32F_FAST_TF32
DEFAULT_ALGORITHM = -1


def load_library(cupy: Any) -> Any:
    """The cuBLAS that CuPy uses. EngineError where it cannot be found or loaded."""
    try:
        cupy.cuda.device.get_cublas_handle()  # loads the library
    except Exception as error:
        raise EngineError(f"CuPy cannot load cuBLAS: {(str(error) or repr(error)).splitlines()[0]}") from None
    for mode in (getattr(os, "RTLD_NOLOAD", 0), 0):  # first the one that is loaded now
        for name in ("libcublas.so.13", "libcublas.so.12", "cublas64_13.dll", "cublas64_12.dll"):
            try:
                return ctypes.CDLL(name, mode=ctypes.DEFAULT_MODE | mode)
            except OSError:
                continue
    raise EngineError("cuBLAS is not found: pip install nvidia-cublas")


class Blas:
    """Row-major matrix products on one GPU's stream."""

    def __init__(self, gpu: Gpu) -> None:
        self._lib = load_library(gpu.cupy)
        self._gpu = gpu
        self._handle = ctypes.c_void_p()
        self._check(self._lib.cublasCreate_v2(ctypes.byref(self._handle)))
        self._check(self._lib.cublasSetMathMode(self._handle, FULL_SUMS))
        self._constants = gpu.empty(2, np.float32)
        gpu.upload(self._constants, np.array([0, 1], np.float32))
        self._check(self._lib.cublasSetStream_v2(self._handle, ctypes.c_void_p(gpu.stream.ptr)))
        self._workspace = gpu.empty(WORKSPACE // 8, np.float64)
        self._check(
            self._lib.cublasSetWorkspace_v2(
                self._handle, ctypes.c_void_p(self._workspace.data.ptr), ctypes.c_size_t(WORKSPACE)
            )
        )

    def _check(self, status: int) -> None:
        if status:
            raise EngineError(f"cuBLAS failed with status {status}")

    def gemm(self, m: int, n: int, k: int, a: Matrix, b: Matrix, c: Matrix, batch: int, add: bool, factor: Any) -> None:
        """As Device.gemm. cuBLAS is column-major, so it is called for c^T = b^T a^T."""
        name = arithmetic(c.array.dtype).name
        scalar: Any = ctypes.c_double if name == "float64" else ctypes.c_float
        half = is_16_bit(a.array.dtype)
        compute = COMPUTE_TF32 if self._gpu.tf32 and name == "float32" and not half else COMPUTE[name]

        def operand(matrix: Matrix) -> tuple[Any, ...]:
            dtype = matrix.array.dtype
            address = ctypes.c_void_p(matrix.array.data.ptr + matrix.offset * dtype.itemsize)
            return address, ctypes.c_int(TYPES[dtype.name]), ctypes.c_int(matrix.ld), ctypes.c_longlong(matrix.stride)

        one, old = scalar(1), scalar(1 if add else 0)
        alpha: Any = ctypes.byref(one)
        beta: Any = ctypes.byref(old)
        if factor is not None:
            alpha = ctypes.c_void_p(factor.data.ptr)
            beta = ctypes.c_void_p(self._constants.data.ptr + self._constants.itemsize * add)
            self._check(self._lib.cublasSetPointerMode_v2(self._handle, ON_DEVICE))
        status = self._lib.cublasGemmStridedBatchedEx(
            self._handle,
            ctypes.c_int(TRANSPOSED if b.transposed else NO),
            ctypes.c_int(TRANSPOSED if a.transposed else NO),
            ctypes.c_int(n), ctypes.c_int(m), ctypes.c_int(k),
            alpha, *operand(b), *operand(a), beta, *operand(c),
            ctypes.c_int(batch), ctypes.c_int(compute), ctypes.c_int(DEFAULT_ALGORITHM),
        )  # fmt: skip
        if factor is not None:
            self._check(self._lib.cublasSetPointerMode_v2(self._handle, ON_HOST))
        self._check(status)
