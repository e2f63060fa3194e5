"""Reads the figures of a training run, from a log, a metrics.jsonl, or the folder of one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from dragon.counting import how_many
from dragon.errors import DataError
from dragon.files.caffe_log import SMOOTHED_LOSS, Log, Row, read_log
from dragon.files.reading import open_regular
from dragon.tools.observers.metrics import Record, read_records
from dragon.tools.runs.folder import is_run

__all__ = ["read_run", "run_name"]

_METRICS = "metrics.jsonl"


def read_run(path: str | Path) -> Log:
    """The rows of a log (Dragon's or Caffe's), of a metrics.jsonl, or of a folder with one. Raises DataError."""
    file = _log_file(Path(path))
    try:
        with open_regular(file) as stream:
            metrics = stream.read(1) == b"{"
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None
    if not metrics:
        return read_log(file)
    log = _from_records(read_records(file))
    if not any(log.tables()):
        raise DataError(f"{file}: no losses or tests are recorded in it")
    return log


def run_name(path: str | Path) -> str:
    """The name of a run: that of the folder of a metrics.jsonl, NAME/NUMBER in runs/, else that of the file."""
    file = Path(path)
    folder = file if file.is_dir() else file.parent if file.name == _METRICS else None
    if folder is None:
        return file.name
    whole = folder.resolve()
    return f"{whole.parent.name}/{whole.name}" if is_run(whole) else whole.name


def _log_file(path: Path) -> Path:
    """The file to read for `path`: in a folder its metrics.jsonl or its only log. Raises DataError."""
    if not path.is_dir():
        return path
    if (path / _METRICS).is_file():
        return path / _METRICS
    logs = sorted(path.glob("*.log"))
    if len(logs) == 1:
        return logs[0]
    below = sorted(str(found.parent) for found in path.glob(f"*/{_METRICS}"))
    if below:
        raise DataError(f"{path}: no {_METRICS} in it, but in {', '.join(below[:5])}{', ..' * (len(below) > 5)}")
    raise DataError(
        f"{path}: no {_METRICS} in it" + (f", and {how_many(len(logs), 'log')}: name one" if logs else " and no .log")
    )


def _from_records(records: list[Record]) -> Log:
    log = Log()
    began = math.nan
    for record in records:
        event, iteration = record["event"], record["iteration"]
        now = _number(record.get("time"))
        if event == "start":
            began = now - log.seconds_at(iteration)  # for a resumed run, the time between does not count
            log.net = str(record.get("net", ""))
            labels = record.get("data")
            log.synthetic = isinstance(labels, list) and any("synthetic" in str(label).lower() for label in labels)
        elif event == "display":
            row = log.add(None, iteration, now - began, _number(record.get("lr")))
            row[SMOOTHED_LOSS] = _number(record.get("loss"))
            _outputs(row, record.get("outputs"))
        elif event == "test":
            net = record.get("net", 0)
            _outputs(log.add(net if isinstance(net, int) else 0, iteration, now - began), record.get("outputs"))
    log.fill_rates()
    return log


def _outputs(row: Row, outputs: Any) -> None:
    """Add outputs to a row, named as in a log: later elements of a list have their number in the name."""
    number = 0
    for name, values in outputs.items() if isinstance(outputs, dict) else ():
        for value in values if isinstance(values, list) else [values]:
            row[name if name not in row else f"{name}_{number}"] = _number(value)
            number += 1


def _number(value: Any) -> float:
    return float(value) + 0.0 if isinstance(value, (int, float)) else math.nan
