"""Probes of `dragon train`: their values go to metrics.jsonl, their states into a file beside each snapshot."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from dragon.errors import DragonError, Position, WeightsError
from dragon.files.atomic import write_atomically
from dragon.files.reading import read_text
from dragon.probes import Probe, ProbeObserver
from dragon.probes.observer import OnValues
from dragon.solver.solver import Solver

__all__ = ["RecordedProbes", "states_path"]


def states_path(state: str) -> Path:
    """The file with the states of the probes that belongs to a solver state: PREFIX_iter_N.probes.json."""
    return Path(state.removesuffix(".h5").removesuffix(".solverstate") + ".probes.json")


class RecordedProbes(ProbeObserver):
    """Writes the states of probes with each snapshot, and reads them when a run goes on from one.

    resumed: the solver state that the run goes on from, or None. skip: called after each measurement, so that its time
    does not count as training. Without the file of states, probes begin anew.
    """

    def __init__(
        self, probes: Sequence[Probe], on_values: OnValues, skip: Callable[[], None], resumed: str | None = None
    ) -> None:
        super().__init__(probes, on_values)
        self._skip = skip
        self._resumed = resumed

    def on_start(self, solver: Solver) -> None:
        path = None if self._resumed is None else states_path(self._resumed)
        if path is not None and path.is_file():
            try:
                self.load_state(json.loads(read_text(path)))
            except DragonError as error:
                error.at(position=Position(str(path)))
                raise
            except ValueError:
                raise WeightsError("damaged, it is no JSON", position=Position(str(path))) from None
        super().on_start(solver)
        self._skip()

    def on_iteration(self, solver: Solver, loss: float, rate: float) -> None:
        before = self.seconds
        super().on_iteration(solver, loss, rate)
        if self.seconds > before:
            self._skip()

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        write_atomically(states_path(state), json.dumps(self.state(), allow_nan=False).encode())
