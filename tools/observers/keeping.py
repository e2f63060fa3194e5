"""Which snapshots stay: the last ones, and the weights of the best test."""

from __future__ import annotations

from pathlib import Path

from dragon.files.folders import make_folder
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.solver.meter import Meter
from dragon.solver.snapshot_names import snapshot_base
from dragon.solver.solver import Observer, Solver
from dragon.tools.observers.metrics import MetricsObserver
from dragon.tools.observers.probes import states_path
from dragon.tools.runs.best import Score, best_of, score_of
from dragon.tools.runs.resuming import snapshots_of

__all__ = ["KeepBest", "KeepLast", "best_path"]


class KeepLast(Observer):
    """Removes older snapshots when one is written, so that `count` stay.

    earlier: those that were there up to the iteration at which training starts count too, as in the folder of a run.
    Otherwise only snapshots of this training are removed.
    """

    def __init__(self, count: int, earlier: bool) -> None:
        self._count = count
        self._earlier = earlier
        self._written: list[str] = []  # states, oldest first

    def on_start(self, solver: Solver) -> None:
        if self._earlier:
            found = snapshots_of(Path(snapshot_base(solver)))
            self._written = [str(path) for iteration, path in found if iteration <= solver.iter]

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        self._written = [path for path in self._written if path != state] + [state]
        while len(self._written) > self._count:
            _remove(self._written.pop(0))


def _remove(state: str) -> None:
    """Remove a snapshot: first the state, so that there is never one without its model."""
    ending = ".h5" if state.endswith(".h5") else ""
    model = f"{state.removesuffix('.h5').removesuffix('.solverstate')}.caffemodel{ending}"
    for path in (Path(state), states_path(state), Path(model)):
        path.unlink(missing_ok=True)


class KeepBest(Observer):
    """Writes PREFIX_best.caffemodel whenever a test is better than all before, those of a resumed run included.

    The score is that of dragon.tools.runs.best. It must come after `metrics` among the observers.
    """

    def __init__(self, metrics: MetricsObserver, meter: Meter) -> None:
        self._metrics = metrics
        self._meter = meter
        self._best: Score | None = None

    def on_start(self, solver: Solver) -> None:
        if solver.test_nets and best_path(solver).is_file():
            self._best = best_of(solver.test_nets[0], self._metrics.records)

    def on_test(self, solver: Solver, index: int, scores: dict[str, Array]) -> None:
        score = score_of(solver.test_nets[0], scores, solver.iter) if index == 0 else None
        if score is not None and score.better(self._best):
            path = best_path(solver)
            make_folder(path.parent)
            solver.net.save(path)
            self._best = score
            self._meter.skip()


def best_path(solver: Solver) -> Path:
    """Where the weights of the best test are written."""
    ending = ".h5" if solver.param.snapshot_format == pb.SolverParameter.HDF5 else ""
    return Path(f"{snapshot_base(solver).removesuffix('_iter_')}_best.caffemodel{ending}")
