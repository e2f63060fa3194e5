"""DeviceUpdate: a solver step by solver.cu, one kernel for all learned blobs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.cuda.device.gpu import Gpu
from dragon.engines.cuda.kernels import solver as kernels
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.plan.loss_scale import LossScale
from dragon.engines.cuda.plan.memory import memory_for
from dragon.graph.parameters import Param
from dragon.graph.update import Update, bias_correction
from dragon.memory.changes import Changes
from dragon.memory.storage import Storage, notify_watchers_of

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["CHUNK", "DeviceUpdate"]

CHUNK = 4096  # most elements of a block, as in solver.cu
KERNELS = {
    "SGD": "sgd", "Nesterov": "nesterov", "AdaGrad": "adagrad", "RMSProp": "rmsprop", "AdaDelta": "adadelta",
    "Adam": "adam", "AdamW": "adam",
}  # fmt: skip
ENTRY = np.dtype(
    [("w", "u8"), ("g", "u8"), ("h1", "u8"), ("h2", "u8"), ("count", "u8"), ("lr_mult", "f8"), ("decay", "f8"),
     ("working", "u8"), ("last", "u8"), ("chunk", "u8"), ("channels", "u4"), ("spatial", "u4")]
)  # fmt: skip
STEP = 5  # rate, rate with Adam's bias correction, factor of clip_gradients, whether to update, number of the step


class DeviceUpdate:
    """The steps of one updater. The kernels read tables of pointers, filled again when memory or a multiplier changes.

    `prepare` is the host's part of a step, `launch` the GPU's. `launch` can be captured, since all values that change
    from step to step lie in `step` and the tables, whose memory does not move.
    """

    def __init__(
        self, updater: Update, net: Net, gpu: Gpu, arrays: Arrays, loss_scale: LossScale | None
    ) -> None:  # fmt: skip
        self.updater = updater
        self._net = net
        self._gpu = gpu
        self._arrays = arrays
        self._loss_scale = loss_scale
        self.number = 0.0  # of the step
        self.step: Any = None
        self._staged_step: Any = None
        self.asked: tuple[float, int] = (0.0, 0)  # rate and iteration
        self._params = [(k, p) for k, p in enumerate(updater.params) if p.blob.count]
        self._copied: dict[Storage, list[str]] = {}  # parameters, and the places of the copies that the kernel writes
        self._known: bytes = b""
        self._state: list[Any] = []
        self._changes = Changes()  # of weights, gradients and history since the last step
        self._places = [place for place in (gpu.place, arrays.working_place, arrays.last_place) if place]
        self._copies: dict[Storage, list[Any]] = {}  # of these, at `_places`, as the tables have them
        self._learned: set[Storage] = set()
        self._others: set[Storage] = set()  # gradients and history
        self._entries: Any = None
        self._chunks: Any = None
        self._pairs: list[tuple[int, int]] = []
        self._count = 0  # of blocks
        self._squares: Any = None
        self._cleared: dict[frozenset[Storage], tuple[Any, int]] = {}  # blocks that clear all gradients but these

    @property
    def has_work(self) -> bool:
        """Whether there is anything to update."""
        return bool(self._params)

    @property
    def gradients(self) -> frozenset[Storage]:
        """The storages of the gradients."""
        return frozenset(p.blob.diff_storage for _, p in self._params)

    @property
    def is_ready(self) -> bool:
        """Whether the tables have been filled."""
        return self._entries is not None

    @staticmethod
    def supports(updater: Update) -> bool:
        """Whether there is a kernel for the updater's rule."""
        return updater.rule.is_standard and updater.rule.name in KERNELS

    def settings(self) -> tuple[Any, ...]:
        """The solver's settings that a captured graph contains: all but the weight decay, which is in the table."""
        c = self.updater.coefficients
        return c.decay1, c.decay2, c.delta, c.l1, c.clip_gradients, c.iter_size

    def _up_to_date(self) -> list[list[Any]]:
        """For each parameter the arrays of weight, gradient and history, up to date on the GPU."""
        found = []
        for k, p in self._params:
            history = (one.data_storage for one in self.updater.history_of(k))
            with memory_for(self._net, self._gpu, p):
                found.append([self._arrays.of(s) for s in (p.blob.data_storage, p.blob.diff_storage, *history)])
        return found

    def _is_current(self) -> bool:
        """Whether no array moved or was written elsewhere, and no multiplier changed, since the tables were made."""
        state = [
            self._net.context.space.version, self.updater.coefficients.weight_decay,
            [(p.lr_mult, p.decay_mult) for _, p in self._params],
        ]  # fmt: skip
        same = self._state == state
        self._state = state
        return same and all(self._is_in_table(storage) for storage in self._changes)

    def _is_in_table(self, storage: Storage) -> bool:
        """Whether the table has the present copies of a weight, a gradient or a history, and these are up to date."""
        copies = [storage.copy_at(place) for place in self._places]
        if copies != self._copies[storage]:
            return False
        return all(storage.is_fresh(place) for place in (self._gpu.place, *self._copied.get(storage, ())))

    def _follow(self) -> None:
        """Follow the present storages of weights, gradients and histories."""
        weights = {p.blob.data_storage for _, p in self._params}
        gradients = {p.blob.diff_storage for _, p in self._params}
        history = {slot[k].data_storage for slot in self.updater.history for k, _ in self._params}
        self._learned = {p.blob.data_storage for _, p in self._params if p.lr_mult}
        self._others = gradients | history
        present = weights | self._others
        self._changes.unfollow(self._copies.keys() - present)
        for storage in present:
            self._changes.follow(storage)
        self._copies = {storage: [storage.copy_at(place) for place in self._places] for storage in present}

    def refresh(self) -> None:
        """Bring the tables up to date."""
        if self._is_current():
            return
        table = np.zeros(len(self._params), ENTRY)
        arrays = self._up_to_date()
        self._copied = {}
        for i, ((_, p), found) in enumerate(zip(self._params, arrays, strict=True)):
            pointers = [array.data.ptr for array in found]
            storage, decay = p.blob.data_storage, self.updater.decay_of(p)
            copies = {
                place: self._arrays.refresh_copy(storage, place).data.ptr
                for place in (self._arrays.working_place, self._arrays.last_place)
                if storage.copy_at(place) is not None and (place != self._arrays.last_place or self._turns(p))
            }
            layout = self._arrays.layout_of_copy(storage) if self._arrays.last_place in copies else None
            table[i] = (
                *[*pointers, 0, 0][:4], p.blob.count, p.lr_mult, decay, copies.get(self._arrays.working_place, 0),
                copies.get(self._arrays.last_place, 0), self._chunk(p),
                *((0, 0) if layout is None else (layout.channels, layout.spatial)),
            )  # fmt: skip
            self._copied[storage] = list(copies)
        self._follow()
        known = table.tobytes()
        if known == self._known:
            return
        gpu = self._gpu
        pairs = [
            (i, start) for i, (_, p) in enumerate(self._params) for start in range(0, p.blob.count, self._chunk(p))
        ]  # fmt: skip
        if self._pairs != pairs:
            chunks = np.array(pairs, np.uint32).reshape(-1, 2)
            self._pairs, self._count = pairs, len(pairs)
            self._entries = gpu.empty(table.nbytes // 8, np.uint64)
            self._chunks = gpu.empty(chunks.shape, np.uint32)
            gpu.upload(self._chunks, chunks)
            self._staged_step = gpu.staged(STEP, np.float64)
            self.step = self._staged_step.array
            self._squares = gpu.empty(self._count, np.float64)
            self._cleared.clear()
        gpu.upload(self._entries, table.view(np.uint64))
        self._known = known

    def _chunk(self, p: Param) -> int:
        """Elements of a parameter that a block works on: whole maps, if there may be a copy with channels last."""
        spatial = math.prod(p.blob.shape[2:]) if self._arrays.layouts.wanted else 1
        return CHUNK // spatial * spatial or CHUNK

    def _turns(self, p: Param) -> bool:
        """Whether the kernel can write a parameter's copy with channels last."""
        layout = self._arrays.layout_of_copy(p.blob.data_storage)
        return layout is not None and self._chunk(p) % layout.spatial == 0

    def clear(self, but: frozenset[Storage] = frozenset()) -> None:
        """Set the gradients to zero and adopt the loss scale, before a pass. The tables must be filled.

        but: gradients that the pass writes before anybody reads them.
        """
        if self._loss_scale is not None:
            self._loss_scale.adopt()
        chunks, count = self._chunks_without(but) if but else (self._chunks, self._count)
        if count:
            kernels.clear_gradients(self._gpu, self._dtype, grid=count, entries=self._entries, chunks=chunks)
        for _, p in self._params:
            p.blob.diff_storage.wrote(self._gpu.place)

    def _chunks_without(self, gradients: frozenset[Storage]) -> tuple[Any, int]:
        """The blocks of all gradients but these, and their number."""
        found = self._cleared.get(gradients)
        if found is None:
            pairs = [(i, start) for i, start in self._pairs if self._params[i][1].blob.diff_storage not in gradients]
            chunks = self._gpu.empty((len(pairs), 2), np.uint32)
            if pairs:
                self._gpu.upload(chunks, np.array(pairs, np.uint32))
            found = self._cleared[gradients] = chunks, len(pairs)
        return found

    @property
    def _dtype(self) -> Any:
        return self._params[0][1].blob.dtype

    def prepare(self, rate: float, iteration: int) -> None:
        """Prepare a step with this rate, before `launch`: fill the tables and stage rate and number of the step."""
        if not self._params:
            return
        self.refresh()
        notify_watchers_of(storage for storage in self._changes if storage in self._learned)
        corrected = rate
        if self.updater.rule.bias_correction:
            numbers = self.updater.coefficients
            corrected = rate * bias_correction(numbers.decay1, numbers.decay2, iteration)
        self.asked = rate, iteration
        self.number += 1
        self._staged_step.set((rate, corrected, 1.0, 1.0, self.number))

    def launch(self) -> None:
        """Launch one step; it computes what `Update.apply` does."""
        if not self._params:
            return
        numbers, rule, gpu, dtype = self.updater.coefficients, self.updater.rule, self._gpu, self._dtype
        gpu.send_staged()
        stored = self._arrays.types.half or dtype
        scale = None if self._loss_scale is None else self._loss_scale.array
        if numbers.clip_gradients >= 0 or scale is not None:
            squares = self._squares
            kernels.gradient_squares(
                gpu, dtype, grid=self._count, entries=self._entries, chunks=self._chunks, squares=squares
            )  # fmt: skip
            kernels.clip_factor(
                gpu, dtype, squares=squares, step=self.step, chunks=self._count, limit=float(numbers.clip_gradients),
                scale=scale,
            )  # fmt: skip
        kernels.updates[KERNELS[rule.name]](
            gpu, stored, grid=self._count, entries=self._entries, chunks=self._chunks, step=self.step,
            grad_scale=1.0 / numbers.iter_size, regularization=numbers.l1,
            decoupled=rule.decoupled_decay, p=numbers.decay1, q=numbers.decay2, delta=numbers.delta,
        )  # fmt: skip

    def mark_newest(self) -> None:
        """After `launch`: mark the GPU's copies as the newest ones."""
        changes = list(self._changes)
        for storage in changes:
            if storage in self._learned:
                storage.wrote_at(self._gpu.place, *self._copied[storage])
            elif storage in self._others:
                storage.wrote(self._gpu.place)
        self._changes.looked_at(changes)
