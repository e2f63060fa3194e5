"""Flags of the commands that run on several ranks: they start these by themselves, and start them again."""

from __future__ import annotations

import ctypes
import functools
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from dragon.counting import how_many
from dragon.errors import DragonError, UsageError
from dragon.parallel.notes import Heard, tell
from dragon.parallel.ranks import Ranks, started_count
from dragon.tools.common.engine_options import EngineChoice, named_gpus
from dragon.tools.common.logs import log
from dragon.tools.common.numbers import Count
from dragon.tools.common.repeat import JOB, repeated_flags

if TYPE_CHECKING:
    from dragon.parallel.launcher import Ended, Launcher

__all__ = ["RanksChoice", "noting", "ranks_options"]

_PR_SET_PDEATHSIG = 1
_MOMENT = 1.0  # seconds
Again = Callable[[click.Context, Heard], Sequence[str]]


_Words = Callable[[Heard], Sequence[str]]


@dataclass
class RanksChoice:
    """Values of the flags. job: what ranks are given by the process that started them, None for others.

    expected: how many processes that one has started. run, snapshots: of a job that was started again, its run's
    folder and the states that it has written.
    """

    ranks: int | None = None
    restarts: int = 0
    job: str | None = None
    expected: int = field(init=False, default=1)
    run: str | None = field(init=False, default=None)
    snapshots: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        if self.job is None:
            return
        try:
            facts = json.loads(self.job)
            self.expected = facts["ranks"]
            self.run = facts.get("run")
            self.snapshots = tuple(facts.get("snapshots", ()))
        except (ValueError, AttributeError, KeyError, TypeError):
            raise click.UsageError(f"{JOB} is set by --ranks alone") from None

    @property
    def supervised(self) -> bool:
        """Whether this process is a rank that another process of Dragon has started, and reads the notes of."""
        return self.job is not None

    def start(self, context: click.Context, choice: EngineChoice, again: Again | None) -> EngineChoice:
        """Start the ranks that --ranks or --gpu ask for, wait for them, and end the command with their status.

        Returns the choice of this process if it is to run the command itself. again: the words of a restart, from what
        the ranks have noted; None: those of the first start. Raises UsageError for flags that contradict what mpirun
        has started, DragonError for the rank that died.
        """
        started = max(1, started_count())
        if self.supervised:
            if started != self.expected:
                tell(final=True)
                raise UsageError(
                    f"mpiexec was to start {how_many(self.expected, 'process')}, but this one finds {started}"
                )
            _die_with_parent()
            return choice
        if started > 1:
            self._check_started(started)
            return choice
        wanted, choice = self._wanted(choice)
        if wanted is None:
            return choice
        words = [str(context.command.name), *repeated_flags(context, ())]
        words += ["--debug"] if log.isEnabledFor(logging.DEBUG) else []
        what = f"--ranks {wanted}" if self.ranks is not None else f"--gpu {choice.gpu}"
        from dragon.parallel.launcher import Launcher  # which a process that starts no ranks does not need

        launcher = Launcher(wanted, what)
        raise click.exceptions.Exit(
            self._supervise(launcher, words, None if again is None else partial(again, context))
        )

    def _check_started(self, started: int) -> None:
        if self.ranks is not None and self.ranks != started:
            raise UsageError(
                f"--ranks {self.ranks} contradicts mpirun, which has started {how_many(started, 'process')}"
            )
        if self.restarts:
            raise UsageError("--restart needs ranks that dragon starts itself: --ranks N in place of mpirun")

    def _wanted(self, choice: EngineChoice) -> tuple[int | None, EngineChoice]:
        """How many ranks to start; None: this process does the work."""
        wanted = self.ranks
        if wanted is None and choice.gpu is not None:
            gpus = named_gpus(choice.gpu)
            if len(gpus) > 1:
                wanted = len(gpus)
            elif choice.gpu == "all":
                choice = replace(choice, gpu="0")
        if self.restarts:
            return wanted or 1, choice
        return None if wanted == 1 else wanted, choice

    def _supervise(self, launcher: Launcher, words: Sequence[str], again: _Words | None) -> int:
        heard = launcher.heard
        facts: dict[str, object] = {"ranks": launcher.ranks}
        for left in range(self.restarts, -1, -1):
            ended = launcher.run([*words, JOB, json.dumps(facts)])
            if not ended.status:
                return 0
            if heard.final or ended.asked or not left:
                return _report(ended, heard)
            number = self.restarts - left + 1
            since = heard.snapshots[-1] if heard.snapshots else "the beginning, as there is no snapshot yet"
            log.warning("%s; restart %d of %d from %s", ended.text, number, self.restarts, since)
            facts |= {"run": heard.run, "snapshots": heard.snapshots}
            words = words if again is None else again(heard)
        raise AssertionError("the loop returns")


def _report(ended: Ended, heard: Heard) -> int:
    """Print why ranks ended, in one line; the exit status. Raises Abort if a signal asked for it."""
    if ended.asked and not ended.errors:
        raise click.Abort
    last = f"; the last snapshot is {heard.snapshots[-1]}" if heard.snapshots and not heard.final else ""
    click.echo(f"dragon: error: {ended.text}{last}", err=True)
    return 2 if heard.final or ended.death or ended.errors else max(1, ended.status)


def ranks_options(again: Again | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator below `engine_options`: add the flags, start ranks where they ask for some, see `RanksChoice.start`.

    The command gets them as `ranks_choice`. again: the words of a restart; without it there is no --restart.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--ranks", type=Count(1), help="Start so many processes by mpiexec, each for its part of the data."
        )
        @click.option(JOB, "job", hidden=True, help="Set for ranks by the process that starts them.")
        @functools.wraps(function)
        def wrapper(
            *args: Any, ranks: int | None, job: str | None, choice: EngineChoice, restart: int = 0, **kwargs: Any
        ) -> Any:
            ranks_choice = RanksChoice(ranks, restart, job)
            choice = ranks_choice.start(click.get_current_context(), choice, again)
            return function(*args, choice=choice, ranks_choice=ranks_choice, **kwargs)

        if again is None:
            return wrapper
        return click.option(
            "--restart",
            type=Count(0),
            default=0,
            metavar="K",
            help="When a rank dies, go on from the newest whole snapshot, at most K times.",
        )(wrapper)

    return decorate


@contextmanager
def noting(choice: RanksChoice, ranks: Ranks | None) -> Iterator[None]:
    """Tell the process that started this one whether an error of the block would come again.

    Rank 0 stops, as by SIGTERM, when that process has died.
    """
    if not choice.supervised:
        yield
        return
    if ranks is None or ranks.leads:
        threading.Thread(target=_watch, daemon=True).start()
    try:
        yield
    except (DragonError, click.ClickException, click.Abort, KeyboardInterrupt):
        tell(final=True)
        raise


def _die_with_parent() -> None:
    """Let the system kill this rank when its watcher is killed, as mpiexec does when another rank died."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _watch() -> None:
    """Wait for the end of stdin, a pipe that the launcher holds open as long as it lives."""
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        return
    if sys.platform == "win32":
        os._exit(2)
    time.sleep(_MOMENT)  # Open MPI closes it when it ends all ranks
    os.kill(os.getpid(), signal.SIGTERM)
