"""The choice between several ways to compute the same, by timing them on the GPU when the choice is first needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dragon.engines.cuda.device import checking
from dragon.engines.cuda.device.capture import captured
from dragon.engines.cuda.device.checking import Check, Way
from dragon.errors import first_line

if TYPE_CHECKING:
    from dragon.engines.cuda.device.gpu import Gpu

__all__ = ["Operand", "fastest", "milliseconds"]

log = logging.getLogger("dragon")
ROUNDS = 3  # the fastest counts
MOST_RUNS = 10  # of a way in a round
ROUND_MS = 1.0  # a round of a slow way has fewer runs

Operand = tuple[Sequence[int], Any]  # shape and type of an array

_chosen: dict[Hashable, str | None] = {}  # by GPU and key. It lasts as long as the process: all nets choose alike


def fastest(
    gpu: Gpu, key: Hashable, operands: Sequence[Operand], ways: Callable[[], Iterable[Way]], check: Check | None = None
) -> str | None:
    """The name of the fastest of `ways`, which are timed when a key is first met.

    A way that raises an error, returns False, cannot be captured or has another result than the others is left out.
    None where no way is left, there is no memory for the operands and a second result, or the key is first met in a
    capture. check: how results are compared; None: they are not.
    """
    key = gpu.number, key
    if key not in _chosen:
        if gpu.stream.is_capturing():
            return None
        _chosen[key] = _time(gpu, operands, list(ways()), check)
    return _chosen[key]


def _time(gpu: Gpu, operands: Sequence[Operand], ways: Sequence[Way], check: Check | None) -> str | None:
    times: dict[str, float] = {}
    with gpu.scratch():
        try:
            arrays = [gpu.empty(shape, dtype) for shape, dtype in operands]
            checking.fill(gpu, arrays)
            if check is not None:
                ways = checking.trusted(gpu, arrays, ways, check)
        except MemoryError as error:
            log.debug("no memory to time %d ways: %s", len(ways), error)
            return None
        for name, way in ways:
            try:
                times[name] = milliseconds(gpu, lambda way=way: way(*arrays))  # type: ignore[misc]
            except Exception as error:  # the libraries raise errors of many kinds
                log.debug("%s cannot be used: %s", name, first_line(error))
        arrays.clear()
    return min(times, key=times.__getitem__, default=None)


def milliseconds(gpu: Gpu, run: Callable[[], Any]) -> float:
    """The time of one run, as part of a graph. RuntimeError where it returns False; its own errors pass through."""
    if run() is False:  # this run also loads kernels
        raise RuntimeError("it does not run")
    runs = max(1, min(MOST_RUNS, int(ROUND_MS / max(1e-3, _elapsed(gpu, run)))))
    graph = captured(gpu, lambda: _repeat(run, runs))
    return min(_elapsed(gpu, lambda: graph.launch(gpu.stream)) for _ in range(ROUNDS)) / runs


def _repeat(run: Callable[[], Any], runs: int) -> None:
    for _ in range(runs):
        run()


def _elapsed(gpu: Gpu, run: Callable[[], Any]) -> float:
    cuda = gpu.cupy.cuda
    begin, end = cuda.Event(), cuda.Event()
    begin.record(gpu.stream)
    run()
    end.record(gpu.stream)
    end.synchronize()
    return float(cuda.get_elapsed_time(begin, end))
