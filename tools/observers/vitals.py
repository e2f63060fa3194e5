"""Measures what training uses and where its values go: peak memory, and norms of weights and gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from dragon.memory.storage import Array
from dragon.solver.meter import Lap, Meter
from dragon.solver.solver import Observer, Solver
from dragon.tools.common.logs import log
from dragon.tools.common.memory import peak_memory_mib

__all__ = ["Vitals"]


class Vitals(Observer):
    """Measures at each display; others find the figures in `values`, so it comes before them.

    values: memory_mib (where the system tells), and with `norms` weight_norm and gradient_norm: L2 norms over all
    learned blobs, the gradient of one iteration before clipping and weight decay. `norms` also logs a line with them
    and the speed.
    """

    def __init__(self, meter: Meter, norms: bool = False) -> None:
        self.values: dict[str, float] = {}
        self._meter = meter
        self._lap = Lap(meter)
        self._norms = norms

    def on_display(self, solver: Solver, loss: float, rate: float) -> None:
        memory = peak_memory_mib()
        self.values = {"memory_mib": round(memory, 1)} if memory else {}
        if not self._norms:
            return
        blobs = [param.blob for param in solver.net.learnable]
        self.values["weight_norm"] = _norm(blob.peek() for blob in blobs)
        if solver.iter < solver.param.max_iter:  # at the end the net has only run forward
            self.values["gradient_norm"] = _norm(blob.peek_diff() for blob in blobs) / solver.param.iter_size
        log.info("    %s", ", ".join(self._parts()))
        self._meter.skip()

    def _parts(self) -> Iterable[str]:
        done, seconds = self._lap.take()
        if seconds:
            yield f"{done * self._meter.images / seconds:,.0f} images/s"
        if "memory_mib" in self.values:
            yield f"peak memory {self.values['memory_mib']:,.0f} MiB"
        yield f"norm of weights {self.values['weight_norm']:.4g}"
        if "gradient_norm" in self.values:
            yield f"of gradients {self.values['gradient_norm']:.4g}"


def _norm(arrays: Iterable[Array]) -> float:
    """The L2 norm of all values together."""
    return math.sqrt(sum(float(np.square(np.asarray(a, np.float64)).sum()) for a in arrays))
