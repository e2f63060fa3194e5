"""Whether several ways to compute a product give the same: NVIDIA's libraries may offer one that is wrong."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.cuda.device.precision import is_16_bit
from dragon.engines.cuda.kernels import checking as kernels
from dragon.errors import first_line

if TYPE_CHECKING:
    from dragon.engines.cuda.device.gpu import Gpu

__all__ = ["Check", "Way", "fill", "tolerance", "trusted"]

log = logging.getLogger("dragon")

Way = tuple[str, Callable[..., Any]]  # a name, and a function that launches the work on arrays of the operands' shapes


@dataclass(frozen=True)
class Check:
    """How the results of ways are compared, on operands made by `fill`.

    what: the product and its geometry, for messages. result: the position of the result among the operands.
    reference: the way whose result is right; None: the first one that at least half of the ways agree with. called:
    what a way is called in messages, with {} for its name.
    """

    what: str
    result: int = -1
    reference: str | None = None
    called: str = "{}"


def fill(gpu: Gpu, arrays: Sequence[Any]) -> None:
    """Write numbers from -0.5 to 0.5, none of which repeat, into arrays of floating point numbers."""
    for seed, array in enumerate(arrays):
        kernels.fill_hashed(gpu, array.dtype, x=array, count=array.size, seed=seed)


def tolerance(gpu: Gpu, arrays: Sequence[Any]) -> float:
    """The most that roundings change a result by, relative to its norm."""
    if any(is_16_bit(array.dtype) for array in arrays):
        return 3e-2
    if any(array.dtype == np.float64 for array in arrays):
        return 1e-9
    return 1e-2 if gpu.tf32 else 1e-3


def trusted(gpu: Gpu, arrays: Sequence[Any], ways: Sequence[Way], check: Check) -> list[Way]:
    """The ways that run and agree with the reference. Each is run once, with zeros as the start of its result.

    A way with another result is left out with a warning. MemoryError where there is no memory for a second result.
    """
    result, limit = arrays[check.result], tolerance(gpu, arrays)
    able = [way for way in ways if _runs(way, arrays, result)]
    if len(able) < 2:
        return able
    expected = gpu.empty(result.shape, result.dtype)
    named = [way for way in able if way[0] == check.reference]
    for reference in named or able:
        _runs(reference, arrays, result)
        expected[...] = result
        if not math.isfinite(_distance(gpu, result, expected)):
            continue  # such as a bias that is NaN: nothing can be compared with it
        errors = {}
        for way in able:
            if way is not reference:
                _runs(way, arrays, result)
                errors[way[0]] = _distance(gpu, result, expected)
        good = [way for way in able if errors.get(way[0], 0.0) <= limit]  # not NaN
        if named or 2 * len(good) >= len(able):
            for name in errors.keys() - {name for name, _ in good}:
                log.warning(
                    "%s: %s is not used, since its result is off by %.2g from that of %s",
                    check.what, check.called.format(name), errors[name], check.called.format(reference[0]),
                )  # fmt: skip
            return good
    return able if named else able[:1]


def _runs(way: Way, arrays: Sequence[Any], result: Any) -> bool:
    """Run a way, if it can, on a result of zeros."""
    result.fill(0)
    try:
        return way[1](*arrays) is not False
    except Exception as error:  # the libraries raise errors of many kinds
        log.debug("%s cannot be used: %s", way[0], first_line(error))
        return False


def _distance(gpu: Gpu, x: Any, expected: Any) -> float:
    """The norm of x - expected, relative to that of `expected`; NaN or infinite where a number is not finite."""
    blocks = gpu.grid(x.size)
    parts = gpu.empty((blocks, 2), np.float64)
    kernels.squared_difference(gpu, x.dtype, grid=blocks, x=x, y=expected, parts=parts, count=x.size)
    off, size = parts.get(stream=gpu.stream).sum(axis=0)
    if off == 0 and size == 0:
        return 0.0
    return math.inf if size == 0 else float(np.sqrt(off / size))
