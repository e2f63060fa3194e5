"""Command lines that go on with a training: the hint at its end, and the restart of a job whose rank died."""

from __future__ import annotations

from pathlib import Path

import click

from dragon.parallel.notes import Heard, tell
from dragon.solver.observer import Observer
from dragon.solver.solver import Solver
from dragon.tools.common.repeat import JOB, repeated_flags

__all__ = ["NoteSnapshots", "not_repeated", "words_again"]

# what these say stands in the snapshot, or is said anew
_NOT_REPEATED = ("--solver", "--weights", "--snapshot", "--resume", "--run", "--seed", "--iterations", JOB)
_IN_THE_RUN = ("--level", "--stage", "--profile", "--set")  # these stand in the solver of a run's folder
_BEGINNINGS = ("--weights", "--snapshot", "--resume")


def not_repeated(in_a_run: bool) -> tuple[str, ...]:
    """The flags that a command line that goes on does not repeat. in_a_run: the run has a folder of its own."""
    return (*_NOT_REPEATED, *_IN_THE_RUN) if in_a_run else _NOT_REPEATED


def words_again(context: click.Context, heard: Heard) -> list[str]:
    """The words of a start that goes on from the newest snapshot of a job; of the first start if there is none.

    context: of the first start.
    """
    name = str(context.command.name)
    if not heard.snapshots:
        return [name, *repeated_flags(context, ())]
    if heard.run is None:
        return [name, *repeated_flags(context, _BEGINNINGS)]
    iterations = context.params["iterations"]
    until = [] if iterations is None else ["--iterations", str(iterations)]
    without = (*not_repeated(True), "--no-run")
    return [name, "--resume", heard.run, *repeated_flags(context, without), *until]


class NoteSnapshots(Observer):
    """Tells the process that started the ranks where the run's files go."""

    def __init__(self, run: Path | None) -> None:
        if run is not None:
            tell(run=str(run))

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        """Note the state."""
        tell(snapshot=state)
