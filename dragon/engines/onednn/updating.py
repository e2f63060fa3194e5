"""The update of all learned blobs on all threads.

Large ones are updated by oneDNN, piece by piece, so that all passes over a piece happen in the caches; small ones in
NumPy, where waking the threads and making the primitives would take longer than it saves. The order of operations is
that of `Update.apply`, which computes what is not supported here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dragon.engines.onednn.kernels.solver import (
    ARRAYS,
    CHANGING,
    IDLE,
    RULES,
    WORK,
    Operation,
    constants,
    operations,
)
from dragon.engines.onednn.library.binding import check
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Call
from dragon.engines.onednn.plan.values import borrowed
from dragon.graph.update import bias_correction
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.graph.parameters import Param
    from dragon.graph.update import Update

__all__ = ["PrimitiveUpdate"]

LARGE = 1 << 14  # elements
PIECE = 1 << 17  # elements of each thread, of which three to six arrays are worked on
FLOAT = 4  # bytes


class PrimitiveUpdate:
    """The steps of one updater with `threads` threads."""

    def __init__(self, device: Device, updater: Update, threads: int) -> None:
        self.updater = updater
        self._device, self._threads = device, threads
        self._prepare()

    @staticmethod
    def supports(updater: Update) -> bool:
        """Whether this computes what `updater.apply` would: a usual rule with L2 decay."""
        rule = updater.rule
        usual = rule.is_standard and rule.name in RULES and not updater.coefficients.l1
        return usual and all(p.blob.dtype == np.float32 for p in updater.params)

    def __call__(self, rate: float, iteration: int) -> None:
        """Update all learned blobs with the learning rate `rate`, in update number `iteration`."""
        if self.updater.coefficients != self._coefficients or self._present_counts() != self._counts:  # by a script
            self._prepare()
        updater = self.updater
        scale = updater.clip()
        shrink = scale / self._coefficients.iter_size
        averages = self._coefficients.decay1, self._coefficients.decay2
        corrected = bias_correction(*averages, iteration) if updater.rule.bias_correction else 1.0
        for k, p in enumerate(updater.params):
            if not p.lr_mult:
                continue
            own, decay = rate * p.lr_mult, updater.decay_of(p)
            if k in self._large:
                self._large[k].update((own, own * corrected, decay, own * decay, shrink))
            elif k in self._small and shrink == 1:
                self._small[k].update(own, decay, self._coefficients.decay1)
            else:
                updater.apply_to(k, rate, iteration, scale)

    def _prepare(self) -> None:
        updater = self.updater
        self._coefficients = updater.coefficients
        self._counts = self._present_counts()
        most = max(self._counts, default=0)
        pieces = _Pieces(self._device, updater, min(PIECE * self._threads, most))
        self._large: dict[int, _Large] = {}
        self._small: dict[int, _SmallSGD] = {}
        for k, p in enumerate(updater.params):
            history = updater.history_of(k)
            if self._counts[k] >= LARGE:
                self._large[k] = _Large(pieces, p, history)
            elif updater.rule.name == "SGD":
                self._small[k] = _SmallSGD(p.blob, *history)

    def _present_counts(self) -> list[int]:
        """The number of elements of each parameter; 0 of a frozen one."""
        return [p.blob.count if p.lr_mult else 0 for p in self.updater.params]


class _Pieces:
    """What pieces of `most` elements or fewer share: primitives, work arrays and numbers that never change."""

    def __init__(self, device: Device, updater: Update, most: int) -> None:
        self.device = device
        self._rule, self._coefficients, self._most = updater.rule, updater.coefficients, most
        self._work = {name: Memory(device, MemoryDesc.plain((most,))) for name in WORK}
        self._constants = {name: self.number(value) for name, value in constants(self._coefficients).items()}
        self._operations: dict[int, list[Operation]] = {}

    def number(self, value: float = 0.0) -> Memory:
        """Memory of one float."""
        return Memory.wrap(self.device, np.full(1, value, np.float32))

    def calls(
        self, arrays: Sequence[Array], count: int, numbers: Mapping[str, Memory]
    ) -> Iterator[tuple[Operation, Call]]:
        """The operations on all pieces of a gradient, weights and history. numbers: those that change."""
        whole = {
            name: borrowed(self.device, array[:count], (count,)) for name, array in zip(ARRAYS, arrays, strict=False)
        }
        for start in range(0, count, self._most):
            desc = MemoryDesc.plain((min(self._most, count - start),))
            named = {name: memory.view(desc, start * FLOAT) for name, memory in whole.items()}
            named |= {name: memory.view(desc) for name, memory in self._work.items()}
            named |= self._constants | dict(numbers)
            for one in self._made(desc.dims[0]):
                yield one, Call(one.primitive, {arg: named[name] for arg, name in one.arguments.items()})

    def _made(self, count: int) -> list[Operation]:
        if count not in self._operations:
            self._operations[count] = operations(self.device, self._rule, count, self._coefficients)
        return self._operations[count]


class _SmallSGD:
    """A small learned blob with its history, updated by SGD without arrays made on the way."""

    def __init__(self, blob: Blob, history: Blob) -> None:
        self._blob, self._history = blob, history
        self._spare = np.empty(blob.count, np.float32)

    def update(self, rate: float, decay: float, momentum: float) -> None:
        """One step."""
        blob = self._blob
        g, w = blob.diff_storage.write()[: blob.count], blob.data_storage.write()[: blob.count]
        h = self._history.data_storage.write()[: blob.count]
        if decay:
            np.multiply(w, decay, out=self._spare)
            np.add(g, self._spare, out=g)
        np.multiply(h, momentum, out=h)
        np.multiply(g, rate, out=g)
        np.add(h, g, out=h)
        np.copyto(g, h)
        np.subtract(w, g, out=w)


class _Large:
    """A large learned blob with its history."""

    def __init__(self, pieces: _Pieces, param: Param, history: Sequence[Blob]) -> None:
        self.param = param
        self._pieces, self._history = pieces, history
        self._memories = {name: pieces.number() for name in CHANGING}
        self._numbers = [memory.numpy() for memory in self._memories.values()]
        self._arrays: list[Array] = []
        self._calls: list[tuple[Operation, Call]] = []
        self._values: tuple[float, ...] = ()
        self._runs: list[Callable[[], int]] = []  # of the calls, those that the values need

    def update(self, values: tuple[float, ...]) -> None:
        """One step. values: those of the numbers CHANGING."""
        blob = self.param.blob
        arrays = [blob.diff_storage.write(), blob.data_storage.write()]
        arrays += [one.data_storage.write() for one in self._history]
        if not self._arrays or any(a is not b for a, b in zip(arrays, self._arrays, strict=True)):
            self._arrays = arrays
            self._calls = list(self._pieces.calls(arrays, blob.count, self._memories))
            self._values = ()
        if values != self._values:
            self._values = values
            self._take(values)
        for run in self._runs:
            status = run()
            if status:
                check(status, f"update of {self.param.name}")

    def _take(self, values: tuple[float, ...]) -> None:
        for number, value in zip(self._numbers, values, strict=True):
            number[0] = value
        idle = {name for name, value in zip(CHANGING, values, strict=True) if value == IDLE.get(name)}
        self._runs = [call.execute for operation, call in self._calls if operation.number not in idle]
