"""Jobs for workers, and what becomes of those whose worker dies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dragon.errors
from dragon.counting import how_many
from dragon.errors import DragonError

__all__ = ["Deaths", "Job", "Message", "OnMessage", "job_error"]

Message = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A job for a worker, which writes its answer, JSON, to the file `result`. content: see dragon.compare.worker.

    threads: in place of its share of the cores. fresh: in a process of its own. place: what its errors begin with, the
    file and line of what it is of.
    """

    name: str
    result: Path
    content: dict[str, Any]
    threads: int | None = None
    fresh: bool = False
    place: str = ""


OnMessage = Callable[[Job, Message], None]


class Deaths:
    """Counts the workers that died. A job is given to a second one, and reported when that dies too."""

    def __init__(self) -> None:
        self._died: set[str] = set()
        self._failures: list[str] = []

    def give_again(self, job: Job, how: str) -> bool:
        """Whether the job is to be given to another worker, after one died in the way `how`."""
        if job.name in self._died:
            self.give_up(job, f"its worker ended twice, with {how}")
            return False
        self._died.add(job.name)
        return True

    def give_up(self, job: Job, why: str) -> None:
        """Remember that a job cannot be done."""
        self._failures.append(f"{job.name}: {why}")

    def raise_failures(self) -> None:
        """Raise DragonError if there were jobs that could not be done."""
        if self._failures:
            others = f" (and {how_many(len(self._failures) - 1, 'other')})" if len(self._failures) > 1 else ""
            raise DragonError(self._failures[0] + others)


def job_error(job: Job, message: Message) -> DragonError:
    """The error that a worker reported, as its own type."""
    cls = getattr(dragon.errors, str(message.get("type")), DragonError)
    kind = cls if isinstance(cls, type) and issubclass(cls, DragonError) else DragonError
    return kind(f"{job.place}{job.name}: {message['error']}")
