"""How the engine's threads wait for each other: chosen from times, without an effect on numbers."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dragon.engines.base import Options
from dragon.engines.onednn.library import waiting as module
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.waiting import SLEEP, SPIN, Team, Waiting, waiting
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

NET = """
layer { name: "d" type: "DummyData" top: "x" top: "l" dummy_data_param {
  shape { dim: 8 dim: 3 dim: 12 dim: 12 } shape { dim: 8 } data_filler { type: "gaussian" std: 1 }
  data_filler { type: "constant" } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {
  num_output: 16 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "b" type: "BN" bottom: "c" top: "b" }
layer { name: "i" type: "InnerProduct" bottom: "b" top: "i" inner_product_param {
  num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "i" bottom: "l" top: "loss" }
"""


class Machine:
    """A machine of two cores whose other programs take a share of the time of our two threads."""

    def __init__(self, told: bool = False) -> None:
        self.now, self.computed, self.waited = 0.0, 0.0, 0.0
        self.sleeping = False
        self.changes: list[tuple[float, str]] = []
        self.share = {SPIN: 0.0, SLEEP: 0.0}
        self.idle = False
        self.rivals, self.rival = 0.0, 0.0  # seconds, and cores, of programs of our priority
        self.waiting = Waiting(
            self, lambda: (self.computed, self.waited), lambda: self.now, rivals=(lambda: self.rivals) if told else None
        )

    def start(self) -> None:
        assert not self.sleeping
        self.sleeping = True
        self.changes.append((self.now, SLEEP))

    def stop(self) -> None:
        assert self.sleeping
        self.sleeping = False
        self.changes.append((self.now, SPIN))

    def run(self, seconds: float, step: float = 0.02) -> str:
        """Repeat a step; what is chosen in the end."""
        end = self.now + seconds
        while self.now < end:
            self.now += step
            self.rivals += step * self.rival
            if not self.idle:
                share = self.share[self.waiting.mode]
                self.computed += 2 * step * (1 - share)
                self.waited += 2 * step * share
            self.waiting.note()
            assert self.sleeping == (self.waiting.mode == SLEEP)
        return self.waiting.mode

    def tries(self) -> tuple[list[float], list[float]]:
        """When it began to spin again, and the times between."""
        spins = [when for when, mode in self.changes if mode == SPIN]
        return spins, [later - before for before, later in pairwise(spins)]


def test_free_cores_are_spun_on() -> None:
    machine = Machine()
    assert machine.run(100) == SPIN
    assert machine.changes == []


def test_a_crowded_machine_sleeps_and_a_free_one_spins_again(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    machine.run(5)
    machine.share = {SPIN: 0.5, SLEEP: 0.33}
    with caplog.at_level(logging.INFO, "dragon"):
        machine.run(1.5)
        machine.run(9)
        machine.share = {SPIN: 0.0, SLEEP: 0.01}
        assert machine.run(2) == SPIN
    assert [mode for _, mode in machine.changes] == [SLEEP, SPIN]
    assert machine.changes[0][0] < 6.3
    assert caplog.messages == [
        "threads sleep after a short spin while they wait for each other: "
        "other programs had the cores for 50 % of the time",
        "threads spin while they wait for each other: the cores are free",
    ]


@pytest.mark.parametrize(("share", "seconds"), [(0.5, 1.0), (0.8, 0.25)])
def test_a_large_crowd_is_seen_at_once(share: float, seconds: float) -> None:
    """A try to spin beside many programs costs passes of half a second, where sleeping threads need a millisecond."""
    machine = Machine()
    machine.share = {SPIN: share, SLEEP: share}
    assert machine.run(300) == SLEEP
    tries = [when for when, mode in machine.changes if mode == SPIN]
    ends = [when for when, mode in machine.changes[1:] if mode == SLEEP]
    assert len(tries) > 1
    if share > 0.65:
        assert max(later - before for before, later in pairwise(tries)) < 45  # a try is cheap
    assert max(end - begin for begin, end in zip(tries, ends, strict=True)) == pytest.approx(seconds, abs=0.05)


@pytest.mark.parametrize("share", [0.03, 0.06, 0.16])  # beside 1, 4 and 12 programs of low priority
def test_neighbours_that_yield_do_not_make_them_sleep(share: float) -> None:
    machine = Machine()
    machine.share = {SPIN: share, SLEEP: 0.03}
    assert machine.run(120) == SPIN
    assert machine.changes == []


@pytest.mark.parametrize(("share", "seconds"), [(0.2, 2), (0.1, 2), (0.65, 12)])  # 1, 4 and 12 of low priority
def test_those_that_sleep_beside_neighbours_that_yield_find_out(share: float, seconds: int) -> None:
    machine = Machine()
    machine.share = {SPIN: 0.16, SLEEP: share}
    machine.waiting.sleep()
    assert machine.run(seconds) == SPIN
    assert machine.run(100) == SPIN


@pytest.mark.parametrize(("told", "seconds"), [(False, (15, 45)), (True, (0, 2.6))])
def test_they_spin_again_when_only_low_priority_is_left(told: bool, seconds: tuple[float, float]) -> None:
    machine = Machine(told)
    machine.share, machine.rival = {SPIN: 0.8, SLEEP: 0.4}, 1.5
    assert machine.run(300) == SLEEP
    begin = machine.now
    machine.share, machine.rival = {SPIN: 0.06, SLEEP: 0.4}, 0.0
    assert machine.run(60) == SPIN
    assert seconds[0] < machine.changes[-1][0] - begin < seconds[1]


def test_being_alone_is_not_believed_for_ever() -> None:
    """Where a container's share of the cores is used up, no rival is counted and spinning is no better."""
    machine = Machine(told=True)
    machine.share = {SPIN: 0.5, SLEEP: 0.4}
    machine.run(400)
    spins, gaps = machine.tries()
    assert 10 < spins[0] < 12  # as without a figure of rivals: the first try has shown that it tells nothing
    assert all(1.7 * before < later < 2.2 * before for before, later in pairwise(gaps))
    assert len(spins) < 6


def test_rivals_that_come_and_go_are_left_alone() -> None:
    machine = Machine(told=True)
    for _ in range(100):
        machine.share, machine.rival = {SPIN: 0.5, SLEEP: 0.4}, 1.0
        machine.run(1.5)
        machine.share, machine.rival = {SPIN: 0.0, SLEEP: 0.4}, 0.0
        machine.run(0.5)
    spins, _ = machine.tries()
    assert len(spins) < 12


def test_a_crowd_is_doubted_less_and_less_often() -> None:
    """A step of threads that spin beside others of the same priority may take ten times as long."""
    machine = Machine()
    machine.share = {SPIN: 0.5, SLEEP: 0.4}
    machine.run(650)
    spins, gaps = machine.tries()
    assert 10 < spins[0] < 12
    assert all(1.7 * before < later < 2.2 * before for before, later in pairwise(gaps))
    assert len(spins) == 5  # after 10, 20, 40, ... seconds


def test_cores_that_only_seem_free_are_tried_less_and_less_often() -> None:
    """Threads that sleep may be let in at once by programs that would not give way to threads that spin."""
    machine = Machine()
    machine.share = {SPIN: 0.5, SLEEP: 0.01}
    machine.run(400)
    _, gaps = machine.tries()
    assert gaps[0] < 3.5
    assert all(later > 1.5 * before for before, later in pairwise(gaps[:5]))
    assert all(60 <= gap < 64 for gap in gaps[6:])
    machine.share = {SPIN: 0.0, SLEEP: 0.01}
    assert machine.run(120) == SPIN  # free at last: the next crowd is left after the first patience
    machine.share = {SPIN: 0.5, SLEEP: 0.1}
    assert machine.run(1.5) == SLEEP
    machine.share = {SPIN: 0.0, SLEEP: 0.01}
    assert machine.run(2) == SPIN


def test_long_steps_decide_after_one() -> None:
    machine = Machine()
    machine.share = {SPIN: 0.7, SLEEP: 0.6}
    assert machine.run(3, step=3) == SLEEP


def test_idle_time_tells_nothing() -> None:
    machine = Machine()
    machine.share = {SPIN: 0.5, SLEEP: 0.0}
    machine.run(1)
    machine.idle = True
    assert machine.run(100) == SLEEP


def test_begins_by_sleeping_and_spins_where_cores_are_free() -> None:
    machine = Machine()
    machine.waiting.sleep()
    assert machine.waiting.mode == SLEEP
    assert machine.run(3) == SPIN


def test_reset_spins_and_forgets() -> None:
    machine = Machine()
    machine.waiting.sleep()
    machine.waiting.reset()
    assert machine.waiting.mode == SPIN
    assert machine.run(20) == SPIN


def test_time_without_a_core_is_read_from_the_system(tmp_path: Path) -> None:
    for task, words in (("7", "2000000000 500000000 9"), ("8", "1000000000 250000000 3"), ("9", "odd")):
        (tmp_path / task).mkdir()
        (tmp_path / task / "schedstat").write_text(words + "\n")
    (tmp_path / "10").mkdir()  # a thread that ends meanwhile
    read = module._waited(tmp_path)
    assert read is not None
    assert read() == (3.0, 0.75)
    assert module._waited(tmp_path / "none") is None
    assert module._waited(tmp_path / "10") is None


@pytest.mark.skipif(module._waited() is None, reason="the system does not say how long threads wait for a core")
def test_programs_on_the_same_core_are_seen() -> None:
    """Two processes held to one core wait for it about half of the time."""
    own = """
import os, sys, time
from dragon.engines.onednn.library.waiting import _waited
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
own = os.getpid()
if os.fork() == 0:
    while os.getppid() == own: pass
    os._exit(0)
read = _waited()
before = read()
end = time.process_time() + 0.5
while time.process_time() < end: pass
computed, waited = (b - a for a, b in zip(before, read()))
print(waited / (computed + waited))
"""
    done = subprocess.run([sys.executable, "-c", own], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 0.25


def test_a_team_lives_as_long_as_it_is_wanted(device: Device) -> None:
    before = threads()
    team = Team(3)
    for _ in range(3):
        team.start()
        assert threads() == before + 3  # the one that holds it and two workers
        team.stop()
        while threads() > before:  # the system ends a thread a little after it is joined
            pass


def test_numbers_do_not_depend_on_it(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def gradients(chosen: Callable[[], Waiting | None]) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        monkeypatch.setattr("dragon.engines.onednn.executor.waiting", chosen)
        net = Net(parse_text(NET, pb.NetParameter(), "net"), 0, engine="onednn", options=Options(threads=2), seed=3)
        with net:
            for _ in range(3):
                net.forward()
                net.clear_param_diffs()
                net.backward()
            return [blob.diff.copy() for blobs in net.params.values() for blob in blobs]

    asleep = Waiting(Team(3), lambda: (0.0, 0.0))
    asleep.sleep()
    try:
        for one, other in zip(gradients(lambda: None), gradients(lambda: asleep), strict=True):
            np.testing.assert_array_equal(one, other)
    finally:
        asleep.reset()


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1000")
    assert waiting.__wrapped__() is None


def test_the_beginning_depends_on_who_runs(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for running, mode in ((1, SPIN), (10_000, SLEEP)):
        monkeypatch.setattr(module, "_running", lambda running=running: running)
        chosen = waiting.__wrapped__()
        if chosen is None:
            pytest.skip("the OpenMP runtime here is not GNU's")
        assert chosen.mode == mode
        chosen.reset()


def test_the_time_of_rivals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "stat"
    assert module._rivals(path) is None
    path.write_text("cpu  900000 4000 0 50 0 0 0 0 0 0\ncpu0 1 2 3\n")
    ticks = os.sysconf("SC_CLK_TCK")
    for nice, total in ((0, 900_000), (5, 904_000), (-1, 900_000)):
        monkeypatch.setattr(os, "getpriority", lambda which, who, nice=nice: nice)
        read = module._rivals(path)
        assert read is not None
        assert read() == pytest.approx(total / ticks - os.times().user, abs=0.05)
    path.write_text("cpu 7\n")
    assert module._rivals(path) is None


def test_loads_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "loadavg"
    assert module._running(path) == 0
    path.write_text("13.79 10.32 6.16 18/203 13122\n")
    assert module._running(path) == 18
    path.write_text("?")
    assert module._running(path) == 0


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))
