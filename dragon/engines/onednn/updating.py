"""The update of stochastic gradient descent with momentum, on all threads.

Large parameters are updated by oneDNN piece by piece, so that all passes over a piece happen in the caches; small ones
by a few NumPy operations. The order of operations is that of `Update.apply`, which computes all other rules.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.library.memory import Device, Memory, MemoryDesc
from dragon.engines.onednn.library.primitive import Call
from dragon.engines.onednn.plan.values import borrowed, reorder
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.graph.update import Update

__all__ = ["SGDUpdate"]

LARGE = 1 << 14  # elements
PIECE = 1 << 16  # elements, of which three arrays are worked on


class SGDUpdate:
    """w <- w - h with h <- momentum h + rate (g + decay w), and g <- h, for all learned blobs of an updater."""

    def __init__(self, device: Device, updater: Update) -> None:
        self.updater = updater
        self._parameters = [
            _Parameter(device, p.blob, history, p.lr_mult, updater.decay_of(p))
            for p, history in zip(updater.params, updater.history[0], strict=True)
            if p.lr_mult and p.blob.count
        ]

    @staticmethod
    def supports(updater: Update) -> bool:
        """Whether this computes what `updater.apply` would: plain SGD with L2 decay, without clipping or iter_size."""
        rule, numbers = updater.rule, updater.coefficients
        plain = rule.is_standard and rule.name == "SGD" and not numbers.l1
        alone = numbers.clip_gradients < 0 and numbers.iter_size == 1
        return plain and alone and all(p.blob.dtype == np.float32 for p in updater.params)

    def __call__(self, rate: float) -> None:
        """Update all learned blobs with the learning rate `rate`."""
        momentum = self.updater.coefficients.decay1
        for parameter in self._parameters:
            parameter.update(rate, momentum)


class _Parameter:
    """One learned blob with its history."""

    def __init__(self, device: Device, blob: Blob, history: Blob, factor: float, decay: float) -> None:
        self.device, self.blob, self.history = device, blob, history
        self.factor, self.decay = factor, decay
        self.spare = np.empty(blob.count if blob.count < LARGE and decay else 0, np.float32)
        self.scales = {name: np.zeros(1, np.float32) for name in ("momentum", "rate", "decay")}
        self.scales["decay"][0] = decay
        self.calls: list[Call] = []
        self.bound: tuple[Array, ...] = ()

    def update(self, rate: float, momentum: float) -> None:
        blob = self.blob
        arrays = blob.diff_storage.write(), blob.data_storage.write(), self.history.data_storage.write()
        if blob.count < LARGE:
            g, w, h = (array[: blob.count] for array in arrays)
            if self.decay:
                np.multiply(w, self.decay, out=self.spare)
                np.add(g, self.spare, out=g)
            np.multiply(h, momentum, out=h)
            np.multiply(g, rate * self.factor, out=g)
            np.add(h, g, out=h)
            np.copyto(g, h)
            np.subtract(w, g, out=w)
            return
        if len(self.bound) != 3 or any(a is not b for a, b in zip(arrays, self.bound, strict=True)):
            self.bound = arrays
            self._prepare()
        self.scales["momentum"][0] = momentum
        self.scales["rate"][0] = rate * self.factor
        for call in self.calls:
            call()

    def _prepare(self) -> None:
        device, count = self.device, self.blob.count
        momentum, rate, decay = (Memory.wrap(device, self.scales[name]) for name in ("momentum", "rate", "decay"))
        whole = [borrowed(device, array[:count], (count,)) for array in self.bound]
        self.calls = []
        for start in range(0, count, PIECE):
            desc = MemoryDesc.plain((min(PIECE, count - start),))
            g, w, h = (memory.view(desc, start * 4) for memory in whole)
            add: Callable[..., Call] = partial(_binary, device, Alg.binary_add)
            if self.decay:
                self.calls.append(add(g, w, scales={Arg.SRC_1: decay}))
            self.calls.append(add(h, g, scales={Arg.SRC: momentum, Arg.SRC_1: rate}))
            self.calls.append(reorder(device, h, g))
            self.calls.append(_binary(device, Alg.binary_sub, w, g, scales={}))


def _binary(device: Device, alg: Alg, target: Memory, other: Memory, *, scales: dict[int, Memory]) -> Call:
    """Compute target = target (operation) other, each multiplied by its scale where it has one."""
    primitive = combine.binary(device, alg, target.desc, other.desc, runtime_scales=scales)
    scaled = {Arg.runtime_scale(arg): memory for arg, memory in scales.items()}
    return Call(primitive, {Arg.SRC: target, Arg.SRC_1: other, Arg.DST: target, **scaled})
