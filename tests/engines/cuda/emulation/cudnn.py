"""The cuDNN functions that the engine calls, on NumPy: same names, same C arguments."""

from __future__ import annotations

import ctypes
import itertools
from typing import Any

import numpy as np

from dragon.engines.cuda.device.cudnn import Performance
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.memory import owner_at
from tests.engines.cuda.emulation.sixteen import put, wide
from tests.engines.cuda.emulation.timing import PLANS

TYPES: dict[int, Any] = {0: np.float32, 1: np.float64, 2: np.float16, 9: np.uint16}
BAD_PARAM, NOT_SUPPORTED = 3, 9
ROUNDING, SLOW, EXACT, GREEDY = 1, 3, 2, 4  # algorithms: results of the first vary, the last wants too much workspace
COSTS = {SLOW: 30, EXACT: 20}


class Cudnn:
    """Descriptors are numbers of entries in `made`."""

    def __init__(self) -> None:
        self.made: dict[int, dict[str, Any]] = {}
        self._number = 0

    def _create(self, pointer: Any) -> int:
        self._number = number = self._number + 1
        self.made[number] = {}
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_void_p)).contents.value = number
        return 0

    cudnnCreate = cudnnCreateTensorDescriptor = cudnnCreateFilterDescriptor = _create
    cudnnCreateConvolutionDescriptor = _create

    def cudnnSetStream(self, handle: Any, stream: Any) -> int:
        return 0

    def cudnnSetTensor4dDescriptor(self, descriptor: Any, form: int, kind: int, *shape: int) -> int:
        self.made[descriptor.value] = {"shape": shape, "dtype": TYPES[kind], "form": form}
        return 0

    def cudnnSetFilter4dDescriptor(self, descriptor: Any, kind: int, form: int, *shape: int) -> int:
        self.made[descriptor.value] = {"shape": shape, "dtype": TYPES[kind], "form": form}
        return 0

    def cudnnSetConvolution2dDescriptor(self, descriptor: Any, *sizes: int) -> int:
        self.made[descriptor.value] = {
            "pad": sizes[:2], "stride": sizes[2:4], "dilation": sizes[4:6], "compute": TYPES[sizes[7]],
        }  # fmt: skip
        return 0

    def cudnnSetConvolutionGroupCount(self, descriptor: Any, groups: int) -> int:
        self.made[descriptor.value]["groups"] = groups
        return 0

    def cudnnSetConvolutionMathType(self, descriptor: Any, math: int) -> int:
        self.made[descriptor.value]["math"] = math
        return 0

    def _algorithms(self, *args: Any) -> int:
        *_, count, results = args
        ctypes.cast(count, ctypes.POINTER(ctypes.c_int)).contents.value = 4
        results[0] = Performance(algo=ROUNDING, status=0, determinism=0, memory=0)
        results[1] = Performance(algo=GREEDY, status=0, determinism=1, memory=1 << 40)
        results[2] = Performance(algo=SLOW, status=0, determinism=1, memory=64)
        results[3] = Performance(algo=EXACT, status=0, determinism=1, memory=128)
        return 0

    cudnnGetConvolutionForwardAlgorithm_v7 = cudnnGetConvolutionBackwardFilterAlgorithm_v7 = _algorithms
    cudnnGetConvolutionBackwardDataAlgorithm_v7 = _algorithms

    def cudnnConvolutionForward(self, handle: Any, alpha: Any, x: Any, x_at: Any, w: Any, w_at: Any, *rest: Any) -> int:
        return self._product("y", (x, x_at), (w, w_at), None, rest)

    def cudnnConvolutionBackwardData(
        self, handle: Any, alpha: Any, w: Any, w_at: Any, dy: Any, dy_at: Any, *rest: Any
    ) -> int:
        return self._product("x", None, (w, w_at), (dy, dy_at), rest)

    def cudnnConvolutionBackwardFilter(
        self, handle: Any, alpha: Any, x: Any, x_at: Any, dy: Any, dy_at: Any, *rest: Any
    ) -> int:
        return self._product("w", (x, x_at), None, (dy, dy_at), rest)

    def _array(self, pair: Any) -> Any:
        made = self.made[pair[0].value]
        count = int(np.prod(made["shape"]))
        size, start = count * np.dtype(made["dtype"]).itemsize, pair[1].value
        if owner_at(start, start + size) is None:
            raise MemoryError("cuDNN: not inside an array")
        raw = (ctypes.c_char * size).from_address(start)
        flat, (n, c, h, w) = np.frombuffer(raw, made["dtype"]), made["shape"]
        return flat.reshape(n, h, w, c).transpose(0, 3, 1, 2) if made["form"] else flat.reshape(n, c, h, w)

    def _product(self, wanted: str, x: Any, w: Any, y: Any, rest: Any) -> int:
        conv, algorithm, _, _, beta, target, out = rest
        if algorithm not in COSTS:
            return NOT_SUPPORTED
        standin.counts[PLANS] += COSTS[algorithm]
        standin.counts[f"algorithm {algorithm}"] += 1
        settings = self.made[conv.value]
        arrays = {k: self._array(p) for k, p in (("x", x), ("w", w), ("y", y)) if p is not None}
        result = arrays[wanted] = self._array((target, out))
        if len({array.dtype for array in arrays.values()}) > 1:
            return BAD_PARAM
        if settings["compute"] != (np.float64 if result.dtype == np.float64 else np.float32):
            return NOT_SUPPORTED
        real = ctypes.c_double if result.dtype == np.float64 else ctypes.c_float
        keep = ctypes.cast(beta, ctypes.POINTER(real)).contents.value
        standin.counts["cudnn"] += 1

        def action() -> None:
            values = {name: wide(array, settings["compute"]) for name, array in arrays.items()}
            before = values[wanted] * keep if keep else 0
            values[wanted] = np.zeros_like(values[wanted])
            _convolve(wanted, values, settings)
            put(result, values[wanted] + before)

        standin.run(action)
        return 0


def _convolve(wanted: str, arrays: dict[str, Any], settings: dict[str, Any]) -> None:
    """Add to x, w or y what the other two give."""
    x, w, y = arrays["x"], arrays["w"], arrays["y"]
    groups = settings["groups"]
    (ph, pw), (sh, sw), (dh, dw) = settings["pad"], settings["stride"], settings["dilation"]
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    if wanted == "x":
        padded[...] = 0
    c, k = x.shape[1] // groups, w.shape[0] // groups
    rows, columns = sh * (y.shape[2] - 1) + 1, sw * (y.shape[3] - 1) + 1
    taps = [
        padded[:, :, i * dh : i * dh + rows : sh, j * dw : j * dw + columns : sw]
        for i, j in itertools.product(range(w.shape[2]), range(w.shape[3]))
    ]
    for g in range(groups):
        parts = [tap[:, g * c : (g + 1) * c] for tap in taps]
        out, weights = y[:, g * k : (g + 1) * k], w[g * k : (g + 1) * k].reshape(k, c, -1)
        if wanted == "x":
            for part, one in zip(parts, np.tensordot(weights, out, (0, 1)).swapaxes(0, 1), strict=True):
                part += one.swapaxes(0, 1)
        elif wanted == "y":
            out += np.tensordot(weights, np.stack(parts, 2), ((1, 2), (1, 2))).swapaxes(0, 1)
        else:
            w[g * k : (g + 1) * k] += (
                np.tensordot(out, np.stack(parts), ((0, 2, 3), (1, 3, 4))).swapaxes(1, 2).reshape(k, c, *w.shape[2:])
            )
    if wanted == "x":
        x[...] = padded[:, :, ph : ph + x.shape[2], pw : pw + x.shape[3]]
