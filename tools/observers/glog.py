"""Logs training in the words of Caffe's solver, for programs that parse its logs."""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextlib import suppress
from datetime import datetime

import click

from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.solver.solver import Observer, Solver
from dragon.tools.common.logs import GlogFormatter, StreamHandler, log
from dragon.tools.common.net_facts import format_value, output_elements, output_line
from dragon.tools.observers.meter import Lap, Meter

__all__ = ["GlogHandler", "GlogObserver"]


class GlogHandler(StreamHandler):
    """Lines in glog's form, and before the first one the line that tells readers the year, which the lines do not.

    An error before the first line stands alone.
    """

    def __init__(self, err: bool) -> None:
        super().__init__(err)
        self.setFormatter(GlogFormatter())
        self._begun = False

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # a full disk or a closed pipe must not end the training
            if not self._begun:
                self._begun = True
                click.echo(f"Log file created at: {datetime.now():%Y/%m/%d %H:%M:%S}", err=self.err)
            super().emit(record)


class GlogObserver(Observer):
    """Logs what Caffe logs."""

    def __init__(self, meter: Meter) -> None:
        self._lap = Lap(meter)

    def on_start(self, solver: Solver) -> None:
        log.info("Solving %s", solver.net.name)
        log.info("Learning Rate Policy: %s", solver.param.lr_policy)

    def on_display(self, solver: Solver, loss: float, rate: float) -> None:
        done, seconds = self._lap.take()
        speed = done / seconds if seconds else 0.0
        message = "Iteration %d (%g iter/s, %gs/%d iters), loss = %s"
        log.info(message, solver.iter, speed, seconds, done, format_value(loss))
        for k, element in enumerate(output_elements(solver.net, solver.net.output_values())):
            log.info("    Train net output #%d: %s", k, output_line(*element))
        log.info("Iteration %d, lr = %g", solver.iter, rate)

    def on_test_start(self, solver: Solver, index: int) -> None:
        log.info("Iteration %d, Testing net (#%d)", solver.iter, index)

    def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
        if "(loss)" in scores:
            log.info("Test loss: %s", format_value(float(scores["(loss)"])))
        outputs = {name: value for name, value in scores.items() if name != "(loss)"}
        for k, element in enumerate(output_elements(solver.test_nets[index], outputs)):
            log.info("    Test net output #%d: %s", k, output_line(*element))

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        form = "HDF5" if solver.param.snapshot_format == pb.SolverParameter.HDF5 else "binary proto"
        log.info("Snapshotting to %s file %s", form, model)
        log.info("Snapshotting solver state to %s file %s", form, state)

    def on_end(self, solver: Solver) -> None:
        if solver.stopped:
            log.info("Optimization stopped early.")
        elif solver.iter >= solver.param.max_iter:
            log.info("Optimization Done.")
