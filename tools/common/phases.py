"""The times of several ranks by phase, as a run's metrics have them: read from there, and drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dragon.errors import DataError
from dragon.tools.common.curves import new_figure, whole_iterations
from dragon.tools.observers.metrics import PHASES, read_records

__all__ = ["PhaseTimes", "draw_phases", "read_phases"]


@dataclass
class PhaseTimes:
    """Milliseconds of an iteration by phase and rank, at each display."""

    iterations: list[int]
    times: dict[str, list[list[float]]]  # by phase, for each display one number for each rank

    @property
    def ranks(self) -> int:
        """How many ranks there are."""
        return len(self.times[PHASES[0]][0])

    def means(self, phase: str) -> list[float]:
        """The mean of each rank, without the first display, at which nets prepare themselves."""
        rows = self.times[phase]
        rows = rows[1:] or rows
        return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def read_phases(path: str | Path) -> PhaseTimes:
    """The times in a metrics.jsonl, or in that of a folder. Raises DataError where there are none."""
    file = Path(path)
    file = file / "metrics.jsonl" if file.is_dir() else file
    try:
        records = read_records(file)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None
    found = [(record["iteration"], row) for record in records if (row := _row(record)) is not None]
    found = [(k, row) for k, row in found if len(row[0]) == len(found[-1][1][0])]  # since it has as many ranks
    if not found:
        raise DataError(f"{file}: no times of several ranks are recorded in it")
    return PhaseTimes([k for k, _ in found], {p: [row[i] for _, row in found] for i, p in enumerate(PHASES)})


def _row(record: Mapping[str, Any]) -> list[list[float]] | None:
    rows = [record.get(f"{phase}_ms") for phase in PHASES]
    numbers = [row for row in rows if isinstance(row, list) and row and all(isinstance(v, (int, float)) for v in row)]
    equal = len(numbers) == len(PHASES) and len({len(row) for row in numbers}) == 1
    return numbers if equal else None


def draw_phases(phases: PhaseTimes, title: str) -> Any:
    """A figure: a bar for each rank, and along the training the time that the others wait for."""
    figure = new_figure(8, 6.9)
    figure.suptitle(title)
    bars, lines = figure.add_subplot(2, 1, 1), figure.add_subplot(2, 1, 2)
    below = [0.0] * phases.ranks
    for phase in PHASES:
        means = phases.means(phase)
        bars.bar(range(phases.ranks), means, bottom=below, label=phase)
        below = [a + b for a, b in zip(below, means, strict=True)]
    bars.set_xlabel("rank")
    bars.set_ylabel("ms of an iteration")
    bars.xaxis.get_major_locator().set_params(integer=True)
    bars.legend(fontsize="small")
    own = [_added(row) for row in zip(phases.times["read"], phases.times["compute"], strict=True)]
    for rank in _slowest([a + b for a, b in zip(phases.means("read"), phases.means("compute"), strict=True)]):
        lines.plot(phases.iterations, [row[rank] for row in own], label=f"rank {rank}", linewidth=1)
    lines.set_xlabel("iteration")
    lines.set_ylabel("read and compute, ms")
    lines.grid(alpha=0.3)
    lines.legend(fontsize="small")
    whole_iterations(lines)
    return figure


def _added(rows: Iterable[list[float]]) -> list[float]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _slowest(times: list[float], most: int = 8) -> list[int]:
    """The ranks that take longest, at most so many, in their order."""
    return sorted(sorted(range(len(times)), key=lambda k: -times[k])[:most])
