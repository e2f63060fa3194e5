"""Calibration for int8: the range of what each convolution and inner product of a net reads, over some batches.

max          the largest magnitude
percentile   the magnitude that the given share of all values does not exceed: a few large values are cut off, and
             all others are rounded more finely
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from dragon.bases.layer import TEST
from dragon.data.progress import Progress, silent
from dragon.engines.int8.arithmetic import LARGEST, LEAST, Range
from dragon.engines.int8.table import METHODS, Calibration, digest_of, products
from dragon.errors import NumericError, UsageError, nearest
from dragon.graph.net import Net

__all__ = ["PERCENTILE", "Magnitudes", "calibrate"]

PERCENTILE = 99.99
_BINS = 1 << 14


class Magnitudes:
    """How often which magnitudes occur, in bins of equal width, which doubles when a larger magnitude comes."""

    def __init__(self) -> None:
        self.largest = 0.0
        self.signed = False
        self._width = 0.0
        self._counts: NDArray[np.int64] = np.zeros(_BINS, np.int64)

    def add(self, values: NDArray[np.floating]) -> bool:
        """Count values of any shape; False, and nothing is counted, if one of them is not finite in float32."""
        if not values.size:
            return True
        low, high = float(values.min()), float(values.max())
        largest = max(-low, high)
        if not largest <= LARGEST:  # true for NaN
            return False
        self.signed |= low < 0
        self.largest = max(self.largest, largest)
        if not self._width and largest:
            self._width = max(largest, LEAST) / _BINS  # below it bins would have no width in float32
        if not self._width:  # only zeros so far, which need no bin but the first
            self._counts[0] += values.size
            return True
        while self._width * _BINS < largest:
            self._counts = np.concatenate([self._counts.reshape(-1, 2).sum(1), np.zeros(_BINS // 2, np.int64)])
            self._width *= 2
        bins = np.minimum(np.abs(values.reshape(-1)) / self._width, _BINS - 1).astype(np.int32)
        self._counts += np.bincount(bins, minlength=_BINS)
        return True

    def percentile(self, percent: float) -> float:
        """The upper edge of the bin up to which `percent` of the values lie, at most the largest magnitude."""
        behind = np.cumsum(self._counts)
        found = int(np.searchsorted(behind, behind[-1] * (percent / 100)))
        return min(self.largest, (found + 1) * self._width)


def calibrate(
    net: Net,
    batches: int,
    method: str = METHODS[0],
    percentile: float | None = None,
    float32: Sequence[str] = (),
    progress: Progress = silent,
) -> Calibration:
    """Run a net in phase TEST on `batches` batches, at least 1, and return the range of what each layer reads.

    method: "max" or "percentile", see above; percentile: of the latter alone, above 0 and at most 100, PERCENTILE by
    default. float32: layers that shall not run in int8. Raises UsageError for another phase, method or percentile, for
    fewer batches, for an unknown layer and for a net without layers that can run in int8, NumericError where a value
    is not finite.
    """
    _check(net, batches, method, percentile, float32)
    percent = PERCENTILE if percentile is None else percentile
    nodes = products(net)
    found = {node.index: Magnitudes() for node in nodes}

    def measure(i: int) -> None:
        for bottom in net.nodes[i].bottoms if i in found else ():
            if not found[i].add(bottom.peek()):
                raise NumericError("its input is not finite", layer=net.nodes[i].layer.where)

    net.before_forward_hooks.append(measure)
    try:
        for batch in range(batches):
            net.run_forward()
            progress("batches", batch + 1, batches)
    finally:
        net.before_forward_hooks.remove(measure)

    def range_of(magnitudes: Magnitudes) -> Range:
        limit = magnitudes.largest if method == "max" else magnitudes.percentile(percent)
        return Range(float(np.float32(limit)), magnitudes.signed)

    return Calibration(
        net=net.name,
        weights=digest_of(net),
        method=method,
        percentile=percent if method == "percentile" else None,
        batches=batches,
        layers={node.name: None if node.name in float32 else range_of(found[node.index]) for node in nodes},
    )


def _check(net: Net, batches: int, method: str, percentile: float | None, float32: Sequence[str]) -> None:
    if net.phase != TEST:
        raise UsageError("a calibration runs a net in phase TEST")
    if not isinstance(batches, Integral) or batches < 1:
        raise UsageError(f"batches must be a whole number of at least 1, got {batches}")
    if method not in METHODS:
        raise UsageError(f'method "{method}"{nearest(method, METHODS)}: known are {", ".join(METHODS)}')
    if percentile is not None and method != "percentile":
        raise UsageError(f"a percentile is for method percentile, got {percentile:g} with method {method}")
    if percentile is not None and not 0 < percentile <= 100:
        raise UsageError(f"percentile must be above 0 and at most 100, got {percentile:g}")
    names = [node.name for node in products(net)]
    if not names:
        raise UsageError(f'net "{net.name}" has no convolution or inner product')
    for name in float32:
        if name not in names:
            raise UsageError(f'net "{net.name}" has no convolution or inner product "{name}"{nearest(name, names)}')
