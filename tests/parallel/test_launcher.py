"""What the process that starts ranks makes of mpiexec's lines, and of ranks that mpiexec leaves alone."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from dragon.parallel import launcher
from dragon.parallel.launcher import Launcher
from dragon.parallel.mpiexec_lines import is_own, without_blocks
from dragon.parallel.notes import MARK, Heard

RULE = b"-" * 74 + b"\n"
KILLED = [b"prterun noticed that process rank 0 with PID 7 on node vm exited on\n", b"signal 9 (Killed).\n"]


def split(*lines: bytes) -> tuple[list[bytes], list[str]]:
    noted: list[str] = []
    return list(without_blocks(lines, noted.append)), noted


def test_blocks_of_open_mpi_are_its_own() -> None:
    lines = b"before\n", RULE, *KILLED, b"\n", b"More of it.\n", RULE, b"\0behind\n"
    text = "prterun noticed that process rank 0 with PID 7 on node vm exited on signal 9 (Killed)."
    assert split(*lines) == ([b"before\n", b"behind\n"], [text])


def test_a_block_does_not_hold_back_what_ranks_say_of_themselves() -> None:
    note = MARK.encode() + b"{}\n"
    assert split(RULE, KILLED[0], note, KILLED[1], RULE)[0] == [note]


@pytest.mark.parametrize(
    "lines",
    [
        (RULE, b"a table of a rank\n", RULE),
        (RULE, b"its last line\n"),
        (RULE, *[b"mpiexec is a word of a long text\n"] * 80, RULE),
        (b"-----\n", b"prterun\n", b"-----\n"),
    ],
    ids=["closed", "open", "long", "short rules"],
)
def test_other_lines_are_shown(lines: tuple[bytes, ...]) -> None:
    assert split(*lines) == (list(lines), [])


def test_lines_of_hydra() -> None:
    assert is_own("=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES")
    assert not is_own("Iteration 10, loss = 2.3")


@pytest.mark.parametrize("fact", ['"signal": 9', '"status": 2'])
def test_ranks_that_mpiexec_lets_live_are_ended(monkeypatch: pytest.MonkeyPatch, fact: str) -> None:
    """As that of Intel MPI does while they start."""
    monkeypatch.setattr(launcher, "_END_S", 0.1)
    one = Launcher(1, "")
    over = threading.Event()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        thread = threading.Thread(target=one._end_with_the_first, args=(process, over))
        thread.start()
        assert one.heard.take(MARK + '{"rank": 0, "of": 2, "pid": 1, "host": "here"}')
        assert process.poll() is None
        assert one.heard.take(MARK + f'{{"rank": 1, "of": 2, "pid": 2, "host": "here", {fact}}}')
        assert process.wait(60)
        over.set()
        thread.join()


def test_a_rank_that_failed_was_not_killed() -> None:
    heard = Heard()
    assert heard.take(MARK + '{"rank": 1, "of": 2, "pid": 2, "host": "here", "status": 2}')
    assert heard.death() is None
    heard.forget_ranks()
    assert not heard.failed
