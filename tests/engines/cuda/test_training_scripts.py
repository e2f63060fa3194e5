"""Random scripts around training steps cannot tell whether blobs share memory.

CUDA_INTERLEAVINGS=N tries N random scripts for each net.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dragon.solver.solver import Solver
from tests.engines.cuda.running import fill
from tests.engines.cuda.training import (
    NETS,
    pair,
    same,
    same_blobs,
    same_weights,
    values,
)

needs_gpu = pytest.mark.usefixtures("cuda")
COUNT = int(os.environ.get("CUDA_INTERLEAVINGS", "2"))


class Script:
    """The same random actions on a net that shares memory and on one that does not."""

    def __init__(self, solvers: list[Solver], seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.solvers, self.nets = solvers, [solver.net for solver in solvers]
        self.held: list[Any] = []
        self.log: list[str] = []
        self.actions: list[Callable[[], str]] = [
            self.step, self.step, self.step, self.display, self.peek, self.peek_diff, self.weights, self.hold,
            self.drop, self.reshape, self.write,
        ]  # fmt: skip
        if seed % 3 == 0:
            self.actions += [self.part]
        self.step()

    def some(self) -> str:
        names = [name for name in self.nets[0].blobs if not name.startswith(("label", "loss", "accuracy", "second"))]
        return names[int(self.random.integers(len(names)))]

    def step(self) -> str:
        steps = int(self.random.integers(1, 4))
        assert self.solvers[0].step(steps) == self.solvers[1].step(steps)
        return f"{steps} steps"

    def display(self) -> str:
        for solver in self.solvers:
            solver.param.display = 1
            solver.step(1)
            solver.param.display = 0
        return "display"

    def peek(self) -> str:
        name = self.some()
        same(f"{name} after {self.log}", *(net.blobs[name].peek() for net in self.nets))
        return f"peek {name}"

    def peek_diff(self) -> str:
        name = self.some()
        same(f"diff of {name} after {self.log}", *(net.blobs[name].peek_diff() for net in self.nets))
        return f"peek diff of {name}"

    def write(self) -> str:
        name = self.some()
        for net in self.nets:
            net.blobs[name].data[...] = 0.5
            net.blobs[name].diff[0] = 0.25
        return f"write {name}"

    def weights(self) -> str:
        name = list(self.nets[0].params)[int(self.random.integers(len(self.nets[0].params)))]
        for net in self.nets:
            net.params[name][0].data[...] *= 0.9
        return f"weights of {name}"

    def hold(self) -> str:
        name = self.some()
        self.held.append([(net.blobs[name].data, net.blobs[name].diff) for net in self.nets])
        return f"hold {name}"

    def drop(self) -> str:
        self.held.clear()
        return "drop"

    def reshape(self) -> str:
        self.held.clear()
        batch = int(self.random.integers(1, 5))
        for solver in self.solvers:
            fill(solver.net, values(batch, batch))
            solver.step(1)
        return f"batch of {batch}"

    def part(self) -> str:
        start, end = sorted(self.random.integers(0, len(self.nets[0].layers), 2).tolist())
        for net in self.nets:
            net.run_forward(start, end)
        return f"forward {start}..{end}"

    def act(self) -> None:
        self.log.append(self.actions[int(self.random.integers(len(self.actions)))]())
        for a, b in self.held:
            for ours, expected in zip(b, a, strict=True):
                same(f"held after {self.log}", ours, expected)


@needs_gpu
@pytest.mark.parametrize("seed", range(COUNT))
@pytest.mark.parametrize("name", NETS)
def test_random_scripts_cannot_tell(name: str, seed: int) -> None:
    script = Script(pair(NETS[name], rate=0.002), seed)
    for _ in range(30):
        script.act()
    same_weights(script.nets, f"after {script.log}")
    same_blobs(script.nets, f"after {script.log}")
