"""Testing a solver's test nets while it trains."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.graph.named import BlobValues
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.bases.layer import Layer
    from dragon.graph.net import Net
    from dragon.solver.solver import Solver

    _Position = tuple[Layer, int, dict[str, Any]]  # a layer, the draws of its random stream, its own state

__all__ = ["positions", "restore", "run_test"]

log = logging.getLogger("dragon")


def run_test(solver: Solver, index: int) -> OrderedDict[str, Array]:
    """Run test net `index` for its test_iter batches; return the mean of each output by name. See `Solver.test`."""
    net = solver.test_nets[index]
    before = positions([net])
    net.share_with(solver.net)
    total = solver.param.test_iter[index] if index < len(solver.param.test_iter) else 1
    for observer in solver.observers:
        observer.on_test_start(solver, index)
    sums: OrderedDict[str, Array] = OrderedDict()
    done = 0
    for done in range(1, total + 1):
        loss = net.run_forward()
        for name, value in net.output_values().items():
            sums[name] = sums[name] + value if name in sums else np.array(value, np.float64)
        if solver.param.test_compute_loss:
            sums["(loss)"] = np.asarray(sums.get("(loss)", 0.0) + loss)
        for observer in solver.observers:
            observer.on_test_batch(solver, index, done, total)
        if solver.stopped:
            break
    means = BlobValues((name, np.asarray(value / done)) for name, value in sums.items())
    if solver.stopped:
        restore(before)
        return means
    _warn_nonfinite(solver, index, means)
    for observer in solver.observers:
        observer.on_test(solver, index, means)
    return means


def positions(nets: Sequence[Net]) -> list[_Position]:
    """Return where the layers of nets are in their data and random streams, for `restore`."""
    return [(layer, layer.rng.draws, layer.state()) for net in nets for layer in net.layers]


def restore(before: Sequence[_Position]) -> None:
    """Put layers back to where they were, so that they run the same batches again."""
    for layer, draws, state in before:
        layer.rng.draws = draws
        if state:
            layer.load_state(state)


def _warn_nonfinite(solver: Solver, index: int, means: OrderedDict[str, Array]) -> None:
    """Warn once of each test output that is not finite: it may be the mean over a class without examples."""
    for name, value in means.items():
        if not np.isfinite(value).all() and (index, name) not in solver.warned_outputs:
            solver.warned_outputs.add((index, name))
            culprit = solver.test_nets[index].first_nonfinite() or "no blob of the last batch"
            log.warning('iteration %d: test output "%s" is not finite; first in %s', solver.iter, name, culprit)
