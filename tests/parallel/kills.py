"""Kills ranks of a training at random times, and compares the weights at its end with those of an undisturbed one.

    python -m tests.parallel.kills --kills 100 [--ranks 2] [--seed 1]

The training is started with --restart; a rank that dies ends the others, and all go on from the newest whole snapshot.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dragon.data.synthetic import write_synthetic
from tests.parallel.test_train import environment, equal, ranks_of, solver, weights

SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)
MIDDLE = """layer { name: "bn" type: "BN" bottom: "c" top: "c" }
layer { name: "re" type: "ReLU" bottom: "c" top: "c" }"""
_RESTARTED = re.compile(r"dragon: warning: rank (\d+) of \d+ \(process (\d+) on .*\) was killed by signal (\d+)")


class Training:
    """A `dragon train` with ranks of its own, whose output is read as it comes."""

    def __init__(self, *words: object, mark: str, cwd: Path | None = None) -> None:
        self.mark = mark
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dragon", "train", "--engine", "numpy", *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd,
            env=environment(DRAGON_TEST_MARK=mark),
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            self.lines += iter(stream.readline, "")

    @property
    def said(self) -> str:
        """What it has written so far."""
        return "".join(self.lines)

    def wait_for(self, text: str, times: int = 1, seconds: float = 120) -> None:
        """Wait until it has written a text so often."""
        end = time.monotonic() + seconds
        while self.said.count(text) < times:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.02)

    def end(self, seconds: float = 120) -> int:
        """Wait for its end; the exit status."""
        status = self.process.wait(seconds)
        self._reader.join(seconds)
        return status

    def close(self) -> None:
        """End what still runs."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        for pid in ranks_of(self.mark).values():
            os.kill(pid, signal.SIGKILL)


@dataclass
class Disturbed:
    """What became of a training whose ranks were killed: rank, process and signal of each kill, and what was said."""

    killed: list[tuple[int, int, int]] = field(default_factory=list)
    named: int = 0  # restarts whose line names the rank that was killed
    status: int = 0


def disturb(path: Path, ranks: int, kills: int, draw: random.Random, longest: float) -> Disturbed:
    """Train, and kill a random rank up to `longest` seconds after each start of the ranks, so often or to the end."""
    found = Disturbed()
    training = Training("--solver", path, "--no-run", "--ranks", ranks, "--restart", kills, mark=str(path))
    try:
        while training.process.poll() is None and len(found.killed) < kills:
            there = ranks_of(str(path))
            if len(there) < ranks or {pid for _, pid, _ in found.killed} & set(there.values()):
                time.sleep(0.01)
                continue
            time.sleep(draw.uniform(0, longest))
            rank, number = draw.randrange(ranks), draw.choice(SIGNALS)
            try:
                os.kill(there[rank], number)
            except ProcessLookupError:  # it has finished
                continue
            found.killed.append((rank, there[rank], number))
            until = time.monotonic() + 60
            while set(ranks_of(str(path)).values()) & set(there.values()):
                assert time.monotonic() < until, f"ranks outlive a killed one:\n{training.said}"
                time.sleep(0.01)
        found.status = training.end(600)
    finally:
        training.close()
    lines = {tuple(map(int, match.groups())) for match in _RESTARTED.finditer(training.said)}
    found.named = len(lines & set(found.killed))
    assert found.status == 0, training.said
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    done = named = jobs = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lmdb = write_synthetic(folder / "drawn", train=170, test=10).train
        settings: dict[str, Any] = {"max_iter": 2000, "snapshot": 40, "display": 0, "base_lr": 0.0001}
        quiet = solver(folder / "quiet", lmdb, 10, MIDDLE, **settings)
        training = Training("--solver", quiet, "--no-run", "--ranks", given.ranks, mark=str(quiet))
        assert training.end(1200) == 0, training.said
        expected = weights(folder / "quiet", 2000)
        while done < given.kills:
            jobs += 1
            path = solver(folder / f"job{jobs}", lmdb, 10, MIDDLE, **settings)
            found = disturb(path, given.ranks, given.kills - done, draw, 6)
            equal(weights(folder / f"job{jobs}", 2000), expected)
            done, named = done + len(found.killed), named + found.named
            print(f"training {jobs}: {len(found.killed)} kills; its weights are the same bit for bit", flush=True)
    print(f"{done} kills in {jobs} trainings of {given.ranks} ranks, {time.monotonic() - began:.0f} s")
    print(f"restarts whose line names rank, process and signal: {named}")


if __name__ == "__main__":
    main()
