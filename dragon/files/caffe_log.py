"""What a training log says, ours or Caffe's: a row of figures for each time the solver spoke.

Lines of interest, after glog's prefix: `Solving NAME`, `Iteration N (..), loss = L`, `Iteration N, lr = R`,
`Train net output #K: NAME = V (..)`, `Iteration N, Testing net (#I)`, `Test net output #K: NAME = V`; in logs of the
first versions `Iteration N, Testing net` and `Test score #K: V`.

A run that goes on from a snapshot, in the same log, says some iterations again: what it says last counts.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from dragon.errors import DataError
from dragon.files.atomic import write_atomically
from dragon.files.reading import read_bytes

__all__ = ["SMOOTHED_LOSS", "Log", "Row", "read_log", "write_tables"]

# "1.#QNAN", "-1.#IND" and "1.#INF" are what Microsoft's library once wrote
_NUMBER = r"([-+]?(?:\d\.#[A-Z]+\d*|\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+|(?i:nan(?:\([a-z]+\))?|inf(?:inity)?)))"
_STAMP = re.compile(r"^[IWEF](\d{2})(\d{2}) (\d{2}):(\d{2}):(\d{2})\.(\d{6})")  # month, day, time
_STAMP_YEAR = re.compile(r"^[IWEF](\d{4})(\d{2})(\d{2}) (\d{2}):(\d{2}):(\d{2})\.(\d{6})")  # glog 0.5 and later
_CREATED = re.compile(r"Log file created at: (\d{4})/")
_ITERATION = re.compile(r"Iteration (\d+)\b")
_LOSS = re.compile(r"Iteration \d+.*, loss = " + _NUMBER)
_RATE = re.compile(r"Iteration \d+, lr = " + _NUMBER)
_TESTING = re.compile(r"Iteration \d+, Testing net(?: \(#(\d+)\))?")
_OUTPUT = re.compile(r"(Train|Test) net output #(\d+): (.+?) = " + _NUMBER + r"\s*(?:\(|$)")
_SCORE = re.compile(r"(Test) score #(\d+):(?: (.+?) =)? " + _NUMBER + r"\s*(?:\(|$)")
_SOLVING = re.compile(r"(?:^|\] )Solving ?(.*)")

SMOOTHED_LOSS = "smoothed_loss"  # the mean over average_loss iterations that stands in the line of the iteration

_LOOK = 4096  # bytes that tell UTF-16 without a mark
Row = dict[str, float]


@dataclass
class Log:
    """Rows with NumIters, Seconds, LearningRate and the outputs by name; tests of several nets by their number."""

    train: list[Row] = field(default_factory=list)
    tests: dict[int, list[Row]] = field(default_factory=dict)
    net: str = ""  # its name
    synthetic: bool = False  # trained on data that a program drew

    def tables(self) -> Iterator[list[Row]]:
        """The rows of training and of each test net."""
        yield self.train
        yield from self.tests.values()

    def add(self, net: int | None, iteration: int, seconds: float, rate: float = math.nan) -> Row:
        """A new row of a test net, or of training (None), in place of those that an earlier run said from there on."""
        rows = self.train if net is None else self.tests.setdefault(net, [])
        while rows and rows[-1]["NumIters"] >= iteration:
            rows.pop()
        row: Row = {"NumIters": iteration, "Seconds": seconds, "LearningRate": rate}
        rows.append(row)
        return row

    def seconds_at(self, iteration: int) -> float:
        """Seconds of training when it came to this iteration, 0 where that is not known."""
        found = (r["Seconds"] for rows in self.tables() for r in rows if r["NumIters"] <= iteration)
        return max((s for s in found if math.isfinite(s)), default=0.0)

    def fill_rates(self) -> None:
        """Give rows of tests the learning rate of their iteration, else the one before, else the first."""
        rates = {r["NumIters"]: r["LearningRate"] for r in self.train if math.isfinite(r["LearningRate"])}
        if not rates:
            return
        known = list(rates)  # ascending, as the rows are
        for rows in self.tests.values():
            for row in rows:
                row["LearningRate"] = rates[known[max(0, bisect_right(known, row["NumIters"]) - 1)]]


class _Clock:
    """Seconds of training; stamps without a year go on over New Year, and time between two runs does not count."""

    def __init__(self) -> None:
        self.year = 2000
        self.start: datetime | None = None
        self.before = 0.0  # seconds of the runs before this one
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
        if self.start is None:
            self.start = self.now
        return self.before + (self.now - self.start).total_seconds()


def read_log(path: str | Path) -> Log:
    """The rows of a log. DataError when it cannot be read or tells of no iteration."""
    try:
        lines = _decoded(read_bytes(path)).splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    reader = _Reader()
    for line in lines:
        reader.line(line)
    if not any(reader.log.tables()):
        raise DataError(f'{path}: no line of a solver in it, such as "Iteration 100, loss = 2.3"')
    reader.log.fill_rates()
    return reader.log


def _decoded(content: bytes) -> str:
    """The text of a log; what PowerShell's `>` writes is UTF-16."""
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return content.decode("utf-16", "replace")
    half = content[: 2 * (len(content) // 2)][:_LOOK]
    for encoding, high in (("utf-16-le", half[1::2]), ("utf-16-be", half[::2])):
        if half and high.count(0) > len(high) // 2:
            return content.decode(encoding, "replace")
    return content.decode("utf-8-sig", "replace")


class _Reader:
    def __init__(self) -> None:
        self.log = Log()
        self.clock = _Clock()
        self.iteration: int | None = None
        self.net = 0
        self.rate = (-1, math.nan)  # iteration, rate
        self.resumed = False

    def line(self, line: str) -> None:
        created = _CREATED.search(line)
        if created:
            self.clock.year = int(created[1])
        self.clock.read(line)
        solving = _SOLVING.search(line)
        if solving:
            self.log.net = solving[1].strip()
            self.clock.start = self.clock.now
            self.resumed = self.iteration is not None
        self.log.synthetic |= "SYNTHETIC data" in line
        iteration = _ITERATION.search(line)
        if iteration:
            self.iteration = int(iteration[1])
            if self.resumed:
                self.clock.before = self.log.seconds_at(self.iteration)
                self.resumed = False
        if self.iteration is not None:
            self._figures(line, self.iteration)

    def _figures(self, line: str, iteration: int) -> None:
        testing, loss, rate = (p.search(line) for p in (_TESTING, _LOSS, _RATE))
        output = _OUTPUT.search(line) or _SCORE.search(line)
        if testing:
            self.net = int(testing[1] or 0)
            self.log.add(self.net, iteration, self.clock.seconds())
        elif rate:
            self.rate = iteration, _value(rate[1])
            if self.log.train and self.log.train[-1]["NumIters"] == iteration:
                self.log.train[-1]["LearningRate"] = self.rate[1]
        elif loss:
            said = self.rate[1] if self.rate[0] == iteration else math.nan  # before the loss in the first versions
            self.log.add(None, iteration, self.clock.seconds(), said)[SMOOTHED_LOSS] = _value(loss[1])
        elif output:
            which, number, name, value = output.groups()
            name = name or "score"
            row = self._row(None if which == "Train" else self.net, iteration)
            row[name if name not in row else f"{name}_{number}"] = _value(value)

    def _row(self, net: int | None, iteration: int) -> Row:
        """The row that has been begun for this iteration, or a new one."""
        rows = self.log.train if net is None else self.log.tests.get(net, [])
        if rows and rows[-1]["NumIters"] == iteration:
            return rows[-1]
        return self.log.add(net, iteration, self.clock.seconds())


def _value(text: str) -> float:
    if "#" in text or "(" in text:
        return float("-inf" if text.startswith("-") else "inf") if "#INF" in text else math.nan
    return float(text) + 0.0  # never -0


def _columns(rows: list[Row]) -> list[str]:
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    return [n for n in names if n != SMOOTHED_LOSS]


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
            columns.append(SMOOTHED_LOSS)
        text = io.StringIO()
        table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(_plain(row) for row in rows)
        path = Path(folder) / f"{name}.{ending}"
        write_atomically(path, text.getvalue().encode())
        written.append((str(path), len(rows)))
    return written


def _plain(row: Row) -> dict[str, float | int]:
    return {k: int(v) if k == "NumIters" else round(v, 6) if k == "Seconds" else v for k, v in row.items()}
