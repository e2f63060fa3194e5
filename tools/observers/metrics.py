"""Writes and reads metrics.jsonl: the events of a training run, one JSON object per line.

{"event": "start" | "display" | "test" | "probe" | "snapshot" | "end", "iteration": N, "time": seconds since 1970, ...}
display: loss, lr, outputs, images_per_second, the vitals (see dragon.tools.observers.vitals), and on several ranks
read_ms, compute_ms and wait_ms: milliseconds of an iteration, one number for each rank. test: net, outputs, seconds.
probe: name, values. snapshot: model, state. start: net, engine, seed, parameters, data. end: status (finished, stopped,
interrupted, failed), error of a failed run.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from dragon.errors import text_of
from dragon.files.atomic import check_writable, remove_unfinished, write_atomically
from dragon.files.folders import make_folder
from dragon.files.lock import LockedError, locked
from dragon.files.reading import read_text
from dragon.graph.facts import data_labels, parameter_count
from dragon.memory.storage import Array
from dragon.solver.meter import Lap, Meter
from dragon.solver.solver import Observer, Solver
from dragon.tools.common.logs import log
from dragon.tools.observers.vitals import Vitals

__all__ = ["PHASES", "MetricsObserver", "Record", "read_records", "status_of"]

PHASES = ("read", "compute", "wait")  # in a record with _ms: milliseconds of an iteration, one number for each rank
Record = dict[str, Any]
_INT64_LIMIT = 2**63
_MAX_VALUES = 100  # values of one output; larger ones are left out


def read_records(path: Path) -> list[Record]:
    """The records of a file, without lines that are incomplete; empty if there is no file. Raises OSError."""
    records = []
    try:
        lines = read_text(path, errors="replace").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            record = json.loads(line, parse_float=_finite, parse_int=_whole, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and _is_count(record.get("iteration")) and isinstance(record.get("event"), str):
            records.append(record)
    return records


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _whole(text: str) -> int | None:
    """An integer of 64 bits; None for a larger one."""
    value = int(text) if len(text) < 20 else _INT64_LIMIT
    return value if -_INT64_LIMIT < value < _INT64_LIMIT else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class MetricsObserver(Observer):
    """Appends records to `path`. A run that resumes from a snapshot drops the records after its iteration.

    While another run writes the file, nothing is written; a warning says so. vitals: further figures of a display.
    """

    def __init__(self, path: Path, meter: Meter, vitals: Vitals | None = None) -> None:
        self.path = path
        self._vitals = vitals
        self.records: list[Record] = []
        self._meter = meter
        self._lap = Lap(meter)
        self._file: io.FileIO | None = None  # unbuffered, so that a failed write is not retried later
        self._torn = False  # the last line may be incomplete
        self._early: list[tuple[str, Mapping[str, float | None]]] = []  # values of probes from before the start
        self._begun = False
        self._lock = ExitStack()
        self.locked_out = False  # another run writes the file: this one only collects its records

    def on_start(self, solver: Solver) -> None:
        self._start(solver)
        self._begun = True
        for name, values in self._early:
            self.add_probe(solver, name, values)
        self._early.clear()

    def _start(self, solver: Solver) -> None:
        make_folder(self.path.parent)
        check_writable(self.path)
        try:
            self._lock.enter_context(locked(self.path.parent / f".{self.path.name}.lock"))
        except LockedError as error:
            self.locked_out = True
            by = f" by process {error.owner}" if error.owner else ""
            log.warning("%s is being written%s: no metrics or curves; --output DIR gives them a place", self.path, by)
            return
        remove_unfinished(self.path.parent, re.escape(self.path.name))
        self.records = [r for r in read_records(self.path) if _before(r, solver.iter)]
        write_atomically(self.path, "".join(map(_line, self.records)).encode())
        self._file = io.FileIO(self.path, "a")
        self._write(
            solver,
            "start",
            net=solver.net.name,
            engine=solver.net.executor.name,
            precision=solver.net.executor.options.precision,
            seed=solver.seed,
            parameters=parameter_count(solver.net),
            batch=self._meter.images,
            max_iter=solver.param.max_iter,
            data=data_labels(solver.net),
        )

    def on_display(self, solver: Solver, loss: float, rate: float) -> None:
        done, seconds = self._lap.take()
        speed = done * self._meter.images / seconds if seconds else None
        outputs = _plain(solver.net.output_values())
        further: dict[str, Any] = {}
        if self._vitals is not None:
            further = {k: _number(v) for k, v in self._vitals.values.items()}
        for name in PHASES if solver.phases else ():
            further[f"{name}_ms"] = [round(getattr(phases, name), 3) for phases in solver.phases]
        rate = float(f"{rate:.7g}")
        self._write(solver, "display", loss=_number(loss), lr=rate, outputs=outputs, images_per_second=speed, **further)

    def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
        self._write(solver, "test", net=index, outputs=_plain(scores), seconds=self._meter.test_seconds)

    def add_probe(self, solver: Solver, name: str, values: Mapping[str, float | None]) -> None:
        """Record what a probe has measured; before `on_start`, which may follow, it is kept until then."""
        if self._begun:
            self._write(solver, "probe", name=name, values=dict(values))
        else:
            self._early.append((name, values))

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        self._write(solver, "snapshot", model=model, state=state)

    def on_end(self, solver: Solver) -> None:
        with self._lock:
            if self._file is None:
                return
            try:
                status, error = status_of(solver)
                self._write(solver, "end", stopped=solver.stopped, status=status, seconds=self._meter.seconds, **error)
            finally:
                self._file.close()
                self._file = None
                self._begun = False

    def _write(self, solver: Solver, event: str, **values: Any) -> None:
        record = {"event": event, "iteration": solver.iter, "time": round(time.time(), 3), **values}
        self.records.append(record)
        if self._file is not None:
            line = (("\n" if self._torn else "") + _line(record)).encode()
            self._torn = True
            try:
                if self._file.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(self.path)) from None
            self._torn = False


def status_of(solver: Solver) -> tuple[str, dict[str, str]]:
    """The status of a run that ended, and the error of one that failed."""
    if solver.failure is None:
        return "stopped" if solver.stopped else "finished", {}
    if isinstance(solver.failure, KeyboardInterrupt):
        return "interrupted", {}
    return "failed", {"error": text_of(solver.failure)}


def _before(record: Record, iteration: int) -> bool:
    """Whether a record is from before `iteration`, so that a run that starts there does not write it again."""
    at: int = record["iteration"]
    return at < iteration or (at == iteration and record["event"] in ("snapshot", "end", "probe") and iteration > 0)


def _line(record: Record) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _number(value: float) -> float | None:
    return float(value) + 0.0 if math.isfinite(value) else None  # never -0


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays as numbers or flat lists, without large ones; values that are not finite are None."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        flat = [_number(float(v)) for v in np.ravel(value)[:_MAX_VALUES]]
        if np.size(value) <= _MAX_VALUES:
            result[name] = flat[0] if np.size(value) == 1 else flat
    return result
