"""Decides where the files of a training go, and what it goes on from.

A solver with a snapshot_prefix writes where that says, as Caffe does. Without one, for a net of the zoo that is given
by its name, and where --run asks for it, a run has a folder of its own: see dragon.tools.runs.folder and docs/runs.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dragon.errors import UsageError
from dragon.models.facts import ROOT as ZOO
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import read_solver_definition
from dragon.solver.solver import Solver
from dragon.tools.runs.folder import ROOT, SOLVER, find_run, latest_run, new_run, run_name, write_definition
from dragon.tools.runs.record import search_folder
from dragon.tools.runs.resuming import restore_newest

__all__ = ["Place", "choose_place"]


@dataclass
class Place:
    """Where a training reads its solver, writes its files, and begins.

    solver: the prototxt. run: the folder of the run that goes on. base: the folder in which a new run is numbered;
    None: the solver's snapshot_prefix says where files go. by_prefix: files go there, or beside the solver, in any
    case. newest: go on from the newest snapshot, `among` these if there are any. snapshot: go on from this one.
    net_folder: see `Solver`.
    """

    solver: str
    name: str
    run: Path | None = None
    base: Path | None = None
    newest: bool = False
    among: tuple[str, ...] = ()
    snapshot: str | None = None
    net_folder: Path | None = None
    by_prefix: bool = False
    _given_prefix: str = ""  # that of the file, before changes

    @property
    def goes_on(self) -> bool:
        """Whether weights come from a snapshot."""
        return self.newest or self.snapshot is not None

    def read(self, allow_unknown: bool, profile: str | None) -> Definition[pb.SolverParameter]:
        """The solver; of a run that goes on, with the nets in its folder. Raises DragonError."""
        definition = read_solver_definition(self.solver, allow_unknown, profile)
        if self.run is not None and Path(self.solver).parent == self.run:
            _take_own_nets(definition.message, self.run)
        self._given_prefix = definition.message.snapshot_prefix
        return definition

    def decide(self, p: pb.SolverParameter) -> None:
        """Find the run's folder for a solver without prefix, and let snapshots go to the run's. Raises UsageError."""
        prefix = p.snapshot_prefix
        of_the_zoo = Path(self.solver).parent.parent == ZOO and prefix == self._given_prefix
        if self.run is None and self.base is None and not self.by_prefix and (not prefix or of_the_zoo):
            self.base = ROOT / self.name
            if self.newest:
                self.run = _last(self.base)
        if self.run is not None:
            p.snapshot_prefix = str(self.run / self.name)

    def restore(self, solver: Solver) -> str | None:
        """Give the solver the state that it goes on from; its path, or None for a training from the start."""
        if self.newest:
            return restore_newest(solver, by_time=self.run is None, among=self.among)
        if self.snapshot is not None:
            solver.restore(self.snapshot)
        return self.snapshot

    def start_over(self, run: str | None, snapshots: tuple[str, ...]) -> None:
        """Go on with a job that died. run: the folder of its run. snapshots: those that it has written."""
        if run is not None:
            self.run = Path(run)
        if snapshots:
            self.newest, self.among, self.snapshot = True, snapshots, None

    def settle(self, solver: Solver) -> Path | None:
        """The run's folder, made if it is new, with solver and nets in it; None for a training without one."""
        if self.run is None and self.base is not None:
            self.run = new_run(self.base)
            solver.param.snapshot_prefix = str(self.run / self.name)
        if self.run is not None:
            write_definition(self.run, solver)
        return self.run

    def start_again(self, run: Path | None) -> list[str]:
        """The words of the command line that goes on."""
        return ["dragon", "train", *(["--solver", self.solver] if run is None else ["--resume", run.as_posix()])]


def choose_place(
    solver: str | None, runs: str | None, by_prefix: bool, resume: str | None, snapshot: str | None, weights: str | None
) -> Place:
    """The place of a training, from the values of --solver, --run, --no-run, --resume, --snapshot and --weights.

    An empty text is a flag without a value. Raises UsageError for flags that contradict each other, and for a run that
    is not there.
    """
    if (snapshot is not None or resume is not None) and weights:
        raise UsageError(
            f"give --{'resume' if snapshot is None else 'snapshot'} to go on with a run or --weights to start from a "
            "trained net, not both"
        )
    if resume is not None and snapshot is not None:
        raise UsageError("give --resume to go on from the newest snapshot or --snapshot to name one, not both")
    if by_prefix and runs is not None:
        raise UsageError("--run and --no-run contradict each other")
    if resume:
        if by_prefix:
            raise UsageError(f"--resume {resume} goes on in that run: leave out --no-run")
        if solver is not None:
            raise UsageError(f"--resume {resume} takes the solver of that run: leave out --solver, or the run's name")
        if runs is not None:
            raise UsageError(f"--resume {resume} goes on in that run: leave out --run")
        found = find_run(resume)
        return Place(str(found / SOLVER), _name_in(found), run=found, newest=True, net_folder=search_folder(found))
    if solver is None:
        raise UsageError("name the solver, or the run to go on with")
    name = run_name(solver)
    base = None if runs is None else Path(runs) if runs else ROOT / name
    newest = resume is not None
    run = _last(base) if newest and base is not None else None
    return Place(solver, name, run=run, base=base, newest=newest, snapshot=snapshot, by_prefix=by_prefix)


def _last(base: Path) -> Path:
    found = latest_run(base)
    if found is None:
        raise UsageError(f"no run to go on with: {base} has none")
    return found


def _name_in(run: Path) -> str:
    """The beginning of the names of a run's snapshots."""
    prefix = read_solver_definition(run / SOLVER, allow_unknown=True).message.snapshot_prefix
    return Path(prefix).name or run_name(run.resolve().parent)


def _take_own_nets(p: pb.SolverParameter, run: Path) -> None:
    """Let a solver name the nets in the run's folder, which may have been moved."""
    for field in ("net", "train_net"):
        if p.HasField(field) and (run / Path(getattr(p, field)).name).is_file():
            setattr(p, field, str(run / Path(getattr(p, field)).name))
    for k, net in enumerate(p.test_net):
        if (run / Path(net).name).is_file():
            p.test_net[k] = str(run / Path(net).name)
