"""What a training log says, ours or Caffe's: a row of figures for each time the solver spoke.

Lines of interest, after glog's prefix: `Solving NAME`, `Iteration N (..), loss = L`, `Iteration N, lr = R`,
`Train net output #K: NAME = V (..)`, `Iteration N, Testing net (#I)`, `Test net output #K: NAME = V`.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from dragon.atomic import write_atomically
from dragon.errors import DataError

__all__ = ["Log", "read_log", "write_tables"]

_NUMBER = r"([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+|nan|inf))"
_STAMP = re.compile(r"^[IWEF](\d{2})(\d{2}) (\d{2}):(\d{2}):(\d{2})\.(\d{6})")  # month, day, time
_STAMP_YEAR = re.compile(r"^[IWEF](\d{4})(\d{2})(\d{2}) (\d{2}):(\d{2}):(\d{2})\.(\d{6})")  # glog 0.5 and later
_CREATED = re.compile(r"Log file created at: (\d{4})/")
_ITERATION = re.compile(r"Iteration (\d+)\b")
_LOSS = re.compile(r"Iteration \d+.*, loss = " + _NUMBER)
_RATE = re.compile(r"Iteration \d+, lr = " + _NUMBER)
_TESTING = re.compile(r"Iteration \d+, Testing net \(#(\d+)\)")
_OUTPUT = re.compile(r"(Train|Test) net output #(\d+): (\S+) = " + _NUMBER)

Row = dict[str, float]


@dataclass
class Log:
    """Rows with NumIters, Seconds, LearningRate and the outputs by name; tests of several nets by their number."""

    train: list[Row] = field(default_factory=list)
    tests: dict[int, list[Row]] = field(default_factory=dict)


class _Clock:
    """Seconds since training began; stamps without a year go on over New Year."""

    def __init__(self) -> None:
        self.year = 2000
        self.start: datetime | None = None
        self.now: datetime | None = None

    def read(self, line: str) -> None:
        match = _STAMP_YEAR.match(line)
        fields = [int(g) for g in match.groups()] if match else None
        if fields is None:
            match = _STAMP.match(line)
            if match is None:
                return
            fields = [self.year, *(int(g) for g in match.groups())]
        try:
            stamp = datetime(*fields)  # type: ignore[arg-type]
            if self.now is not None and stamp < self.now - timedelta(days=300):
                self.year += 1
                stamp = stamp.replace(year=self.year)
        except ValueError:  # no such date
            return
        self.now = stamp

    def seconds(self) -> float:
        if self.now is None:
            return float("nan")
        return (self.now - (self.start or self.now)).total_seconds()


def read_log(path: str | Path) -> Log:
    """The rows of a log. DataError when it cannot be read or tells of no iteration."""
    try:
        lines = Path(path).read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    reader = _Reader()
    for line in lines:
        reader.line(line)
    if not reader.log.train and not reader.log.tests:
        raise DataError(f'{path}: no line of a solver in it, such as "Iteration 100, loss = 2.3"')
    return reader.log


class _Reader:
    def __init__(self) -> None:
        self.log = Log()
        self.clock = _Clock()
        self.iteration: int | None = None
        self.net = 0
        self.rate = float("nan")

    def line(self, line: str) -> None:
        created = _CREATED.search(line)
        if created:
            self.clock.year = int(created[1])
        self.clock.read(line)
        if "] Solving " in line or line.startswith("Solving "):
            self.clock.start = self.clock.now
        iteration = _ITERATION.search(line)
        if iteration:
            self.iteration = int(iteration[1])
        if self.iteration is None:
            return
        self._figures(line)

    def _figures(self, line: str) -> None:
        testing, loss, rate, output = (p.search(line) for p in (_TESTING, _LOSS, _RATE, _OUTPUT))
        if testing:
            self.net = int(testing[1])
            self._row(self.log.tests.setdefault(self.net, []))
        elif rate:
            self.rate = float(rate[1])
            if self.log.train and self.log.train[-1]["NumIters"] == self.iteration:
                self.log.train[-1]["LearningRate"] = self.rate
        elif loss:
            self._row(self.log.train)["smoothed_loss"] = float(loss[1])
        elif output:
            which, number, name, value = output.groups()
            train = which == "Train"
            rows = self.log.train if train else self.log.tests.setdefault(self.net, [])
            row = rows[-1] if rows and rows[-1]["NumIters"] == self.iteration else self._row(rows)
            row[name if name not in row else f"{name}_{number}"] = float(value)

    def _row(self, rows: list[Row]) -> Row:
        assert self.iteration is not None
        row: Row = {"NumIters": self.iteration, "Seconds": self.clock.seconds(), "LearningRate": self.rate}
        if rows and rows[-1]["NumIters"] == self.iteration:
            rows.pop()  # the solver said it twice: a resumed run
        rows.append(row)
        return row


def _columns(rows: list[Row]) -> list[str]:
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    return [n for n in names if n != "smoothed_loss"]


def write_tables(log: Log, folder: str | Path, name: str) -> list[tuple[str, int]]:
    """Write NAME.train and NAME.test (NAME.test1, .. for further test nets) as CSV; the paths and numbers of rows."""
    tables = [("train", log.train)]
    tables += [("test" if i == 0 else f"test{i}", rows) for i, rows in sorted(log.tests.items())]
    written = []
    for ending, rows in tables:
        if not rows:
            continue
        columns = _columns(rows)
        if ending == "train" and not set(columns) - {"NumIters", "Seconds", "LearningRate"}:
            columns.append("smoothed_loss")
        text = io.StringIO()
        table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(_plain(row) for row in rows)
        path = Path(folder) / f"{name}.{ending}"
        write_atomically(path, text.getvalue().encode())
        written.append((str(path), len(rows)))
    return written


def _plain(row: Row) -> dict[str, float | int]:
    return {k: int(v) if k == "NumIters" else v for k, v in row.items()}
