"""The executor as a whole: nothing grows, plans are kept, bf16, and what happens where the engine cannot run."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragon
from dragon.engines import Options
from dragon.engines.onednn.executor import OneDNNExecutor
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Call, Primitive
from tests.engines.onednn.comparing import agree, close, compare, fill, inputs, make_net
from tests.engines.onednn.test_interleaving import AVE, BN, CONV, DROP, FULL, MAX, NORM, RELU, SCALE, chain
from tests.helpers import solver_param

pytestmark = pytest.mark.usefixtures("device")

NET = chain(f"c1: {CONV}", f"n1!: {NORM}", f"s1!: {SCALE}", f"p1: {MAX}", f"r1!: {RELU}", f"c2: {CONV}", f"n2: {BN}",
            f"r2: {RELU}", f"p2: {AVE}", f"f: {FULL}", f"d!: {DROP}")  # fmt: skip


def solver(text: str = NET, **options: Any) -> dragon.Solver:
    made = dragon.get_solver(solver_param(text, max_iter=10**6), engine="onednn", options=Options(threads=1, **options))
    fill((made.net,), 1, {"x1": np.array([0, 1, 2], np.float32)})
    for blobs in made.net.params.values():
        for blob in blobs:
            blob.data[...] *= np.float32(0.5)
    return made


def test_nothing_is_prepared_in_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = solver()
    trained.step(3)
    made: list[str] = []
    for kind in (Memory, Primitive, Call):
        original = kind.__init__

        def counted(self: Any, *args: Any, original: Any = original, **kwargs: Any) -> None:
            made.append(type(self).__name__)
            original(self, *args, **kwargs)

        monkeypatch.setattr(kind, "__init__", counted)
    trained.step(100)
    assert made == []


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
def test_an_interpreter_that_does_not_count_references(phase: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every storage counts as held there: slower, and right also for arrays that a script does hold."""
    nets = make_net(NET, "numpy", phase), make_net(NET, "onednn", phase)
    monkeypatch.setattr("dragon.memory.storage._BASE_REFERENCES", None)
    held = [net.blobs["x0"].data for net in nets]
    for attempt in range(3):
        fill(nets, attempt, {"x1": np.array([0, 1, 2], np.float32)})
        for array, net in zip(held, nets, strict=True):
            array[...] = np.linspace(-1, attempt, array.size).reshape(array.shape)
            net.clear_param_diffs()
            net.run_forward()
            array[...] = 0
            if phase == dragon.TRAIN:
                net.run_backward()
        compare(*nets, 1e-3, diffs=phase == dragon.TRAIN)


def test_nothing_stays_allocated() -> None:
    trained = solver()
    trained.step(20)
    gc.collect()
    tracemalloc.start()
    try:
        trained.step(100)  # Python's own free lists of tuples and floats fill first
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        trained.step(100)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000
    largest = max(blob.count for blob in trained.net.blobs.values()) * 4
    assert peak - before < largest + 60_000  # the words of one dropout and the like; no activation is made anew


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_memory_is_flat() -> None:
    trained = solver()
    trained.step(200)
    gc.collect()
    before = _resident()
    trained.step(2000)
    assert _resident() - before < 4 << 20


def test_a_smaller_last_batch_finds_its_plan_again() -> None:
    net = make_net(NET, "onednn")
    executor = net.executor
    assert isinstance(executor, OneDNNExecutor)
    plans: list[set[int]] = []
    for _ in range(3):
        for count in (3, 2):
            net.blobs["x0"].reshape(count, *net.blobs["x0"].shape[1:])
            net.blobs["x1"].reshape(count)
            net.run_forward()
            net.run_backward()
        plans.append({id(plan) for plan in executor.plans})
    assert plans[0] == plans[1] == plans[2]
    assert len(plans[0]) == 2


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
def test_bf16_is_close(device: Device, phase: int) -> None:
    if not device.native_bf16:
        pytest.skip("this CPU has no bf16")
    text = chain(f"c1: {CONV}", f"r!: {RELU}", f"p1: {AVE}", f"n: {BN}", f"c2: {CONV}", f"f: {FULL}")
    nets = make_net(text, "numpy", phase), make_net(text, "onednn", phase, precision="bf16")
    fill(nets, 1, {"x1": np.array([0, 1, 2], np.float32)})
    for net in nets:
        net.run_forward()
    for name, blob in nets[0].blobs.items():
        close(nets[1].blobs[name].peek(), blob.peek(), 0.05, name)


def test_bf16_learns_as_float32(device: Device) -> None:
    """The master weights are float32: small steps are not lost."""
    if not device.native_bf16:
        pytest.skip("this CPU has no bf16")
    losses = []
    for precision in ("fp32", "bf16"):
        trained = solver(NET.replace('type: "Dropout"', 'type: "Dropout" dropout_param { dropout_ratio: 0 }'),
                         precision=precision)  # fmt: skip
        trained.step(40)
        losses.append(trained.smoothed_loss())
    assert abs(losses[0] - losses[1]) < 0.1 * max(1, losses[0])


def test_float64_runs_the_reference(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dragon"):
        net = make_net(NET, "onednn", dtype=np.float64, verbose=True)
        fill((net,), 1, {"x1": np.zeros(3)})
        net.run_forward()
    assert 'layer "c1" (Convolution) runs its reference: float64' in caplog.text
    assert net.blobs["c1"].dtype == np.float64


def test_options_without_a_primitive_are_told(caplog: pytest.LogCaptureFixture) -> None:
    text = (
        inputs((2, 3, 4, 4))
        + 'layer { name: "r" type: "ReLU" bottom: "x0" top: "y" relu_param { negative_slope: 0.1 relu6: true } }'
    )
    with caplog.at_level(logging.INFO, "dragon"):
        agree(text, verbose=True)
    assert 'layer "r" (ReLU): not as one primitive: a maximum of 6 with a negative slope' in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "dragon"):
        agree(text)
    assert "not as one primitive" not in caplog.text


def test_blobs_without_elements() -> None:
    """A script may ask for a batch of none."""
    text = inputs((2, 3, 4, 4)) + 'layer { name: "r" type: "Scale" bottom: "x0" top: "y" }'
    nets = make_net(text, "numpy"), make_net(text, "onednn")
    for net in nets:
        net.blobs["x0"].reshape(0, 3, 4, 4)
        net.run_forward()
        net.run_backward()
        assert net.blobs["y"].peek().shape == (0, 3, 4, 4)
    compare(*nets, 0)


SCRIPT = """
import logging, sys
logging.basicConfig(stream=sys.stderr, format="%(message)s")
import dragon
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
for _ in range(2):
    param = pb.NetParameter()
    parse_text('layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 1 } } }', param)
    print(dragon.Net(param, 0).executor.name)
"""


def test_without_the_library_numpy_is_used() -> None:
    """One line of notice in a process, however many nets."""
    environment = {**os.environ, "ONEDNN_LIBRARY": "/nonexistent", "DRAGON_ENGINE": "auto"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == ["numpy", "numpy"]
    assert len(done.stderr.splitlines()) == 1
    assert "NumPy engine is used" in done.stderr
    environment["DRAGON_ENGINE"] = "onednn"
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode != 0
    assert "/nonexistent" in done.stderr.splitlines()[-1]


def test_blobs_between_fused_layers_read_back_right() -> None:
    """Out of place, everything is fused over blobs that nobody computed; read one at a time, in any order."""
    text = chain(f"c: {CONV}", f"n: {NORM}", f"s: {SCALE}", f"r: {RELU}", f"n2: {BN}", f"r2: {RELU}")
    for phase in (dragon.TRAIN, dragon.TEST):
        nets = make_net(text, "numpy", phase, np.float64), make_net(text, "onednn", phase)
        rng = np.random.default_rng(3)
        for attempt in range(4):
            fill(nets, attempt, {"x1": np.array([0, 1, 2], np.float32)})
            for net in nets:
                net.clear_param_diffs()
                net.run_forward()
            if attempt % 2:
                for net in nets:
                    net.run_backward()
            for name in rng.permutation(["c", "n", "s", "r", "n2", "r2"]):
                close(nets[1].blobs[name].peek(), nets[0].blobs[name].peek(), 1e-4, f"{name} in pass {attempt}")
                if attempt % 2:
                    close(nets[1].blobs[name].peek_diff(), nets[0].blobs[name].peek_diff(), 1e-3, f"diff of {name}")
