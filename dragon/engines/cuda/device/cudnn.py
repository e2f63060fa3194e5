"""Convolutions by the C interface of cuDNN 9, where it is installed (extra `cudnn`).

Of the algorithms that fit, the fastest when timed is used. Only deterministic ones are.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dragon.engines.cuda.device.checking import Check, Way
from dragon.engines.cuda.device.precision import arithmetic, is_16_bit
from dragon.errors import EngineError

if TYPE_CHECKING:
    from dragon.engines.cuda.device.gpu import Gpu

__all__ = ["MOST_WORKSPACE", "Convolver", "Cudnn", "Geometry", "load_library", "open_cudnn"]

log = logging.getLogger("dragon")

NCHW, NHWC = 0, 1  # cudnnTensorFormat_t
TYPES = {"float32": 0, "float64": 1, "float16": 2, "uint16": 9}  # cudnnDataType_t; uint16 has bfloat16's bits
CROSS_CORRELATION = 1  # cudnnConvolutionMode_t
DEFAULT_MATH, TENSOR_CORES, FMA_MATH = 0, 1, 3  # cudnnMathType_t: the default may use TF32
DETERMINISTIC = 1
MOST_WORKSPACE = 1 << 30  # bytes
REQUESTED = 8  # algorithms to choose from


class Performance(ctypes.Structure):
    """cudnnConvolution{Fwd,BwdData,BwdFilter}AlgoPerf_t, which have the same fields."""

    _fields_ = (
        ("algo", ctypes.c_int), ("status", ctypes.c_int), ("time", ctypes.c_float), ("memory", ctypes.c_size_t),
        ("determinism", ctypes.c_int), ("math_type", ctypes.c_int), ("reserved", ctypes.c_int * 3),
    )  # fmt: skip


@dataclass(frozen=True)
class Geometry:
    """One convolution: wide (N, C, H, W) by weight (K, C / groups, KH, KW) gives narrow (N, K, OH, OW).

    channels_last: in memory all three have their channels last, (N, H, W, C), (K, KH, KW, C / groups), (N, OH, OW, K).
    """

    wide: tuple[int, ...]
    weight: tuple[int, ...]
    narrow: tuple[int, ...]
    pad: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    dtype: str
    tf32: bool
    channels_last: bool = False


class Convolver(Protocol):
    """One of cuDNN's interfaces. Its products return whether they ran; after False nothing has changed."""

    accumulates: bool  # whether weight_gradient can add to `diff`
    fuses: bool  # whether forward may include the bias and a ReLU

    def serves(self, product: str, g: Geometry) -> bool:
        """Whether it can compute a product: forward, forward_bias, forward_relu, forward_bias_relu, data or weight."""

    def narrow_from_wide(
        self, g: Geometry, wide: Any, weight: Any, narrow: Any, bias: Any = None, relu: bool = False
    ) -> bool:
        """Compute narrow = the convolution of wide, plus `bias` (K), then max(that, 0) if `relu`."""
        ...

    def wide_from_narrow(self, g: Geometry, narrow: Any, weight: Any, wide: Any) -> bool:
        """Compute wide = the transposed convolution of narrow."""
        ...

    def weight_gradient(self, g: Geometry, wide: Any, narrow: Any, diff: Any, add: bool) -> bool:
        """Compute diff = the weights' gradient, or += with `add`."""
        ...


def _candidates() -> Iterator[str]:
    yield "libcudnn.so.9"
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("*/lib/libcudnn.so.9")):
            yield str(path)
    yield "cudnn64_9.dll"


def load_library() -> Any:
    """The cuDNN 9 library, or None where it is not installed."""
    for name in _candidates():
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def open_cudnn(gpu: Gpu) -> Cudnn | None:
    """Open cuDNN on one GPU; None where it is not installed or does not start (then im2col and cuBLAS are used)."""
    lib = load_library()
    if lib is None:
        return None
    try:
        return Cudnn(gpu, lib)
    except (EngineError, AttributeError) as error:
        log.warning("cuDNN is not used: %s", error)
        return None


PRODUCTS = {"forward": "Forward", "data": "BackwardData", "weight": "BackwardFilter"}


class Cudnn:
    """The three products of a convolution. Descriptors and algorithms are kept by geometry."""

    accumulates = True
    fuses = False

    def __init__(self, gpu: Gpu, lib: Any) -> None:
        self._lib, self._gpu = lib, gpu
        self._handle = ctypes.c_void_p()
        self._check(lib.cudnnCreate(ctypes.byref(self._handle)), "start")
        self._check(lib.cudnnSetStream(self._handle, ctypes.c_void_p(gpu.stream.ptr)), "take a stream")
        self._descriptors: dict[Geometry, tuple[Any, Any, Any, Any]] = {}
        self._algorithms: dict[tuple[str, Geometry, bool], tuple[int, int] | None] = {}  # the last: whether timed

    def _check(self, status: int, what: str) -> None:
        if status:
            raise EngineError(f"cuDNN cannot {what}: status {status}")

    def _make(self, g: Geometry) -> tuple[Any, Any, Any, Any]:
        found = self._descriptors.get(g)
        if found is not None:
            return found
        lib, kind, form = self._lib, TYPES[g.dtype], NHWC if g.channels_last else NCHW
        wide, weight, narrow, conv = (ctypes.c_void_p() for _ in range(4))
        for descriptor, shape in ((wide, g.wide), (narrow, g.narrow)):
            self._check(lib.cudnnCreateTensorDescriptor(ctypes.byref(descriptor)), "describe an array")
            self._check(lib.cudnnSetTensor4dDescriptor(descriptor, form, kind, *shape), "describe an array")
        self._check(lib.cudnnCreateFilterDescriptor(ctypes.byref(weight)), "describe weights")
        self._check(lib.cudnnSetFilter4dDescriptor(weight, kind, form, *g.weight), "describe weights")
        self._check(lib.cudnnCreateConvolutionDescriptor(ctypes.byref(conv)), "describe a convolution")
        sizes = (*g.pad, *g.stride, *g.dilation)
        computed = TYPES[arithmetic(g.dtype).name]
        self._check(lib.cudnnSetConvolution2dDescriptor(conv, *sizes, CROSS_CORRELATION, computed), "describe it")
        self._check(lib.cudnnSetConvolutionGroupCount(conv, g.groups), "use groups")
        math = TENSOR_CORES if is_16_bit(g.dtype) else DEFAULT_MATH if g.tf32 else FMA_MATH
        self._check(lib.cudnnSetConvolutionMathType(conv, math), "choose its arithmetic")
        self._descriptors[g] = wide, weight, narrow, conv
        return self._descriptors[g]

    def _algorithm(self, product: str, g: Geometry) -> tuple[int, int] | None:
        """(algorithm, bytes of workspace), the fastest; None where no algorithm is usable."""
        key = product, g, self._gpu.timed_plans
        if key not in self._algorithms:
            wide, weight, narrow, conv = self._make(g)
            order = {
                "Forward": (wide, weight, conv, narrow),
                "BackwardFilter": (wide, narrow, conv, weight),
                "BackwardData": (weight, narrow, conv, wide),
            }[product]
            results, count = (Performance * REQUESTED)(), ctypes.c_int()
            ask = getattr(self._lib, f"cudnnGetConvolution{product}Algorithm_v7")
            status = ask(self._handle, *order, REQUESTED, ctypes.byref(count), results)
            fit: dict[int, int] = {}
            for r in results[: count.value] if status == 0 else ():
                if r.status == 0 and r.determinism == DETERMINISTIC and r.memory <= MOST_WORKSPACE:
                    fit[r.algo] = max(r.memory, fit.get(r.algo, 0))  # one algorithm may be there for each arithmetic
            self._algorithms[key] = self._fastest(product, g, fit) if fit else None
        return self._algorithms[key]

    def _fastest(self, product: str, g: Geometry, fit: dict[int, int]) -> tuple[int, int]:
        """One of some algorithms with their bytes of workspace, which cuDNN expects to be slower and slower."""
        shapes = {
            "Forward": (g.wide, g.weight, g.narrow), "BackwardFilter": (g.wide, g.narrow, g.weight),
            "BackwardData": (g.weight, g.narrow, g.wide),
        }[product]  # fmt: skip

        def ways() -> Iterator[Way]:
            for algorithm, size in fit.items():
                run = partial(self._launch, product, g, algorithm, size)
                yield str(algorithm), lambda *arrays, run=run: run(arrays, False)

        chosen = self._gpu.fastest(
            ("cuDNN's algorithm", product, g), [(shape, g.dtype) for shape in shapes], ways,
            Check(f"{product} of {g}", called="algorithm {} of cuDNN"),
        )  # fmt: skip
        algorithm = next(iter(fit)) if chosen is None else int(chosen)
        return algorithm, fit[algorithm]

    def serves(self, product: str, g: Geometry) -> bool:
        """Whether there is an algorithm for a product: forward, data or weight."""
        try:
            return product in PRODUCTS and self._algorithm(PRODUCTS[product], g) is not None
        except EngineError as error:
            log.debug("cuDNN does not take %s: %s", g, error)
            return False

    def _run(self, product: str, g: Geometry, arrays: Sequence[Any], add: bool) -> bool:
        found = self._algorithm(product, g)
        if found is None:
            raise EngineError(f"cuDNN has no algorithm for {g}")
        self._launch(product, g, *found, arrays, add)
        return True

    def _launch(
        self, product: str, g: Geometry, algorithm: int, size: int, arrays: Sequence[Any], add: bool
    ) -> None:  # fmt: skip
        """Compute a product. arrays: the two operands in cuDNN's order, and the result, to which it is added or not."""
        wide, weight, narrow, conv = self._make(g)
        *operands, target = {
            "Forward": (wide, weight, narrow), "BackwardFilter": (wide, narrow, weight),
            "BackwardData": (weight, narrow, wide),
        }[product]  # fmt: skip
        workspace = self._gpu.workspace(max(1, -(-size // 8)), np.float64)
        scalar: Any = ctypes.c_double if g.dtype == "float64" else ctypes.c_float
        one, factor = scalar(1), scalar(1 if add else 0)
        *inputs, out = (ctypes.c_void_p(array.data.ptr) for array in arrays)
        pairs = [x for pair in zip(operands, inputs, strict=True) for x in pair]
        self._check(
            getattr(self._lib, f"cudnnConvolution{product}")(
                self._handle, ctypes.byref(one), *pairs, conv, algorithm, ctypes.c_void_p(workspace.data.ptr),
                ctypes.c_size_t(size), ctypes.byref(factor), target, out,
            ),
            f"compute Convolution{product}",
        )  # fmt: skip

    def narrow_from_wide(
        self, g: Geometry, wide: Any, weight: Any, narrow: Any, bias: Any = None, relu: bool = False
    ) -> bool:
        """Compute narrow = the convolution of wide."""
        assert bias is None
        assert not relu
        return self._run("Forward", g, (wide, weight, narrow), False)

    def wide_from_narrow(self, g: Geometry, narrow: Any, weight: Any, wide: Any) -> bool:
        """Compute wide = the transposed convolution of narrow."""
        return self._run("BackwardData", g, (weight, narrow, wide), False)

    def weight_gradient(self, g: Geometry, wide: Any, narrow: Any, diff: Any, add: bool) -> bool:
        """Compute diff = the weights' gradient, or += with `add`."""
        return self._run("BackwardFilter", g, (wide, narrow, diff), add)
