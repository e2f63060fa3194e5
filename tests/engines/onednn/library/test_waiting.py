"""How the engine's threads wait for each other: chosen from times, without an effect on numbers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dragon.engines.base import Options
from dragon.engines.onednn.library import waiting as module
from dragon.engines.onednn.library.memory import Device
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
    """A machine whose calls take as long as the way of waiting and its other programs make them."""

    def __init__(self) -> None:
        self.now, self.switches, self.sleeping = 0.0, 0, False
        self.changes: list[float] = []
        self.seconds = {SPIN: 0.02, SLEEP: 0.03}
        self.per_second = 0.0  # involuntary context switches
        self.waiting = Waiting(self, lambda: int(self.switches), lambda: self.now)

    def start(self) -> None:
        assert not self.sleeping
        self.sleeping = True
        self.changes.append(self.now)

    def stop(self) -> None:
        assert self.sleeping
        self.sleeping = False
        self.changes.append(self.now)

    def run(self, seconds: float) -> str:
        """Repeat a step of two calls; what is chosen in the end."""
        end = self.now + seconds
        while self.now < end:
            for call in ("forward", "backward"):
                took = self.seconds[self.waiting.mode]
                self.now += took
                self.switches += self.per_second * took  # type: ignore[assignment]
                self.waiting.note(call, took)
                assert self.sleeping == (self.waiting.mode == SLEEP)
        return self.waiting.mode


def test_free_cores_are_never_tried_out() -> None:
    machine = Machine()
    assert machine.run(100) == SPIN
    assert machine.changes == []


def test_a_crowded_machine_sleeps_and_a_free_one_spins_again(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    machine.run(5)
    machine.per_second, machine.seconds = 300, {SPIN: 2.5, SLEEP: 0.3}
    with caplog.at_level(logging.INFO, "dragon"):
        assert machine.run(20) == SLEEP
    (line,) = caplog.messages  # the newest times were mixed when the trial began
    assert line == ("threads sleep after a short spin while they wait for each other: 300.0 ms a pass instead of 640.0")
    machine.per_second, machine.seconds = 0, {SPIN: 0.02, SLEEP: 0.03}
    assert machine.run(90) == SPIN


def test_a_neighbour_that_yields_does_not_make_them_sleep() -> None:
    machine = Machine()
    machine.per_second, machine.seconds = 300, {SPIN: 0.04, SLEEP: 0.09}
    assert machine.run(120) == SPIN
    tried = len(machine.changes) // 2
    assert 3 <= tried <= 8  # at 1, 2, 4, ... seconds


def test_trials_of_what_loses_stay_cheap() -> None:
    machine = Machine()
    machine.per_second, machine.seconds = 300, {SPIN: 8.0, SLEEP: 0.8}
    machine.waiting.sleep()
    steps, begin = 0, machine.now
    while machine.now < begin + 1000:
        machine.run(1.0)  # one step
        steps += 1
    assert machine.waiting.mode == SLEEP
    assert steps * 1.6 >= 0.9 * 1000


def test_a_small_gain_changes_nothing() -> None:
    machine = Machine()
    machine.per_second, machine.seconds = 300, {SPIN: 0.040, SLEEP: 0.038}
    assert machine.run(60) == SPIN


def test_calls_that_do_not_come_again_end_a_trial() -> None:
    machine = Machine()
    machine.per_second, machine.seconds = 300, {SPIN: 0.04, SLEEP: 0.001}
    machine.run(0.2)
    while not machine.sleeping:
        machine.run(0.04)
    for _ in range(20):
        machine.now += 0.01
        machine.waiting.note("another", 0.01)
    assert not machine.sleeping


def test_reset_spins_and_forgets() -> None:
    machine = Machine()
    machine.waiting.sleep()
    machine.waiting.reset()
    assert machine.waiting.mode == SPIN
    assert machine.run(20) == SPIN


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

    asleep = Waiting(Team(3), lambda: 0)
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


def test_loads_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "loadavg"
    assert module._running(path) == 0
    path.write_text("13.79 10.32 6.16 18/203 13122\n")
    assert module._running(path) == 18
    path.write_text("?")
    assert module._running(path) == 0


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))
