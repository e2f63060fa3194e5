"""metrics.jsonl: what happened in a training run, one JSON object per line.

{"event": "start" | "display" | "test" | "snapshot" | "end", "iteration": N, "time": seconds since 1970, ...}
display: loss, lr, outputs, images_per_second. test: net, outputs, seconds. snapshot: model, state. start: net, engine,
seed, parameters, data.
"""

from __future__ import annotations

import json
import math
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from dragon.files.atomic import write_atomically
from dragon.solver.solver import Observer, Solver
from dragon.tools.common.net_facts import data_labels, parameter_count
from dragon.tools.observers.meter import Lap, Meter

__all__ = ["MetricsObserver", "Record", "read_records"]

Record = dict[str, Any]
_MOST = 100  # values of one output; larger ones are left out


def read_records(path: Path) -> list[Record]:
    """The records of a file; a line that a killed process left half is not one. Empty where there is no file."""
    records = []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("iteration"), int) and "event" in record:
            records.append(record)
    return records


class MetricsObserver(Observer):
    """Appends to `path`. A run that goes on from a snapshot drops what had been written past its iteration."""

    def __init__(self, path: Path, meter: Meter) -> None:
        self.path = path
        self.records: list[Record] = []
        self._meter = meter
        self._lap = Lap(meter)
        self._file: IO[str] | None = None

    def on_start(self, solver: Solver) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.records = [r for r in read_records(self.path) if _before(r, solver.iter)]
        write_atomically(self.path, "".join(map(_line, self.records)).encode())
        self._file = self.path.open("a", encoding="utf-8")
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
        self._write(
            solver, "display", loss=_number(loss), lr=float(f"{rate:.7g}"), outputs=outputs, images_per_second=speed
        )

    def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Any]) -> None:
        self._write(solver, "test", net=index, outputs=_plain(scores), seconds=self._meter.test_seconds)

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        self._write(solver, "snapshot", model=model, state=state)

    def on_end(self, solver: Solver) -> None:
        if self._file is not None:
            self._write(solver, "end", stopped=solver.stopped, seconds=self._meter.seconds)
            self._file.close()
            self._file = None

    def _write(self, solver: Solver, event: str, **values: Any) -> None:
        record = {"event": event, "iteration": solver.iter, "time": round(time.time(), 3), **values}
        self.records.append(record)
        if self._file is not None:
            self._file.write(_line(record))
            self._file.flush()


def _before(record: Record, iteration: int) -> bool:
    """Whether a run that starts at `iteration` will not write this record again."""
    at: int = record["iteration"]
    return at < iteration or (at == iteration and record["event"] in ("snapshot", "end") and iteration > 0)


def _line(record: Record) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _number(value: float) -> float | None:
    return float(value) + 0.0 if math.isfinite(value) else None  # never -0


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays as numbers or flat lists."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        flat = [_number(float(v)) for v in np.ravel(value)[:_MOST]]
        if np.size(value) <= _MOST:
            result[name] = flat[0] if np.size(value) == 1 else flat
    return result
