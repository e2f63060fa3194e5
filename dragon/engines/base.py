"""The interface of every engine to a net and a solver, and what engines share."""

from __future__ import annotations

import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dragon.errors import EngineError, LayerName, UsageError
from dragon.memory.shortage import error_of_layer
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from pathlib import Path

    from dragon.engines.int8.table import Calibration
    from dragon.graph.net import Net
    from dragon.graph.update import Update
    from dragon.memory.blob import Blob

__all__ = [
    "MOST_THREADS",
    "Executor",
    "LayerTime",
    "Options",
    "debug_blobs",
    "is_watched",
    "layer_times",
    "memory_of",
    "out_of_memory",
    "watched",
    "weighted_loss",
]

log = logging.getLogger("dragon")
MOST_THREADS = max(256, 4 * (os.cpu_count() or 1))  # OpenMP ends the process where it cannot start its threads


@dataclass
class Options:
    """Options of a run besides the engine."""

    precision: str = "fp32"  # fp32 | bf16 | fp16 | int8
    calibration: Calibration | str | Path | None = None  # or its file; of int8 alone
    fuse: bool = True
    winograd: bool = True  # convolve with fewer products where that is faster
    threads: int | None = None  # None: as many as the process may use
    device: int | None = None  # None: the one that set_device named, or the first
    tf32: bool = False
    timed_plans: bool = True  # on a GPU, choose how to compute a product by timing; else as cuDNN's heuristics say
    channels_last: bool = True  # on a GPU, in 16 bits or TF32: let channels lie last in memory where that is faster
    verbose: bool = False

    default_device: ClassVar[int] = 0

    def __post_init__(self) -> None:
        if self.calibration is not None and self.precision != "int8":
            raise UsageError(f"a calibration is for precision int8, got it with {self.precision}")
        if not isinstance(self.calibration, str | os.PathLike | None):
            from dragon.engines.int8.table import Calibration

            if not isinstance(self.calibration, Calibration):
                raise UsageError(f"calibration must be a Calibration or its file, got {self.calibration!r}")
        if self.threads is not None and not (isinstance(self.threads, Integral) and 1 <= self.threads <= MOST_THREADS):
            raise UsageError(f"threads must lie between 1 and {MOST_THREADS} on this machine, got {self.threads!r}")


@dataclass
class LayerTime:
    """Times of one layer in milliseconds; `note` says where it ran: on the reference, fused into another.

    forward_ms, backward_ms: the means. forward_runs, backward_runs: each run; empty where none was timed by itself.
    """

    name: str
    type: str
    forward_ms: float
    backward_ms: float
    note: str = ""
    forward_runs: tuple[float, ...] = ()
    backward_runs: tuple[float, ...] = ()


class Executor(ABC):
    """Runs one net. After a run the net's blobs have the values and gradients that the reference computes."""

    name: str = ""

    def __init__(self, net: Net, options: Options) -> None:
        self.net = net
        self.options = options

    @abstractmethod
    def forward(self, start: int, end: int) -> float:
        """Run layers start..end inclusive; the weighted sum of the losses they made."""

    @abstractmethod
    def backward(self, start: int, end: int) -> None:
        """Run backward from layer `start` down to `end` inclusive."""

    def forward_backward(self) -> float:
        """One forward and one backward pass over the whole net; the loss."""
        last = len(self.net.nodes) - 1
        loss = self.forward(0, last)
        self.backward(last, 0)
        return loss

    def forward_backward_in_parts(self, ends: Sequence[int], ready: Callable[[int], None]) -> float:
        """As `forward_backward`, with backward in parts; `ready` may read the gradients that are complete.

        ends: layers down to which the parts run, in falling order, the last 0. ready(n), n the number of layers, is
        called when forward is over, ready(end) when backward has run down to `end`, or further.
        """
        last = len(self.net.nodes) - 1
        loss = self.forward(0, last)
        ready(last + 1)
        self._backward_in_parts(ends, ready)
        return loss

    def _backward_in_parts(self, ends: Sequence[int], ready: Callable[[int], None]) -> None:
        start = len(self.net.nodes) - 1
        for end in ends:
            self.backward(start, end)
            start = end - 1
            ready(end)

    def clear_param_diffs(self) -> None:
        """Set the gradients of learned blobs to zero."""
        for param in self.net.learnable:
            param.blob.diff_storage.overwrite()[...] = 0

    def update(self, updater: Update, rate: float, iteration: int) -> None:
        """Apply one solver step to the learned blobs."""
        updater.apply(rate, iteration)

    def whole_step(self, updater: Update, rate: float, iteration: int) -> float | None:
        """Clear gradients, run forward and backward, and update, as one unit; returns the loss.

        Where the loss is not finite the weights stay as they were. Returns None, having done nothing, if the engine
        does not offer this for the net.
        """
        return None

    def state(self) -> dict[str, float]:
        """Values that the engine adds to a snapshot of a run."""
        return {}

    def load_state(self, values: Mapping[str, float]) -> None:
        """Restore the values of `state` from a snapshot; unknown ones are ignored."""

    def profile(self, iterations: int, backward: bool = True) -> list[LayerTime]:
        """The times of each layer in `iterations` runs, after one run that is not counted."""
        return measure_layers(self, iterations, backward)

    def describe(self) -> list[str]:
        """One line for each layer that says how it runs, or an empty list."""
        return []

    def remarks(self) -> list[str]:
        """Lines about the runs so far: what is replayed as a graph, and the memory taken."""
        return []


def measure_layers(executor: Executor, iterations: int, backward: bool) -> list[LayerTime]:
    """Time each layer by itself, as `caffe time` does."""
    net = executor.net
    last = len(net.nodes) - 1
    forward: list[list[float]] = [[] for _ in net.nodes]
    back: list[list[float]] = [[] for _ in net.nodes]

    def clocked(run: Callable[[int, int], object], i: int) -> float:
        begin = time.perf_counter()
        run(i, i)
        return (time.perf_counter() - begin) * 1e3

    for n in range(iterations + 1):
        net.look_ahead()
        for i in range(last + 1):
            forward[i] += [clocked(executor.forward, i)][n == 0 :]
        if backward:
            for i in reversed(range(last + 1)):
                back[i] += [clocked(executor.backward, i)][n == 0 :]
    return layer_times(net, forward, back, executor.describe() or [""] * (last + 1))


def layer_times(
    net: Net, forward: Sequence[Sequence[float]], back: Sequence[Sequence[float]], notes: Sequence[str]
) -> list[LayerTime]:
    """The times of each layer from those of its runs."""
    return [
        LayerTime(
            node.name, node.layer.type, sum(there) / max(1, len(there)), sum(back_there) / max(1, len(back_there)),
            note, tuple(there), tuple(back_there),
        )
        for node, there, back_there, note in zip(net.nodes, forward, back, notes, strict=True)
    ]  # fmt: skip


def weighted_loss(tops: Sequence[Blob], weights: Sequence[float]) -> float:
    """The contribution of one layer's tops to the loss: the sum of their elements, each times its top's weight."""
    return sum(w * float(top.peek().sum(dtype=np.float64)) for top, w in zip(tops, weights, strict=True) if w)


def out_of_memory(error: MemoryError, layer: LayerName) -> EngineError:
    """The error for a layer that ran out of memory."""
    return error_of_layer(EngineError, error, layer)


@contextmanager
def memory_of(layer: LayerName) -> Iterator[None]:
    """Within the block, running out of memory raises an EngineError that names the layer."""
    try:
        yield
    except MemoryError as error:
        raise out_of_memory(error, layer) from error


def is_watched(net: Net, way: str = "both") -> bool:
    """Whether hooks or debug_info need the layers to run one by one, in `way`: forward, backward or both."""
    forward = bool(net.before_forward_hooks or net.after_forward_hooks)
    backward = bool(net.before_backward_hooks or net.after_backward_hooks)
    return net.debug_info or {"forward": forward, "backward": backward, "both": forward or backward}[way]


@contextmanager
def watched(net: Net, way: str, i: int) -> Iterator[None]:
    """Call the net's hooks before and after one layer runs, and log its blobs. way: Forward or Backward."""
    forward = way == "Forward"
    for hook in net.before_forward_hooks if forward else net.before_backward_hooks:
        hook(i)
    yield
    if net.debug_info and (forward or net.nodes[i].need_backward):
        debug_blobs(net, way, i)
    for hook in net.after_forward_hooks if forward else net.after_backward_hooks:
        hook(i)


def debug_blobs(net: Net, way: str, i: int) -> None:
    """Log the mean absolute values of a layer's blobs, one line each, worded as Caffe does for log parsers."""
    node = net.nodes[i]
    name = node.name
    if way == "Forward":
        for blob_name, blob in zip(node.top_names, node.tops, strict=True):
            log.info("    [Forward] Layer %s, top blob %s data: %g", name, blob_name, _mean(blob.peek()))
        for j, blob in enumerate(node.layer.blobs):
            log.info("    [Forward] Layer %s, param blob %d data: %g", name, j, _mean(blob.peek()))
        return
    for bottom, blob, wanted in zip(node.bottom_names, node.bottoms, node.propagate_down, strict=True):
        if wanted:
            log.info("    [Backward] Layer %s, bottom blob %s diff: %g", name, bottom, _mean(blob.peek_diff()))
    for j, blob in enumerate(node.layer.blobs):
        if node.layer.param_propagate_down[j]:
            log.info("    [Backward] Layer %s, param blob %d diff: %g", name, j, _mean(blob.peek_diff()))


def _mean(array: Array) -> float:
    return float(np.abs(array).mean()) if array.size else 0.0
