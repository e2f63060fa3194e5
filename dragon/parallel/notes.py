"""Notes from ranks to the process that started them: lines on stderr, which that process takes out.

mpiexec brings the stderr of ranks on all machines, so that no network connection or shared folder is needed.
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MARK", "Heard", "Noted", "tell"]

MARK = "dragon-rank: "


@dataclass(frozen=True)
class Noted:
    """A rank, and the process that it is; of one that was killed the signal, and when in seconds.

    status: of one that has failed.
    """

    rank: int
    of: int
    pid: int
    host: str
    signal: int = 0
    time: float = 0.0
    status: int = 0

    def __str__(self) -> str:
        who = f"rank {self.rank} of {self.of} (process {self.pid} on {self.host})"
        if not self.signal:
            return who
        try:
            name = f" ({signal.Signals(self.signal).name})"
        except ValueError:
            name = ""
        return f"{who} was killed by signal {self.signal}{name}"


@dataclass
class Heard:
    """What the ranks of a job and their watchers have noted so far.

    ranks, killed, failed: of the last start. run: the run's folder. snapshots: states that the job has written, oldest
    first. final: a rank ended by an error that would come again: wrong input, a loss that is not finite, or an
    interrupt.
    """

    ranks: list[Noted] = field(default_factory=list)
    killed: list[Noted] = field(default_factory=list)
    failed: list[Noted] = field(default_factory=list)
    run: str | None = None
    snapshots: list[str] = field(default_factory=list)
    final: bool = False

    def take(self, line: str) -> bool:
        """Whether a line of stderr is a note, which is taken in."""
        if not line.startswith(MARK):
            return False
        try:
            note: dict[str, Any] = json.loads(line[len(MARK) :])
            if "rank" in note:
                noted = Noted(**note)
                (self.killed if noted.signal else self.failed if noted.status else self.ranks).append(noted)
            self.run = note.get("run", self.run)
            self.snapshots += [note["snapshot"]] if "snapshot" in note else []
            self.final = note.get("final", self.final)
        except (ValueError, TypeError, AttributeError):
            return False  # two lines mixed up: it is shown
        return True

    def death(self) -> str | None:
        """The rank that was killed first, after which mpiexec ends the others; None if none was killed."""
        first = min(self.killed, key=lambda noted: noted.time, default=None)
        return None if first is None else str(first)

    def forget_ranks(self) -> None:
        """Before the next start."""
        self.ranks.clear()
        self.killed.clear()
        self.failed.clear()
        self.final = False


def tell(**facts: object) -> None:
    """Write a note; in one piece, so that those of several ranks do not mix."""
    os.write(2, f"{MARK}{json.dumps(facts)}\n".encode())
