"""A stand-in for the CuPy calls that the engine and the layers make, on NumPy arrays and emulated kernels.

It is as strict as CuPy where that matters: NumPy arrays do not mix with its own, nothing converts by itself, a kernel's
arguments must have the exact types, and while a stream is being captured nothing runs, copies to the host are refused
and so is cuBLAS behind array functions. `counts` tells how often memory went to and from the host.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tests.engines.cuda.emulation import memory, streams
from tests.engines.cuda.emulation.compiler import Parameter, build
from tests.engines.cuda.emulation.memory import TO_DEVICE, TO_HOST, Memory, MemoryPool, Pointer, exposed, new_block
from tests.engines.cuda.emulation.streams import (
    CUDARuntimeError,
    Event,
    Graph,
    Stream,
    capturing,
    counts,
    delayed,
    refuse_library,
    refuse_transfer,
    run,
    use,
)  # fmt: skip

__all__ = [
    "CUDARuntimeError", "Event", "Graph", "Memory", "MemoryPool", "Stream", "counts", "delayed", "exposed", "make",
    "reset", "run",
]  # fmt: skip

MULTIPROCESSORS = 3
SHARED, MOST_SHARED = 48 << 10, 99 << 10  # bytes of a block as it is, and where a kernel asks for more
INVALID_VALUE = 1


def reset() -> None:
    """Forget what earlier tests left."""
    streams.reset()
    exposed.clear()
    Memory.recycled.clear()


# -- arrays ------------------------------------------------------------------------------------------------------
# functions behind which CuPy calls a library of NVIDIA's
LIBRARIES = {
    **dict.fromkeys(("matmul", "dot", "einsum", "tensordot", "inner", "vdot"), "cuBLAS"), "_eigh": "cuSOLVER",
}  # fmt: skip
COUNTED = ("nonzero", "argwhere", "flatnonzero", "unique", "repeat")  # the host has to know how long the result is


def unwrap(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value.a
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (list, tuple)):
        return type(value)([unwrap(v) for v in value])
    return value


def wrap(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(np.asarray(value))
    if isinstance(value, (list, tuple)):
        return type(value)([wrap(v) for v in value])
    return value


def apply(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a NumPy function on the arrays inside; in a capture record it instead."""
    raw, named = [unwrap(a) for a in args], {k: unwrap(v) for k, v in kwargs.items()}
    out = kwargs.get("out")
    if isinstance(out, tuple):
        (out,) = out
    nodes = capturing()
    if nodes is None:
        Stream.current.drain()
        result = function(*raw, **named)
        return out if out is not None else wrap(result)
    name = getattr(function, "__name__", "")
    if name in LIBRARIES:
        refuse_library(LIBRARIES[name])
    if name in COUNTED or (name == "_getitem" and _is_counted(raw[1])):
        refuse_transfer("D2H")
    if name == "_getitem" and any(isinstance(k, list) for k in (raw[1] if isinstance(raw[1], tuple) else (raw[1],))):
        refuse_transfer("H2D")
    if out is not None:
        nodes.append(lambda: function(*raw, **named))
        return out
    with np.errstate(all="ignore"):
        result = function(*raw, **named)  # for its shape and type: its value comes with the replay
    if isinstance(result, np.ndarray) and any(
        isinstance(a, np.ndarray) and np.may_share_memory(a, result) for a in raw
    ):
        return wrap(result)
    result = np.asarray(result)
    nodes.append(lambda: np.copyto(result, function(*raw, **named)))
    return ndarray(result)


class ndarray:
    """An array "on the device"; `a` is the NumPy array that stands for its memory."""

    __slots__ = ("a",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, a: np.ndarray[Any, Any]) -> None:
        self.a = a

    shape = property(lambda self: self.a.shape)
    dtype = property(lambda self: self.a.dtype)
    size = property(lambda self: self.a.size)
    ndim = property(lambda self: self.a.ndim)
    nbytes = property(lambda self: self.a.nbytes)
    itemsize = property(lambda self: self.a.itemsize)
    strides = property(lambda self: self.a.strides)
    flags = property(lambda self: self.a.flags)
    T = property(lambda self: ndarray(self.a.T))
    data = property(Pointer)

    # host
    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> Any:
        refuse_transfer("D2H")
        counts["to host"] += 1
        (stream or Stream.current).synchronize()
        if out is not None:
            np.copyto(out, self.a)
            return out
        return self.a.copy()

    def set(self, host: Any, stream: Any = None) -> None:
        refuse_transfer("H2D")
        counts["to device"] += 1
        if host.shape != self.shape or host.dtype != self.dtype:
            raise ValueError("Shape or type mismatch")
        value, a = host.copy(), self.a
        (stream or Stream.current).add(lambda: np.copyto(a, value))

    def item(self) -> Any:
        return self.get().item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    __index__ = __int__

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct one.")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return apply(getattr(ufunc, method) if method != "__call__" else ufunc, *inputs, **kwargs)

    def __array_function__(self, function: Any, types_: Any, args: Any, kwargs: Any) -> Any:
        return apply(function, *args, **kwargs)

    def __len__(self) -> int:
        return len(self.a)

    # views and items
    def __getitem__(self, key: Any) -> Any:
        return apply(_getitem, self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        at, new, a = unwrap(key), unwrap(value), self.a
        run(lambda: a.__setitem__(at, new))

    def fill(self, value: Any) -> None:
        self[...] = value


def _getitem(a: Any, key: Any) -> Any:
    return a[key]


def _is_counted(key: Any) -> bool:
    """Whether the shape of what an index picks depends on values."""
    return any(isinstance(k, np.ndarray) and k.dtype == bool for k in (key if isinstance(key, tuple) else (key,)))


def _eigh(a: Any) -> Any:
    return tuple(np.linalg.eigh(a))


METHODS = (
    "reshape", "ravel", "sum", "max", "min", "mean", "argmax", "argmin", "any", "all", "astype", "copy", "swapaxes",
    "transpose", "squeeze", "cumsum", "prod", "view", "take", "repeat", "var", "std", "nonzero", "argsort", "sort",
    "flatten", "clip", "dot", "conj",
)  # fmt: skip


def _add_methods() -> None:
    def method(name: str) -> Callable[..., Any]:
        def call(self: ndarray, *args: Any, **kwargs: Any) -> Any:
            function = getattr(np.ndarray, name)
            return apply(function, self, *args, **kwargs)

        return call

    for name in METHODS:
        setattr(ndarray, name, method(name))
    binary = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift"
    ufuncs = dict(
        zip(
            binary.split(),
            (np.add, np.subtract, np.multiply, np.true_divide, np.floor_divide, np.remainder, np.power, np.matmul,
             np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.left_shift, np.right_shift),
            strict=True,
        )
    )  # fmt: skip
    for name, ufunc in ufuncs.items():
        setattr(ndarray, f"__{name}__", lambda s, o, f=ufunc: apply(f, s, o))
        setattr(ndarray, f"__r{name}__", lambda s, o, f=ufunc: apply(f, o, s))
        setattr(ndarray, f"__i{name}__", lambda s, o, f=ufunc: apply(f, s, o, out=s))
    for name, ufunc in {
        "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
        "ne": np.not_equal,
    }.items():  # fmt: skip
        setattr(ndarray, f"__{name}__", lambda s, o, f=ufunc: apply(f, s, o))
    for name, ufunc in {"neg": np.negative, "invert": np.invert, "abs": np.absolute}.items():
        setattr(ndarray, f"__{name}__", lambda s, f=ufunc: apply(f, s))


_add_methods()


def allocate(shape: Any, dtype: Any = np.float64) -> ndarray:
    a = new_block(shape, dtype)
    if a.dtype.kind == "f":
        run(lambda: a.fill(np.nan))  # nobody may rely on what new memory holds
    elif a.dtype == np.uint16:
        run(lambda: a.fill(0x7FC0))  # the same of bfloat16
    return ndarray(a)


def zeros(shape: Any, dtype: Any = np.float64) -> ndarray:
    a = new_block(shape, dtype)
    run(lambda: a.fill(0))
    return ndarray(a)


def asarray(value: Any, dtype: Any = None) -> ndarray:
    if isinstance(value, ndarray):
        return value if dtype is None or value.dtype == dtype else value.astype(dtype)  # type: ignore[attr-defined]
    host = np.asarray(value, dtype)
    array = ndarray(new_block(host.shape, host.dtype))
    array.set(host)
    return array


# -- kernels -----------------------------------------------------------------------------------------------------
POINTED = {"int*": "int32", "unsigned char*": "uint8", "double*": "float64", "word*": "uint64"}


def owner_of(array: ndarray) -> tuple[int, int, weakref.ref[Any]]:
    """The memory of an array, and whom it belongs to."""
    base = array.a
    while isinstance(base.base, np.ndarray):
        base = base.base
    start = int(array.a.ctypes.data)
    return start, start + array.nbytes, weakref.ref(base)


class RawKernel:
    def __init__(self, library: Any, name: str) -> None:
        self.library, self.name = library, name
        self.parameters: tuple[Parameter, ...] = library.kernels[name]
        self._most_shared = SHARED

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self._most_shared

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        if size > MOST_SHARED:
            raise CUDARuntimeError(INVALID_VALUE)
        self._most_shared = size

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], *, shared_mem: int = 0
    ) -> None:
        if shared_mem > self._most_shared:
            raise CUDARuntimeError(INVALID_VALUE)
        if len(args) != len(self.parameters):
            raise TypeError(f"{self.name} takes {len(self.parameters)} arguments, got {len(args)}")
        counts["launches"] += 1
        counts[f"launches of {self.name}"] += 1
        values: list[bytes] = []
        ranges: list[tuple[int, int, int]] = []
        for i, (parameter, arg) in enumerate(zip(self.parameters, args, strict=True)):
            values.append(self._value(parameter, arg, i, ranges))
        keep = list(args)
        known = {*POINTED, *self.library.dtypes}
        if any(p.is_pointer and p.type not in known for p in self.parameters):
            ranges += [(start, stop, -1) for start, (stop, ref) in exposed.items() if ref() is not None]

        owners = [owner_of(arg) for arg in args if isinstance(arg, ndarray)]
        everywhere = any(p.is_pointer and p.type not in known for p in self.parameters)
        use(Stream.current, None if everywhere else owners)

        def action() -> None:
            self.library.launch(self.name, grid, block, values, ranges, shared_mem)
            assert keep is not None

        run(action)

    def _value(self, parameter: Parameter, arg: Any, i: int, ranges: list[tuple[int, int, int]]) -> bytes:
        size = self.library.size_of(parameter)
        what = f"{self.name}'s {parameter.name} ({parameter.type})"
        if parameter.is_pointer:
            if isinstance(arg, np.integer) and arg.itemsize == 8 and arg == 0:
                return bytes(8)
            if not isinstance(arg, ndarray):
                raise TypeError(f"{what} needs an array of the device, got {arg!r}")
            wanted = self.library.dtypes.get(parameter.type) or POINTED.get(parameter.type, "")
            if wanted and arg.dtype != wanted:
                raise TypeError(f"{what} needs {wanted}, got {arg.dtype}")
            if not arg.flags.c_contiguous:
                raise TypeError(f"{what} needs a contiguous array")
            start = int(arg.a.ctypes.data)
            ranges.append((start, start + arg.nbytes, i))
            return start.to_bytes(8, "little")
        kinds = "iu" if parameter.type not in ("real", "float", "double") else "f"
        if not isinstance(arg, np.generic) or arg.itemsize != size or arg.dtype.kind not in kinds:
            raise TypeError(f"{what} needs a scalar of {size} bytes, got {arg!r}")
        if parameter.type == "word":  # maybe the address of pinned memory
            ranges += [(start, stop, i) for start, stop in memory.pinned_at(int(arg))]
        return arg.tobytes()


class RawModule:
    def __init__(self, *, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc") -> None:
        given = dict(o.removeprefix("-D").split("=") for o in options if o.startswith("-D"))
        self._library = build(code, given["REAL"], given.get("STORED", ""))

    def get_function(self, name: str) -> RawKernel:
        return RawKernel(self._library, name)


# -- the modules -------------------------------------------------------------------------------------------------
class Nvrtc:
    """The compiler, for the empty kernel that shows whether it works."""

    @staticmethod
    def getVersion() -> tuple[int, int]:
        return 13, 0

    @staticmethod
    def createProgram(source: str, name: str, headers: tuple[str, ...], names: tuple[str, ...]) -> int:
        counts["programs of NVRTC"] += 1
        return 1

    @staticmethod
    def compileProgram(program: int, options: tuple[str, ...]) -> None:
        pass

    @staticmethod
    def getProgramLog(program: int) -> str:
        return ""

    @staticmethod
    def destroyProgram(program: int) -> None:
        counts["programs of NVRTC"] -= 1


class Device:
    compute_capability = "90"
    current: ClassVar[list[int]] = [0]  # the last one is used

    def __init__(self, device: int | None = None) -> None:
        self.id = device or 0

    def __enter__(self) -> Device:
        self.current.append(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        self.current.pop()


def make(devices: int = 1) -> dict[str, types.ModuleType]:
    """The modules to put into sys.modules, with so many devices."""
    cupy = types.ModuleType("cupy")
    cuda, runtime = types.ModuleType("cupy.cuda"), types.ModuleType("cupy.cuda.runtime")
    stride_tricks = types.SimpleNamespace(
        as_strided=lambda x, shape, strides: ndarray(np.lib.stride_tricks.as_strided(x.a, shape, strides))
    )
    own: dict[str, Any] = {
        "__version__": "14.0.0", "ndarray": ndarray, "RawModule": RawModule, "empty": allocate, "zeros": zeros,
        "asarray": asarray, "array": asarray, "cuda": cuda,
        "empty_like": lambda x, dtype=None: allocate(x.shape, dtype or x.dtype),
        "zeros_like": lambda x, dtype=None: zeros(x.shape, dtype or x.dtype),
        "lib": types.SimpleNamespace(stride_tricks=stride_tricks),
        "linalg": types.SimpleNamespace(eigh=lambda x: apply(_eigh, x)),
        "asnumpy": lambda x: x.get(),
        "get_default_memory_pool": memory.default_pool,
    }  # fmt: skip
    for name, value in own.items():
        setattr(cupy, name, value)

    def from_numpy(name: str) -> Any:
        value = getattr(np, name)
        if isinstance(value, type) or not callable(value):
            return value
        if name in ("finfo", "iinfo", "dtype", "result_type", "can_cast"):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            return apply(value, *args, **kwargs)

        if isinstance(value, np.ufunc):
            call.at = lambda *args: apply(value.at, *args)  # type: ignore[attr-defined]
        return call

    cupy.__getattr__ = from_numpy  # type: ignore[method-assign]
    for name, value in {
        "Device": Device, "Stream": Stream, "Event": Event, "Graph": Graph, "MemoryPool": MemoryPool,
        "using_allocator": memory.using_allocator, "alloc_pinned_memory": memory.alloc_pinned_memory,
        "get_elapsed_time": streams.get_elapsed_time, "get_current_stream": lambda: Stream.current,
        "memory": types.SimpleNamespace(OutOfMemoryError=memory.OutOfMemoryError), "runtime": runtime,
        "nvrtc": Nvrtc, "cublas": types.ModuleType("cublas"),
    }.items():  # fmt: skip
        setattr(cuda, name, value)
    for name, value in {
        "getDeviceCount": lambda: devices, "CUDARuntimeError": CUDARuntimeError,
        "streamCaptureModeThreadLocal": streams.THREAD_LOCAL, "streamCaptureModeRelaxed": streams.RELAXED,
        "memcpyAsync": memory.memcpy_async, "memcpyHostToDevice": TO_DEVICE, "memcpyDeviceToHost": TO_HOST,
        "streamQuery": streams.query, "deviceSynchronize": streams.synchronize_all,
        "getDeviceProperties": lambda _: {
            "multiProcessorCount": MULTIPROCESSORS, "name": b"emulated",
            "major": 9, "minor": 0, "totalGlobalMem": 3 << 29,
        },
        "deviceGetAttribute": lambda attribute, _: {97: MOST_SHARED}[attribute],
        "deviceGetPCIBusId": lambda device: f"0000:{device:02X}:00.0",
        "driverGetVersion": lambda: 13000, "runtimeGetVersion": lambda: 13020,
    }.items():  # fmt: skip
        setattr(runtime, name, value)
    return {"cupy": cupy, "cupy.cuda": cuda, "cupy.cuda.runtime": runtime}
