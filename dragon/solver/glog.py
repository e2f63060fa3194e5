"""Training logged in the words and the form of Caffe, whose solver logs through glog."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from datetime import datetime
from typing import TYPE_CHECKING

from dragon.errors import one_line
from dragon.graph.outputs import format_value, output_elements, output_line
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.solver.meter import Lap, Meter
from dragon.solver.observer import Observer

if TYPE_CHECKING:
    from dragon.solver.solver import Solver

__all__ = ["LEVELS", "OF_SCRIPT", "GlogFormatter", "GlogObserver", "log_to_stderr", "show_log"]

log = logging.getLogger("dragon")
LEVELS = (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)  # glog's 0 to 3
OF_SCRIPT = {"of_script": True}  # `extra` of a message whose line breaks a script has put there


class GlogFormatter(logging.Formatter):
    """`I1121 10:54:00.123456  1234 solver.py:218] text`, the format of glog, which parsers of Caffe's logs expect."""

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname[0] if record.levelno > logging.INFO else "I"
        when = datetime.fromtimestamp(record.created)
        thread = threading.get_native_id()
        place = f"{record.filename}:{record.lineno}"
        text = record.getMessage()
        shown = text if getattr(record, "of_script", False) else one_line(text)
        return f"{level}{when:%m%d %H:%M:%S.%f} {thread:5d} {place}] {shown}"


def log_to_stderr(level: int, stderr: bool = True) -> None:
    """Show messages of Dragon from `level` on, one of Python's, on stderr or nowhere; replaces what was set before."""
    log.setLevel(level)
    for handler in [h for h in log.handlers if getattr(h, "yields_to_init_log", False)]:
        log.removeHandler(handler)
    if stderr:
        shown = logging.StreamHandler()
        shown.setFormatter(GlogFormatter())
        shown.yields_to_init_log = True  # type: ignore[attr-defined]
        log.addHandler(shown)


def show_log() -> None:
    """Show the log on stderr unless the program has set up logging.

    From the level that the environment variable GLOG_minloglevel says, as in Caffe; else all of it.
    """
    if log.level != logging.NOTSET or log.hasHandlers():
        return
    wanted = os.environ.get("GLOG_minloglevel", "")  # noqa: SIM112  glog's name
    log_to_stderr(LEVELS[min(int(wanted), len(LEVELS) - 1)] if wanted.isdecimal() else logging.INFO)


class GlogObserver(Observer):
    """Logs what Caffe logs, to `logger`. meter: an observer that stands before this one in the list of the solver."""

    def __init__(self, meter: Meter, logger: logging.Logger = log) -> None:
        self._lap = Lap(meter)
        self._log = logger

    def on_start(self, solver: Solver) -> None:
        self._log.info("Solving %s", solver.net.name)
        self._log.info("Learning Rate Policy: %s", solver.param.lr_policy)

    def on_display(self, solver: Solver, loss: float, rate: float) -> None:
        if not self._log.isEnabledFor(logging.INFO):
            return
        done, seconds = self._lap.take()
        speed = done / seconds if seconds else 0.0
        message = "Iteration %d (%g iter/s, %gs/%d iters), loss = %s"
        self._log.info(message, solver.iter, speed, seconds, done, format_value(loss))
        for k, element in enumerate(output_elements(solver.net, solver.net.output_values())):
            self._log.info("    Train net output #%d: %s", k, output_line(*element))
        self._log.info("Iteration %d, lr = %g", solver.iter, rate)

    def on_test_start(self, solver: Solver, index: int) -> None:
        self._log.info("Iteration %d, Testing net (#%d)", solver.iter, index)

    def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
        if "(loss)" in scores:
            self._log.info("Test loss: %s", format_value(float(scores["(loss)"])))
        outputs = {name: value for name, value in scores.items() if name != "(loss)"}
        for k, element in enumerate(output_elements(solver.test_nets[index], outputs)):
            self._log.info("    Test net output #%d: %s", k, output_line(*element))

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        form = "HDF5" if solver.param.snapshot_format == pb.SolverParameter.HDF5 else "binary proto"
        self._log.info("Snapshotting to %s file %s", form, model)
        self._log.info("Snapshotting solver state to %s file %s", form, state)

    def on_end(self, solver: Solver) -> None:
        if solver.stopped:
            self._log.info("Optimization stopped early.")
        elif solver.iter >= solver.param.max_iter:
            self._log.info("Optimization Done.")
