"""Blobs that share memory in TEST: it takes less memory, and every value that is read is the right one.

CUDA_INTERLEAVINGS=N tries N random scripts for each net.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.engines import Options
from dragon.engines.cuda.device.copies import DeviceCopy
from dragon.engines.cuda.executor import CudaExecutor
from dragon.engines.cuda.plan.lifetimes import BlobLifetimes, planned_bytes
from dragon.errors import EngineError
from dragon.graph.net import Net
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.running import close, compare, fill, inputs, make, parse
from tests.engines.cuda.test_engine import solver_of

needs_gpu = pytest.mark.usefixtures("cuda")
looks_inside = pytest.mark.usefixtures("emulated")
COUNT = int(os.environ.get("CUDA_INTERLEAVINGS", "3"))
CONV = (
    'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } '
    "bias_filler { value: 0.1 } }"
)
FULL = 'type: "InnerProduct" inner_product_param { num_output: 5 weight_filler { type: "xavier" } }'
CHAIN = (
    inputs({"x": (3, 3, 6, 6)})
    + f"""
layer {{ name: "c1" bottom: "x" top: "c1" {CONV} }}
layer {{ name: "n1" bottom: "c1" top: "c1" type: "BatchNorm" batch_norm_param {{ use_global_stats: false }} }}
layer {{ name: "r1" bottom: "c1" top: "c1" type: "ReLU" }}
layer {{ name: "c2" bottom: "c1" top: "c2" {CONV} }}
layer {{ name: "t2" bottom: "c2" top: "t2" type: "TanH" }}
layer {{ name: "c3" bottom: "t2" top: "c3" {CONV} }}
layer {{ name: "p3" bottom: "c3" top: "p3" type: "Pooling" pooling_param {{ kernel_size: 2 stride: 2 }} }}
layer {{ name: "f" bottom: "p3" top: "f" {FULL} }}
layer {{ name: "prob" bottom: "f" top: "prob" type: "Softmax" }}
"""
)
BRANCHES = (
    inputs({"x": (3, 4, 6, 6), "label": (3,)})
    + f"""
layer {{ name: "s0" bottom: "x" top: "x" type: "Sigmoid" }}
layer {{ name: "c1" bottom: "x" top: "c1" {CONV} }}
layer {{ name: "c2" bottom: "c1" top: "c2" {CONV} }}
layer {{ name: "sum" bottom: "c2" bottom: "c1" top: "sum" type: "Eltwise" }}
layer {{ name: "c3" bottom: "sum" top: "c3" {CONV} }}
layer {{ name: "r3" bottom: "c3" top: "c3" type: "ReLU" }}
layer {{ name: "cat" bottom: "c3" bottom: "c1" top: "cat" type: "Concat" }}
layer {{ name: "g" bottom: "cat" top: "g" type: "MVN" }}
layer {{ name: "flat" bottom: "g" top: "flat" type: "Flatten" }}
layer {{ name: "f" bottom: "flat" top: "f" {FULL} }}
layer {{ name: "loss" bottom: "f" bottom: "label" top: "loss" type: "SoftmaxWithLoss" }}
layer {{ name: "accuracy" bottom: "f" bottom: "label" top: "accuracy" type: "Accuracy" }}
"""
)
NETS = {"chain": CHAIN, "branches": BRANCHES}
LABELS = np.array([0, 3, 1], np.float32)
RANDOM = np.random.default_rng(4)


def values(net: Net) -> dict[str, Any]:
    found = {"x": RANDOM.standard_normal(net.blobs["x"].shape).astype(np.float32)}
    return {**found, "label": LABELS} if "label" in net.blobs else found


def executor_of(net: Net) -> CudaExecutor:
    assert isinstance(net.executor, CudaExecutor)
    return net.executor


def arena(net: Net) -> list[str]:
    """Names of blobs that lie in the arena."""
    copies = {name: blob.data_storage.copy_at("cuda:0") for name, blob in net.blobs.items()}
    return [name for name, copy in copies.items() if isinstance(copy, DeviceCopy) and copy.shares]


def pair(text: str) -> list[Net]:
    return [make(text, engine, TEST) for engine in ("numpy", "cuda")]


def run(nets: list[Net]) -> None:
    given = values(nets[0])
    for net in nets:
        fill(net, given)
        net.run_forward()


@needs_gpu
@pytest.mark.parametrize("name", NETS)
def test_every_blob_has_its_value_whenever_somebody_looks(name: str) -> None:
    nets = pair(NETS[name])
    for number in range(6):  # as it is, captured, replayed; and again after looks
        run(nets)
        shared = arena(nets[1])
        assert bool(shared) == (number < 4)  # from then on somebody has looked at each of them
        if number == 2:
            for output in nets[0].outputs:
                close(output, nets[1].blobs[output].peek(), nets[0].blobs[output].peek(), 1e-4)
            assert arena(nets[1]) == shared
        if number >= 3:
            compare(nets[1], nets[0], f"pass {number}", 1e-4, diffs=False)
    assert not executor_of(nets[1]).sharing.given_up


@needs_gpu
def test_what_shares_lies_apart_while_it_is_in_use() -> None:
    net = make(CHAIN, "cuda", TEST)
    run([net])
    executor = executor_of(net)
    spans = BlobLifetimes(net, executor.plan.groups).in_arena()
    assert set(spans) == {net.blobs[name].data_storage for name in ("c1", "c2", "t2", "c3", "p3", "f")}
    place = {s: (s.copy_at("cuda:0").array.data.ptr, s.count * 4) for s in spans}  # type: ignore[union-attr]
    overlapping = 0
    for a, b in combinations(spans, 2):
        (x, m), (y, n) = place[a], place[b]
        apart = x + m <= y or y + n <= x
        assert apart or not spans[a].overlaps(spans[b])
        overlapping += not apart
    assert overlapping
    assert executor.sharing.size < executor.sharing.unshared_size
    two = 2 * net.blobs["c1"].count * 4  # the most at a time: a convolution's bottom and top, in blocks
    assert two <= executor.sharing.size <= two + 2 * 256
    assert any("Blobs that share memory take" in line for line in executor.remarks())


@needs_gpu
def test_a_blob_is_what_it_was_though_what_it_came_from_has_changed() -> None:
    nets = pair(CHAIN)
    run(nets)
    for net in nets:
        net.blobs["x"].data[...] = 0
        net.blobs["c1"].data[...] = 7
        net.params["c1"][0].data[...] *= 2
        net.blobs["prob"].data[...] = 0.25
    statistics = [net.params["n1"][0].peek().copy() for net in nets]
    assert statistics[0].any()
    for name in ("c2", "t2", "c3", "c1", "prob", "f"):
        close(name, nets[1].blobs[name].peek(), nets[0].blobs[name].peek(), 1e-4)
    for net, before in zip(nets, statistics, strict=True):
        assert (net.params["n1"][0].peek() == before).all()
        assert not net.blobs["x"].peek().any()
    run(nets)
    compare(nets[1], nets[0], "after", 1e-4, diffs=False)


@needs_gpu
def test_weights_that_the_train_net_updates_on_the_gpu() -> None:
    text = CHAIN.replace('name: "prob" bottom: "f"', 'name: "prob" include { phase: TEST } bottom: "f"')
    text += 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 3 } } }\n'
    text += 'layer { name: "loss" bottom: "f" bottom: "label" top: "loss" type: "SoftmaxWithLoss" }\n'
    given = {"x": RANDOM.standard_normal((3, 3, 6, 6)).astype(np.float32), "label": LABELS}
    solvers = [
        solver_of(engine, "test_iter: 1 test_interval: 100 momentum: 0.9", text, values=given)
        for engine in ("numpy", "cuda")
    ]
    for solver in solvers:
        solver.step(4)
        fill(solver.test_nets[0], given)
        solver.test_nets[0].run_forward()
        solver.step(2)  # a replayed graph
    for name in ("c1", "c2", "t2"):
        ours, expected = (solver.test_nets[0].blobs[name].peek() for solver in reversed(solvers))
        close(name, ours, expected, 1e-3)
    test_net = solvers[1].test_nets[0]
    assert executor_of(test_net).sharing.size
    assert not executor_of(solvers[1].net).sharing.size  # which trains


@needs_gpu
@pytest.mark.parametrize("name", NETS)
def test_backward_falls_back_to_separate_memory(name: str) -> None:
    nets = pair("force_backward: true " + NETS[name])
    run(nets)
    assert arena(nets[1])
    for net in nets:
        net.clear_param_diffs()
        output = net.outputs[-1] if name == "chain" else "loss"
        net.blobs[output].diff[...] = np.linspace(-1, 1, net.blobs[output].count).reshape(net.blobs[output].shape)
        net.run_backward()
    assert not arena(nets[1])
    close("diff", nets[1].blobs["x"].peek_diff(), nets[0].blobs["x"].peek_diff(), 1e-4)
    compare(nets[1], nets[0], "after backward", 1e-4, diffs=False)
    run(nets)
    assert not arena(nets[1])


@needs_gpu
def test_part_of_a_net_runs_on_what_the_whole_run_left() -> None:
    nets = pair(CHAIN)
    run(nets)
    for net in nets:
        net.run_forward(net.layer_index("c3"))
    compare(nets[1], nets[0], "after", 1e-4, diffs=False)
    assert not arena(nets[1])


@needs_gpu
def test_a_view_that_somebody_keeps() -> None:
    nets = pair(CHAIN)
    views = [net.blobs["c2"].data for net in nets]
    for _ in range(4):
        run(nets)
        close("c2", views[1], views[0], 1e-4)
    assert "c2" not in arena(nets[1])
    assert "t2" in arena(nets[1])


@needs_gpu
def test_other_shapes_need_another_arena() -> None:
    nets = pair(CHAIN)
    sizes = []
    for count in (3, 3, 5, 5, 2, 5):
        for net in nets:
            net.blobs["x"].reshape(count, 3, 6, 6)
            net.reshape()
        run(nets)
        sizes.append(executor_of(nets[1]).sharing.size)
        close("prob", nets[1].blobs["prob"].peek(), nets[0].blobs["prob"].peek(), 1e-4)
        assert "c1" in arena(nets[1])
    assert sizes[2] > sizes[0]
    compare(nets[1], nets[0], "after", 1e-4, diffs=False)


@needs_gpu
def test_python_layers_keep_what_they_read_and_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counting_layer.py").write_text(
        "import dragon\n"
        "class Twice(dragon.Layer):\n"
        "    runs = 0\n"
        "    def setup(self, bottom, top): pass\n"
        "    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)\n"
        "    def forward(self, bottom, top):\n"
        "        Twice.runs += 1\n"
        "        top[0].data[...] = 2 * bottom[0].data\n"
        "    def backward(self, top, propagate_down, bottom): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own = 'python_param { module: "counting_layer" layer: "Twice" }'
    layer = f'layer {{ name: "p" type: "Python" bottom: "c2" top: "p" {own} }}\n'
    nets = pair(
        CHAIN.replace('bottom: "c2" top: "t2"', 'bottom: "p" top: "t2"').replace(
            'layer { name: "t2"', layer + 'layer { name: "t2"'
        )
    )
    for _ in range(4):
        run(nets)
    import counting_layer  # type: ignore[import-not-found]

    assert counting_layer.Twice.runs == 8
    assert arena(nets[1])
    assert not {"c2", "p"} & set(arena(nets[1]))
    compare(nets[1], nets[0], "after", 1e-4, diffs=False)
    assert counting_layer.Twice.runs == 8


@looks_inside
def test_out_of_memory_names_the_layer_that_needs_most(monkeypatch: pytest.MonkeyPatch) -> None:
    net = make(CHAIN, "cuda", TEST)
    fill(net, values(net))
    monkeypatch.setattr(standin.Memory, "limit", 3000)
    with pytest.raises(EngineError, match=r'layer "c\d" \(Convolution\): out of memory on GPU 0: asked for [\d,]+ byt'):
        net.run_forward()
    monkeypatch.setattr(standin.Memory, "limit", 1 << 30)
    net.run_forward()
    assert np.isfinite(net.blobs["prob"].peek()).all()


@looks_inside
def test_out_of_memory_for_gradients_names_their_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    net = make(CHAIN, "cuda", TRAIN)
    fill(net, values(net))
    net.run_forward()
    monkeypatch.setattr(standin.Memory, "limit", 500)
    with pytest.raises(EngineError, match=r'layer "c2" \(Convolution\): out of memory on GPU 0: asked for 576 bytes'):
        net.clear_param_diffs()
    solver = solver_of("cuda", "momentum: 0.9")
    with pytest.raises(EngineError, match=r'layer "conv" \(Convolution\): out of memory on GPU 0: asked for 540 bytes'):
        solver.net.executor.update(solver.updater, 0.1, 0)


def test_planned_bytes_need_no_gpu() -> None:
    from dragon.engines.cuda.device.counting import CountingDevice
    from dragon.engines.cuda.plan.plan import Plan

    net = make(CHAIN, "numpy", TEST)
    apart, shared, least = planned_bytes(net, Plan(net, CountingDevice(), True).groups)
    assert least <= shared < apart
    sizes = {blob.data_storage: -(-blob.data_storage.count * 4 // 256) * 256 for blob in net.blobs.values()}
    assert apart == sum(sizes.values())


@needs_gpu
def test_a_learned_blob_that_is_a_top_keeps_its_memory() -> None:
    shape = "parameter_param { shape { dim: 3 dim: 4 dim: 6 dim: 6 } }"
    nets = pair(
        CHAIN.replace(
            'layer { name: "c3" bottom: "t2"',
            f'layer {{ name: "w" top: "w" type: "Parameter" {shape} }}\n'
            'layer { name: "sum" bottom: "t2" bottom: "w" top: "sum" type: "Eltwise" }\n'
            'layer { name: "c3" bottom: "sum"',
        )
    )
    for net in nets:
        net.params["w"][0].data[...] = np.linspace(-1, 1, 432).reshape(3, 4, 6, 6)
    for _ in range(3):
        run(nets)
        assert "w" not in arena(nets[1])
        close("prob", nets[1].blobs["prob"].peek(), nets[0].blobs["prob"].peek(), 1e-4)
    for net in nets:
        net.params["w"][0].data[...] = 3
    compare(nets[1], nets[0], "after", 1e-4, diffs=False)


class Script:
    """The same random actions on both engines."""

    def __init__(self, text: str, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nets = pair("force_backward: true " + text)
        self.held: list[Any] = []
        self.log: list[str] = []
        self.last = len(self.nets[0].layers) - 1
        self.actions: list[Callable[[], str]] = [
            self.forward, self.forward, self.forward, self.write, self.peek, self.weights, self.hold, self.drop,
            self.reshape,
        ]  # fmt: skip
        if seed % 3 == 0:
            self.actions += [self.part]
        if "label" in self.nets[0].blobs:
            for net in self.nets:
                fill(net, {"label": LABELS})
        self.forward()

    def some(self) -> str:
        names = [name for name in self.nets[0].blobs if not name.startswith(("label", "loss", "accuracy"))]
        return names[int(self.random.integers(len(names)))]

    def forward(self) -> str:
        losses = [net.run_forward() for net in self.nets]
        assert abs(losses[0] - losses[1]) < 1e-3 * max(1, abs(losses[0]))
        return "forward"

    def part(self) -> str:
        start, end = sorted(self.random.integers(0, self.last + 1, 2).tolist())
        for net in self.nets:
            net.run_forward(start, end)
        return f"forward {start}..{end}"

    def write(self) -> str:
        name = self.some()
        value = self.random.standard_normal(self.nets[0].blobs[name].shape)
        for net in self.nets:
            net.blobs[name].data[...] = value
        return f"write {name}"

    def peek(self) -> str:
        name = self.some()
        ours, expected = (net.blobs[name].peek() for net in reversed(self.nets))
        close(f"{name} after {self.log}", ours, expected, 1e-3)
        return f"peek {name}"

    def weights(self) -> str:
        names = list(self.nets[0].params)
        name = names[int(self.random.integers(len(names)))]
        for net in self.nets:
            net.params[name][0].data[...] *= 0.9
        return f"weights of {name}"

    def hold(self) -> str:
        name = self.some()
        self.held.append([net.blobs[name].data for net in self.nets])
        return f"hold {name}"

    def drop(self) -> str:
        self.held.clear()
        return "drop"

    def reshape(self) -> str:
        """What a smaller batch leaves of the other blobs is nobody's business, so all of it runs."""
        self.held.clear()
        count = int(self.random.integers(1, 4))
        x = self.random.standard_normal((count, *self.nets[0].blobs["x"].shape[1:]))
        for net in self.nets:
            fill(net, {"x": x, **({"label": LABELS[:count]} if "label" in net.blobs else {})})
            net.reshape()
            net.run_forward()
        return f"reshape to {count}"

    def step(self) -> None:
        self.log.append(self.actions[int(self.random.integers(len(self.actions)))]())
        for ours, expected in ((b, a) for a, b in self.held):
            close(f"held after {self.log}", ours, expected, 1e-3)


@needs_gpu
@pytest.mark.parametrize("seed", range(COUNT))
@pytest.mark.parametrize("name", NETS)
def test_random_scripts_cannot_tell(name: str, seed: int) -> None:
    script = Script(NETS[name], seed)
    for _ in range(30):
        script.step()
    compare(script.nets[1], script.nets[0], f"after {script.log}", 2e-3, diffs=False)


@needs_gpu
def test_nets_that_train_do_not_share() -> None:
    net = make(BRANCHES, "cuda", TRAIN)
    run([net])
    assert not arena(net)


@needs_gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_blobs_of_16_bits_share_and_come_back_to_the_same_bits(precision: str) -> None:
    given = {"x": RANDOM.standard_normal((3, 3, 6, 6)).astype(np.float32)}
    shared, apart = (
        Net(parse(CHAIN), TEST, engine="cuda", seed=5, options=Options(precision=precision)) for _ in range(2)
    )
    executor_of(apart).sharing.given_up = True
    for net in (shared, apart):
        fill(net, given)
        net.run_forward()
    assert executor_of(shared).sharing.size
    for name in ("c2", "t2", "c1", "f", "prob"):
        np.testing.assert_array_equal(shared.blobs[name].peek(), apart.blobs[name].peek(), name)
