"""Nets whose shapes change from run to run and come back: they replay the graphs that they have for each of them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.engines.cuda.plan import plans
from dragon.engines.cuda.plan.plan import Plan
from dragon.graph.net import Net
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.python_layers import python
from tests.engines.cuda.running import close, compare, copy_weights, fill, inputs, layer, make, options_for, parse
from tests.engines.cuda.test_engine import NET, TEXT, solver_of
from tests.engines.cuda.training import BRANCHES, RESIDUAL, executor_of, pair, same_blobs, same_weights, values

pytestmark = pytest.mark.usefixtures("emulated")
MAPS = inputs({"x": (2, 8, 8, 8)}) + (
    layer("Convolution", "convolution_param { num_output: 8 kernel_size: 3 pad: 1 }", top="c", name="c")
    + layer("BatchNorm", bottom="c", top="c", name="n")
    + layer("ReLU", bottom="c", top="c", name="r")
    + layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", bottom="c", top="p", name="p")
    + layer("Convolution", "convolution_param { num_output: 8 kernel_size: 1 }", bottom="p", top="y", name="d")
)


class Work:
    """Counts the plans and graphs that are made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plans = self.captures = 0
        make, begin = Plan.__init__, standin.Stream.begin_capture

        def made(plan: Plan, *args: Any, **kwargs: Any) -> None:
            self.plans += 1
            make(plan, *args, **kwargs)

        def begun(stream: standin.Stream, mode: int | None = None) -> None:
            self.captures += 1
            begin(stream, mode)

        monkeypatch.setattr(Plan, "__init__", made)
        monkeypatch.setattr(standin.Stream, "begin_capture", begun)

    def taken(self) -> tuple[int, int]:
        """Plans and captures since the last call."""
        found = self.plans, self.captures
        self.plans = self.captures = 0
        return found


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(monkeypatch)


def test_a_source_that_gives_other_batches_replays_one_graph_each(work: Work) -> None:
    text = python("in", "Batches", "", "data", "label", param_str="6 2 4") + NET
    solvers = [solver_of(engine, "momentum: 0.9", text, values={}) for engine in ("numpy", "cuda")]
    for step in range(16):
        if step == 9:
            work.taken()
            standin.counts.clear()
        losses = [solver.step(1) for solver in solvers]
        assert abs(losses[0] - losses[1]) < 1e-3
    assert work.taken() == (0, 0)
    assert standin.counts["graph launches"] == 7  # a whole iteration each
    compare(solvers[1].net, solvers[0].net, "after", 5e-3, diffs=False)


@pytest.mark.parametrize("text", [RESIDUAL, BRANCHES], ids=["residual", "branches"])
def test_blobs_that_share_memory_have_their_places_again(work: Work, text: str) -> None:
    """The second net shares memory in training; scripts reshape the inputs of both."""
    solvers = pair(text)
    for number, batch in enumerate((6, 6, 6, 3, 3, 3, 4, 4, 4, 6, 3, 4, 3, 6)):
        if number == 9:
            work.taken()
        for solver in solvers:
            fill(solver.net, values(number, batch))
        assert solvers[0].step(1) == solvers[1].step(1)
    assert work.taken() == (0, 0)
    nets = [solver.net for solver in solvers]
    same_weights(nets, "after")
    same_blobs(nets, "after")
    for number, batch in enumerate((3, 6, 6, 6, 3)):  # blobs were read, so they lie elsewhere
        for solver in solvers:
            fill(solver.net, values(number, batch))
        assert solvers[0].step(1) == solvers[1].step(1)
    same_weights(nets, "after blobs were read")


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_images_of_several_sizes(work: Work, phase: int, precision: str) -> None:
    """Forward and, in TRAIN, backward, in either order of the channels."""
    sizes = ((2, 8, 8, 8), (1, 8, 6, 10), (2, 8, 4, 4))
    nets = [make("force_backward: true " + MAPS, "numpy", phase)]
    nets.append(
        Net(parse("force_backward: true " + MAPS), phase, engine="cuda", seed=5, options=options_for(precision))
    )
    copy_weights(*nets)
    tolerance = {"fp32": 1e-5, "tf32": 5e-3, "bf16": 0.08}[precision]
    random = np.random.default_rng(3)
    for number, shape in enumerate([size for size in sizes for _ in range(3)] + [*sizes, *reversed(sizes)]):
        if number == 3 * len(sizes):
            work.taken()
        x = random.standard_normal(shape)
        for net in nets:
            fill(net, {"x": x})
            net.clear_param_diffs()
            net.run_forward()
        close(f"y of {shape}", nets[1].blobs["y"].peek(), nets[0].blobs["y"].peek(), tolerance)
        if phase == TRAIN:
            dy = random.standard_normal(nets[0].blobs["y"].shape)
            for net in nets:
                net.blobs["y"].diff[...] = dy
                net.run_backward()
            close(f"dx of {shape}", nets[1].blobs["x"].peek_diff(), nets[0].blobs["x"].peek_diff(), 3 * tolerance)
            for name in ("c", "d"):
                ours, expected = (net.params[name][0].peek_diff() for net in reversed(nets))
                close(f"gradient of {name}, {shape}", ours, expected, 3 * tolerance)
    assert work.taken() == (0, 0)


def train(net: Net, batches: Sequence[int]) -> None:
    for batch in batches:
        fill(net, {"data": np.ones((batch, 3, 6, 6)), "label": np.zeros(batch)})
        net.clear_param_diffs()
        net.forward_backward()


def test_the_shapes_of_the_last_eight_are_kept(work: Work) -> None:
    net = make(TEXT, "cuda")
    largest = plans.KEPT_SHAPES + 1
    train(net, [largest] * 3)
    train(net, [batch for batch in range(2, largest) for _ in range(3)])
    work.taken()
    train(net, range(2, largest + 1))
    assert work.taken() == (0, 0)
    train(net, [1, 1, 1])  # the one that was used longest ago makes place for it: that of 2
    work.taken()
    train(net, range(3, largest + 1))
    assert work.taken() == (0, 0)
    train(net, [2])
    assert work.taken()[0] == 1
    assert len(net.executor.plans._kept) == plans.KEPT_SHAPES  # type: ignore[attr-defined]


def test_graphs_with_much_memory_of_their_own_are_fewer(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "KEPT_BYTES", -1)
    net = make(TEXT, "cuda")
    train(net, [4, 4, 4, 2, 2, 2])
    work.taken()
    train(net, [4])
    assert work.taken()[0] == 1


def test_memory_that_grows_ends_the_graphs_that_point_to_the_old_one(work: Work) -> None:
    net = make(TEXT, "cuda")
    train(net, [2, 2, 2])
    old = weakref.ref(net.executor.plan)  # type: ignore[attr-defined]
    gc.disable()  # it takes no garbage collection
    try:
        train(net, [4])
        assert old() is None
    finally:
        gc.enable()
    train(net, [4, 4])
    work.taken()
    train(net, [2])
    assert work.taken()[0] == 1
    train(net, [2, 2, 4])
    work.taken()
    train(net, [2, 4, 2])
    assert work.taken() == (0, 0)


def test_another_phase_is_another_plan(work: Work) -> None:
    """What shapes do not tell: a dropout in TEST hands its bottom on."""
    nets = [make(TEXT, engine) for engine in ("numpy", "cuda")]
    for phase, batch in ((TRAIN, 4), (TRAIN, 2), (TEST, 4), (TRAIN, 4), (TRAIN, 2)):
        for net in nets:
            next(each for each in net.layers if each.name == "drop").phase = phase
            train(net, [batch] * 3)
        compare(nets[1], nets[0], f"{phase} {batch}", 2e-5)


def test_lowerings_for_several_shapes_share_memory() -> None:
    net = make(TEXT, "cuda")
    train(net, [4, 4, 4])
    masks = list(net.executor.plans._reuse._memory.values())  # type: ignore[attr-defined]
    assert masks
    train(net, [2, 2, 2, 3, 3, 3, 4])
    again = net.executor.plans._reuse._memory.values()  # type: ignore[attr-defined]
    assert [id(memory) for memory in masks] == [id(memory) for memory in again]


def test_an_array_that_moved_by_itself_is_noticed(work: Work) -> None:
    solver = solver_of("cuda", "momentum: 0.9")
    reference = solver_of("numpy", "momentum: 0.9")
    for one in (solver, reference):
        one.step(4)
    solver.net.params["ip"][0].data_storage.detach(executor_of(solver).gpu.place)
    work.taken()
    for one in (solver, reference):
        one.step(3)
    assert work.taken() == (0, 1)
    compare(solver.net, reference.net, "after", 2e-3, diffs=False)
