"""The C interface of oneDNN 3.x: finds the library, declares every function used, turns statuses into errors.

No other file of Dragon has a C signature of oneDNN, so moving to another release changes this file only.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterator, Sequence
from ctypes import POINTER, Structure, c_char_p, c_float, c_int, c_int64, c_size_t, c_uint, c_void_p
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, NamedTuple

from dragon.engines.onednn.library.constants import MAX_NDIMS, Status
from dragon.errors import EngineError
from dragon.memory.shortage import LESS

__all__ = ["CArray", "ExecArg", "Library", "UnimplementedError", "check", "dims", "floats", "library"]

LIBRARY_VARIABLE = "ONEDNN_LIBRARY"
WHEEL = "onednn-cpu-gomp"
SONAME = "libdnnl.so.3"
MAJOR = 3

_Dims = c_int64 * MAX_NDIMS


class ExecArg(Structure):
    """One argument of an execution: its number and a memory object (16 bytes with padding)."""

    _fields_ = (("arg", c_int), ("memory", c_void_p))


class _Version(Structure):
    _fields_ = (
        ("major", c_int),
        ("minor", c_int),
        ("patch", c_int),
        ("hash", c_char_p),
        ("cpu_runtime", c_uint),
        ("gpu_runtime", c_uint),
    )


class UnimplementedError(EngineError):
    """The library has no implementation for this case on this CPU; the caller may use the reference."""


_P = c_void_p  # any handle: engine, stream, descriptor, primitive, attributes
_OUT = POINTER(c_void_p)
_DIMS = POINTER(c_int64)
_WINDOW = [_DIMS] * 4  # strides, dilations, left padding, right padding
_LRN = [c_int64, c_float, c_float, c_float]  # size, alpha, beta, k
_NORM = [c_float, c_uint]  # epsilon, flags

# name -> argument types, in the order of the header; all return a status unless named in _RESULTS
_FUNCTIONS: dict[str, list[Any]] = {
    "engine_create": [_OUT, c_int, c_size_t],
    "engine_destroy": [_P],
    "stream_create": [_OUT, _P, c_uint],
    "stream_destroy": [_P],
    "memory_desc_create_with_strides": [_OUT, c_int, _DIMS, c_int, _DIMS],
    "memory_desc_create_with_tag": [_OUT, c_int, _DIMS, c_int, c_int],
    "memory_desc_create_submemory": [_OUT, _P, _DIMS, _DIMS],
    "memory_desc_reshape": [_OUT, _P, c_int, _DIMS],
    "memory_desc_permute_axes": [_OUT, _P, POINTER(c_int)],
    "memory_desc_destroy": [_P],
    "memory_desc_query": [_P, c_int, c_void_p],
    "memory_desc_equal": [_P, _P],
    "memory_desc_get_size": [_P],
    "memory_create": [_OUT, _P, _P, c_void_p],
    "memory_set_data_handle": [_P, c_void_p],
    "memory_destroy": [_P],
    "primitive_attr_create": [_OUT],
    "primitive_attr_destroy": [_P],
    "primitive_attr_set_scratchpad_mode": [_P, c_int],
    "primitive_attr_set_post_ops": [_P, _P],
    "primitive_attr_set_scales_mask": [_P, c_int, c_int],
    "post_ops_create": [_OUT],
    "post_ops_destroy": [_P],
    "post_ops_append_sum": [_P, c_float, c_int, c_int],
    "post_ops_append_eltwise": [_P, c_int, c_float, c_float],
    "post_ops_append_binary": [_P, c_int, _P],
    "primitive_desc_query": [_P, c_int, c_int, c_void_p],
    "primitive_desc_query_md": [_P, c_int, c_int],
    "primitive_desc_destroy": [_P],
    "primitive_create": [_OUT, _P],
    "primitive_destroy": [_P],
    "primitive_execute": [_P, _P, c_int, POINTER(ExecArg)],
    "reorder_primitive_desc_create": [_OUT, _P, _P, _P, _P, _P],
    "concat_primitive_desc_create": [_OUT, _P, _P, c_int, c_int, POINTER(c_void_p), _P],
    "sum_primitive_desc_create": [_OUT, _P, _P, c_int, POINTER(c_float), POINTER(c_void_p), _P],
    "binary_primitive_desc_create": [_OUT, _P, c_int, _P, _P, _P, _P],
    "eltwise_forward_primitive_desc_create": [_OUT, _P, c_int, c_int, _P, _P, c_float, c_float, _P],
    "eltwise_backward_primitive_desc_create": [_OUT, _P, c_int, _P, _P, _P, c_float, c_float, _P, _P],
    "softmax_forward_primitive_desc_create": [_OUT, _P, c_int, c_int, _P, _P, c_int, _P],
    "softmax_backward_primitive_desc_create": [_OUT, _P, c_int, _P, _P, _P, c_int, _P, _P],
    "lrn_forward_primitive_desc_create": [_OUT, _P, c_int, c_int, _P, _P, *_LRN, _P],
    "lrn_backward_primitive_desc_create": [_OUT, _P, c_int, _P, _P, _P, *_LRN, _P, _P],
    "batch_normalization_forward_primitive_desc_create": [_OUT, _P, c_int, _P, _P, *_NORM, _P],
    "batch_normalization_backward_primitive_desc_create": [_OUT, _P, c_int, _P, _P, _P, *_NORM, _P, _P],
    "layer_normalization_forward_primitive_desc_create": [_OUT, _P, c_int, _P, _P, _P, *_NORM, _P],
    "layer_normalization_backward_primitive_desc_create": [_OUT, _P, c_int, _P, _P, _P, _P, *_NORM, _P, _P],
    "prelu_forward_primitive_desc_create": [_OUT, _P, c_int, _P, _P, _P, _P],
    "prelu_backward_primitive_desc_create": [_OUT, _P, _P, _P, _P, _P, _P, _P, _P],
    "inner_product_forward_primitive_desc_create": [_OUT, _P, c_int, _P, _P, _P, _P, _P],
    "inner_product_backward_data_primitive_desc_create": [_OUT, _P, _P, _P, _P, _P, _P],
    "inner_product_backward_weights_primitive_desc_create": [_OUT, _P, _P, _P, _P, _P, _P, _P],
    "matmul_primitive_desc_create": [_OUT, *[_P] * 6],
    "reduction_primitive_desc_create": [_OUT, _P, c_int, _P, _P, c_float, c_float, _P],
    "resampling_forward_primitive_desc_create": [_OUT, _P, c_int, c_int, POINTER(c_float), _P, _P, _P],
    "resampling_backward_primitive_desc_create": [_OUT, _P, c_int, POINTER(c_float), _P, _P, _P, _P],
    "pooling_forward_primitive_desc_create": [_OUT, _P, c_int, c_int, _P, _P, *[_DIMS] * 5, _P],
    "pooling_backward_primitive_desc_create": [_OUT, _P, c_int, _P, _P, *[_DIMS] * 5, _P, _P],
    "get_effective_cpu_isa": [],
}
for _kind in ("convolution", "deconvolution"):
    _FUNCTIONS |= {
        f"{_kind}_forward_primitive_desc_create": [_OUT, _P, c_int, c_int, _P, _P, _P, _P, *_WINDOW, _P],
        f"{_kind}_backward_data_primitive_desc_create": [_OUT, _P, c_int, _P, _P, _P, *_WINDOW, _P, _P],
        f"{_kind}_backward_weights_primitive_desc_create": [_OUT, _P, c_int, *[_P] * 4, *_WINDOW, _P, _P],
    }

_RESULTS: dict[str, Any] = {
    "memory_desc_get_size": c_size_t,
    "primitive_desc_query_md": c_void_p,
}


class Library:
    """The loaded library: each function of the table as an attribute without the ``dnnl_`` prefix.

    Raises EngineError if the file cannot be loaded, is not oneDNN 3.x or lacks a function.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.cdll = ctypes.CDLL(path)
        except OSError as error:
            if "libgomp" in str(error):
                message = f"oneDNN needs the system library libgomp.so.1 (package libgomp1): {error}"
                raise EngineError(message) from None
            raise EngineError(f"cannot load oneDNN from {path}: {error}") from None
        self.version = self._read_version()
        if self.version[0] != MAJOR:
            text = ".".join(map(str, self.version))
            raise EngineError(f"{path}: expected oneDNN {MAJOR}.x, found {text}")
        for name, types in _FUNCTIONS.items():
            setattr(self, name, self._function(f"dnnl_{name}", types, _RESULTS.get(name, c_int)))

    def __getattr__(self, name: str) -> Any:  # for the type checker; real attributes come from the table
        raise AttributeError(name)

    def _function(self, name: str, types: list[Any], result: Any) -> Any:
        try:
            function = self.cdll[name]
        except AttributeError:
            raise EngineError(f"{self.path}: not a usable oneDNN, the function {name} is missing") from None
        function.argtypes = types
        function.restype = result
        return function

    def _read_version(self) -> tuple[int, int, int]:
        version = self._function("dnnl_version", [], POINTER(_Version))().contents
        return int(version.major), int(version.minor), int(version.patch)


@dataclass(frozen=True)
class CArray:
    """A C array as an argument; equal for equal values. The pointer keeps the array alive."""

    values: tuple[Any, ...]
    _as_parameter_: Any = field(compare=False)


@lru_cache(4096)
def dims(values: tuple[int, ...]) -> CArray:
    """A C array of dimensions; the library reads as many as the descriptor has."""
    return CArray(values, ctypes.cast(_Dims(*values), _DIMS))


def floats(values: Sequence[float]) -> CArray:
    """A C array of floats."""
    return CArray(tuple(values), ctypes.cast((c_float * len(values))(*values), POINTER(c_float)))


class _Candidate(NamedTuple):
    path: str
    required: bool  # named by the user, so that a failure is reported


def _candidates() -> Iterator[_Candidate]:
    named = os.environ.get(LIBRARY_VARIABLE)
    if named:
        yield _Candidate(named, True)
        return
    for path in _recorded() or _in_metadata():
        yield _Candidate(path, False)
    yield _Candidate(SONAME, False)
    import ctypes.util

    found = ctypes.util.find_library("dnnl")
    if found:
        yield _Candidate(found, False)


def _recorded() -> list[str]:
    """The library's path from the list of files that the wheel leaves in its .dist-info folder, if that is found.

    The module importlib.metadata knows further places, and takes longer to load than a small net.
    """
    folder = re.compile(re.sub(r"[-_.]+", "[-_.]+", WHEEL) + r"-[^-]*\.dist-info", re.IGNORECASE)
    for place in dict.fromkeys(path or os.curdir for path in sys.path):
        try:
            found = [name for name in os.listdir(place) if folder.fullmatch(name)]
            for name in found:
                with open(os.path.join(place, name, "RECORD"), encoding="utf-8") as lines:
                    files = [line.rsplit(",", 2)[0].strip('"') for line in lines]
                return [os.path.join(place, file) for file in files if file.rsplit("/", 1)[-1] == SONAME]
        except OSError:
            continue
    return []


def _in_metadata() -> list[str]:
    """The same by importlib.metadata."""
    import importlib.metadata

    try:
        files = importlib.metadata.files(WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [str(file.locate()) for file in files if file.name == SONAME]


@cache
def library() -> Library:
    """The process's oneDNN: ONEDNN_LIBRARY, else the wheel's file, else the system's.

    Raises EngineError, with one line that says why, if none can be used.
    """
    reason = ""
    for path, required in _candidates():
        try:
            return Library(path)
        except EngineError as error:
            if required:
                raise EngineError(f"{LIBRARY_VARIABLE}: {error}") from None
            reason = reason or str(error)
    raise EngineError(reason)


def check(status: int, operation: str, layer: str = "") -> None:
    """Raise EngineError naming the layer, the operation and oneDNN's status, unless it is success."""
    if status == Status.success:
        return
    name = Status(status).name if status in Status._value2member_map_ else f"status {status}"
    kind = UnimplementedError if status == Status.unimplemented else EngineError
    where = f"layer {layer}: " if layer else ""
    if status == Status.out_of_memory:
        raise EngineError(f"{where}oneDNN {operation}: out of memory; {LESS}")
    raise kind(f"{where}oneDNN {operation}: {name}")
