"""The log of a training as a table, which is the same each time: it goes with the weights that the training made."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from dragon.tools.observers.metrics import Record, read_records

__all__ = ["FILE", "training_table"]

FILE = "training.csv"


def training_table(metrics: Path, iteration: int, output: str, value: float) -> str:
    """The rates, losses and test outputs in a metrics.jsonl as CSV, a row for each iteration that has any.

    Of an iteration that was logged twice, before and after an interruption, the later line counts. There are no times.
    iteration, output, value: the last one, and what the weights score. It stands in place of the training's own last
    test, before which Caffe's solver runs one more batch, and running averages take it in. Raises OSError.
    """
    rows: dict[int, dict[str, float]] = {}
    for record in read_records(metrics):
        if record["event"] in ("display", "test"):
            rows.setdefault(record["iteration"], {}).update(_values(record))
    last = {name: number for name, number in rows.get(iteration, {}).items() if ":" not in name}
    rows[iteration] = {**last, f"test: {output}": value}
    columns = ["rate", "train loss", *dict.fromkeys(name for row in rows.values() for name in row if ":" in name)]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["iteration", *columns])
    for at, row in sorted(rows.items()):
        table.writerow([at, *(f"{row[name]:.6g}" if name in row else "" for name in columns)])
    return text.getvalue()


def _values(record: Record) -> dict[str, float]:
    """The numbers of a record; what was not finite is null in the file."""
    values = {"rate": record.get("lr"), "train loss": record.get("loss")}
    if record["event"] == "test":
        values = {f"test: {name}": value for name, value in record["outputs"].items()}
    return {name: value for name, value in values.items() if isinstance(value, int | float)}
