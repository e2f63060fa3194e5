"""Testing a solver's test nets while it trains."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.errors import SolverFieldError
from dragon.graph.means import OutputMeans, detection_tops
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb

if TYPE_CHECKING:
    from dragon.bases.layer import Layer
    from dragon.graph.net import Net
    from dragon.solver.solver import Solver

    _Position = tuple[Layer, int, dict[str, Any]]  # a layer, the draws of its random stream, its own state

__all__ = ["check_tests", "positions", "restore", "run_test"]

log = logging.getLogger("dragon")


def run_test(solver: Solver, index: int) -> OrderedDict[str, Array]:
    """Run test net `index` for its test_iter batches; return the mean of each output by name. See `Solver.test`.

    Of an output that compares detections with labels it is the mean average precision.
    """
    net = solver.test_nets[index]
    before = positions([net])
    net.share_with(solver.net)
    total = solver.param.test_iter[index] if index < len(solver.param.test_iter) else 1
    for observer in solver.observers:
        observer.on_test_start(solver, index)
    collected = OutputMeans(net, solver.param.ap_version)
    losses = 0.0
    done = 0
    for done in range(1, total + 1):
        losses += net.run_forward()
        collected.add(net.output_values())
        for observer in solver.observers:
            observer.on_test_batch(solver, index, done, total)
        if solver.stopped:
            break
    means = collected.means(done)
    if solver.param.test_compute_loss and done:
        means["(loss)"] = np.asarray(losses / done)
    if solver.stopped:
        restore(before)
        return means
    if solver.param.show_per_class_result:
        for scores in collected.classes().values():
            for one in scores:
                log.info("class%d: %g", one.label, one.average_precision)
    _warn_nonfinite(solver, index, means)
    for observer in solver.observers:
        observer.on_test(solver, index, means)
    return means


def check_tests(param: pb.SolverParameter, nets: Sequence[Net]) -> None:
    """Raise PrototxtError for `eval_type: "detection"` and a test net that compares no detections."""
    for net in nets if param.eval_type == "detection" else ():
        if not detection_tops(net):
            raise SolverFieldError(
                "eval_type", f'eval_type: "detection", but test net "{net.name}" has no layer DetectionEvaluate'
            )


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
