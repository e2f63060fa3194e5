"""Data and diffs that share memory in training: bits are those of a run without sharing, whoever looks at what."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from dragon.engines import Options
from dragon.engines.cuda import plan_figures
from dragon.engines.cuda.device.copies import DeviceCopy
from dragon.engines.cuda.device.counting import CountingDevice
from dragon.engines.cuda.executor import CudaExecutor
from dragon.engines.cuda.plan import sharing
from dragon.engines.cuda.plan.lifetimes import BlobLifetimes, planned_step_bytes, shares_in_training
from dragon.engines.cuda.plan.plan import Plan
from dragon.engines.cuda.plan.touched import touched_by
from dragon.graph.net import Net
from dragon.memory.storage import Storage
from dragon.proto import dragon_pb2 as pb
from dragon.solver.solver import Solver
from tests.engines.cuda.running import compare, fill, inputs, make, parse
from tests.engines.cuda.test_catalogue import behind_the_gpu
from tests.engines.cuda.test_engine import NET
from tests.layers.catalogue import CASES

needs_gpu = pytest.mark.usefixtures("cuda")
looks_inside = pytest.mark.usefixtures("emulated")
COUNT = int(os.environ.get("CUDA_INTERLEAVINGS", "3"))
CONV = (
    'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } '
    "bias_filler { value: 0.1 } }"
)
NORM = 'type: "BN"'
FULL = 'type: "InnerProduct" inner_product_param { num_output: 5 weight_filler { type: "xavier" } }'
POOL = 'type: "Pooling" pooling_param { pool: AVE kernel_size: 2 stride: 2 }'
PARTS = 'type: "Slice" slice_param { slice_point: 3 slice_point: 6 }'
PRODUCT = 'type: "Eltwise" eltwise_param { operation: PROD }'
INPUTS = inputs({"data": (4, 3, 6, 6), "label": (4,)})
RESIDUAL = f"""
layer {{ name: "c0" bottom: "data" top: "c0" {CONV} }}
layer {{ name: "c1" bottom: "c0" top: "c1" {CONV} }}
layer {{ name: "n1" bottom: "c1" top: "n1" {NORM} }}
layer {{ name: "r1" bottom: "n1" top: "n1" type: "ReLU" }}
layer {{ name: "c2" bottom: "n1" top: "c2" {CONV} }}
layer {{ name: "n2" bottom: "c2" top: "n2" {NORM} }}
layer {{ name: "sum" bottom: "n2" bottom: "c0" top: "sum" type: "Eltwise" }}
layer {{ name: "rs" bottom: "sum" top: "sum" type: "ReLU" }}
layer {{ name: "c3" bottom: "sum" top: "c3" {CONV} }}
layer {{ name: "sum2" bottom: "sum" bottom: "c3" top: "sum2" type: "Eltwise" }}
layer {{ name: "rs2" bottom: "sum2" top: "sum2" type: "ReLU" }}
layer {{ name: "pool" bottom: "sum2" top: "pool" {POOL} }}
layer {{ name: "f" bottom: "pool" top: "f" {FULL} }}
layer {{ name: "loss" bottom: "f" bottom: "label" top: "loss" type: "SoftmaxWithLoss" }}
"""
BRANCHES = f"""
layer {{ name: "s0" bottom: "data" top: "data" type: "Sigmoid" }}
layer {{ name: "c1" bottom: "data" top: "c1" {CONV} }}
layer {{ name: "d1" bottom: "c1" top: "c1" type: "Dropout" }}
layer {{ name: "c2" bottom: "c1" top: "c2" {CONV} }}
layer {{ name: "step" bottom: "c2" top: "step" type: "Threshold" }}
layer {{ name: "cat" bottom: "c2" bottom: "c1" top: "cat" type: "Concat" }}
layer {{ name: "parts" bottom: "cat" top: "a" top: "b" top: "unused" {PARTS} }}
layer {{ name: "product" bottom: "a" bottom: "b" top: "product" {PRODUCT} }}
layer {{ name: "flat" bottom: "product" top: "flat" type: "Flatten" }}
layer {{ name: "f" bottom: "flat" top: "f" {FULL} }}
layer {{ name: "loss" bottom: "f" bottom: "label" top: "loss" type: "SoftmaxWithLoss" }}
layer {{ name: "g" bottom: "b" top: "g" {FULL} }}
layer {{ name: "second" bottom: "g" bottom: "label" top: "second" type: "SoftmaxWithLoss" loss_weight: 0.3 }}
layer {{ name: "accuracy" bottom: "f" bottom: "label" top: "accuracy" type: "Accuracy" }}
"""
NETS = {"plain": NET, "residual": RESIDUAL, "branches": BRANCHES}
FROZEN = RESIDUAL.replace('layer { name: "c1"', 'layer { name: "c1" param { lr_mult: 0 } param { lr_mult: 0 }')
FROZEN = FROZEN.replace('layer { name: "c0"', 'layer { propagate_down: false name: "c0" param { lr_mult: 0 }')
LABELS = np.array([0, 3, 1, 2], np.float32)


def values(number: int, batch: int = 4) -> dict[str, Any]:
    random = np.random.default_rng(number)
    return {"data": random.standard_normal((batch, 3, 6, 6)).astype(np.float32), "label": np.resize(LABELS, batch)}


def solver_of(
    text: str, settings: str = "", options: Options | None = None, above: str = "", rate: float = 0.05
) -> Solver:
    param = pb.SolverParameter(net_param=parse(above + INPUTS + text))
    text_format.Merge(f'base_lr: {rate} momentum: 0.9 lr_policy: "fixed" {settings}', param)
    solver = Solver(param, engine="cuda", seed=4, options=options or Options())
    fill(solver.net, values(0))
    return solver


def executor_of(owner: Any) -> CudaExecutor:
    executor = getattr(owner, "net", owner).executor
    assert isinstance(executor, CudaExecutor)
    return executor


def arena(net: Net) -> dict[Storage, Any]:
    """The arrays of the storages that lie in the arena."""
    storages = {s for blob in net.blobs.values() for s in (blob.data_storage, blob.diff_storage)}
    copies = {s: s.copy_at("cuda:0") for s in storages}
    return {s: copy.array for s, copy in copies.items() if isinstance(copy, DeviceCopy) and copy.shares}


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, bool], None]:
    """Lets an executor share memory however little it saves, or never."""

    def decide(owner: Any, shares: bool) -> None:
        monkeypatch.setattr(executor_of(owner).sharing, "worth", 0 if shares else 1 << 60)

    return decide


@pytest.fixture
def pair(always: Callable[[Any, bool], None]) -> Callable[..., list[Solver]]:
    """Makes two solvers; blobs of the second one share memory."""

    def made(*args: Any, **kwargs: Any) -> list[Solver]:
        solvers = [solver_of(*args, **kwargs) for _ in range(2)]
        for solver, shares in zip(solvers, (False, True), strict=True):
            always(solver, shares)
        return solvers

    return made


def same(what: str, a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a, b, err_msg=what)


def same_weights(nets: list[Net], when: str) -> None:
    for a, b in zip(nets[0].layers, nets[1].layers, strict=True):
        for j, (x, y) in enumerate(zip(a.blobs, b.blobs, strict=True)):
            same(f"{when}: blob {j} of {a.name}", x.peek(), y.peek())
            same(f"{when}: gradient {j} of {a.name}", x.peek_diff(), y.peek_diff())


def same_blobs(nets: list[Net], when: str) -> None:
    for name, blob in nets[0].blobs.items():
        same(f"{when}: {name}", blob.peek(), nets[1].blobs[name].peek())
        same(f"{when}: diff of {name}", blob.peek_diff(), nets[1].blobs[name].peek_diff())


CHANGES: Mapping[str, Mapping[str, Any]] = {
    **{name: {"text": text} for name, text in NETS.items()},
    "frozen": {"text": FROZEN},
    "input gradients": {"text": RESIDUAL, "above": "force_backward: true "},
    "unfused": {"text": RESIDUAL, "options": Options(fuse=False)},
    "bf16": {"text": RESIDUAL, "options": Options(precision="bf16")},
    "channels last": {"text": RESIDUAL, "options": Options(precision="bf16", channels_last=True)},
    "fp16": {"text": BRANCHES, "options": Options(precision="fp16")},
    "iter_size": {"text": BRANCHES, "settings": "iter_size: 2"},
    "clip": {"text": RESIDUAL, "settings": "clip_gradients: 0.5"},
    "Adam": {"text": RESIDUAL, "settings": 'type: "Adam" delta: 1e-8'},
    "display": {"text": RESIDUAL, "settings": "display: 2"},
}


@needs_gpu
@pytest.mark.parametrize("case", CHANGES)
def test_bits_are_those_of_a_run_without_sharing(case: str, pair: Callable[..., list[Solver]]) -> None:
    solvers = pair(**CHANGES[case])
    nets = [solver.net for solver in solvers]
    for number in range(6):  # as it is, captured, replayed
        for net in nets:
            fill(net, values(number))
        assert solvers[0].step(1) == solvers[1].step(1)
        assert arena(nets[1])
        assert not arena(nets[0])
        same_weights(nets, f"step {number}")
    if case not in ("iter_size", "display"):
        assert "whole iteration: graph" in nets[1].executor.remarks()
    assert executor_of(nets[1]).sharing.size < executor_of(nets[1]).sharing.unshared_size
    shared = len(arena(nets[1]))
    same_blobs(nets, "looked at afterwards")
    assert len(arena(nets[1])) < shared
    same_weights(nets, "after the look")
    for number in range(4):
        for net in nets:
            fill(net, values(10 + number))
        assert solvers[0].step(1) == solvers[1].step(1)
    same_weights(nets, "after four more steps")
    same_blobs(nets, "after four more steps")
    assert not executor_of(nets[1]).sharing.given_up


@needs_gpu
def test_what_was_read_is_what_the_step_made_though_all_has_changed_since(pair: Callable[..., list[Solver]]) -> None:
    solvers = pair(BRANCHES, above="force_backward: true ")
    nets = [solver.net for solver in solvers]
    for solver in solvers:
        solver.step(4)
    expected = {name: (blob.peek().copy(), blob.peek_diff().copy()) for name, blob in nets[0].blobs.items()}
    for net in nets:
        for layer in net.layers:
            for blob in layer.blobs:
                blob.data[...] *= 0.5
        net.blobs["label"].data[...] = 0
        net.blobs["g"].diff[...] = 3
    for name in ("c1", "c2", "cat", "a", "f", "product"):
        same(name, nets[1].blobs[name].peek(), expected[name][0])
        same(f"diff of {name}", nets[1].blobs[name].peek_diff(), expected[name][1])
    same_weights(nets, "after")
    for solver in solvers:
        solver.step(3)
    same_weights(nets, "after three more steps")
    same_blobs(nets, "after three more steps")


@needs_gpu
def test_what_shares_lies_apart_while_it_is_in_use(pair: Callable[..., list[Solver]]) -> None:
    solver = pair(RESIDUAL)[1]
    solver.step(1)
    executor, net = executor_of(solver), solver.net
    groups = executor.plan.groups
    spans = BlobLifetimes(net, groups, backward=[g for g in reversed(groups) if g.need_backward]).in_arena()
    found = arena(net)
    assert set(spans) == set(found)
    place = {s: (array.data.ptr, array.nbytes) for s, array in found.items()}
    overlapping = 0
    for a, b in combinations(spans, 2):
        (x, m), (y, n) = place[a], place[b]
        apart = x + m <= y or y + n <= x
        assert apart or not spans[a].overlaps(spans[b])
        overlapping += not apart
    assert overlapping
    data, diff = net.blobs["c2"].data_storage, net.blobs["c2"].diff_storage
    assert spans[diff].end - spans[diff].start == 1  # from the backward of one layer to that of the next
    assert spans[data].end > len(groups)  # BN needs it to go back
    assert spans[net.blobs["n2"].data_storage].end < len(groups)  # the sum does not
    apart, shared, least = planned_step_bytes(net, groups)
    assert least <= shared < apart
    assert apart - shared == executor.sharing.unshared_size - executor.sharing.size


def test_the_dry_run_reports_the_memory_of_a_training_step() -> None:
    net = make(INPUTS + RESIDUAL, "numpy")
    figures = plan_figures(net)
    apart, shared, least = figures.step_bytes
    assert least <= shared < apart
    blobs = {s: s.count * 4 for b in net.blobs.values() for s in (b.data_storage, b.diff_storage)}
    assert figures.blob_bytes[0] < apart <= sum(-(-size // 256) * 256 for size in blobs.values())
    learned = sum(p.blob.count for p in net.learnable)
    assert figures.parameter_bytes == 4 * 2 * (learned + sum(b.count for n in ("n1", "n2") for b in net.params[n][2:]))
    (line,) = [line for line in figures.lines() if line.startswith("memory of data and diffs in training")]
    assert f"{apart / 1e6:.3f} MB apart, {shared / 1e6:.3f} MB shared" in line
    assert plan_figures(net, backward=False).step_bytes == (0, 0, 0)


@needs_gpu
def test_little_is_not_worth_the_copy_of_the_parameters() -> None:
    solver = solver_of(RESIDUAL)
    solver.step(4)
    assert not arena(solver.net)
    assert executor_of(solver).sharing.worth == sharing.WORTH_SHARING


@needs_gpu
@pytest.mark.parametrize("way", ["forward", "part", "backward", "hook", "debug_info"])
def test_another_kind_of_run_ends_it_and_finds_what_it_needs(way: str, pair: Callable[..., list[Solver]]) -> None:
    solvers = pair(RESIDUAL, above="force_backward: true ")
    nets = [solver.net for solver in solvers]
    for solver in solvers:
        solver.step(4)
        net = solver.net
        if way == "forward":
            net.run_forward()
        elif way == "part":
            net.run_forward(net.layer_index("c2"), net.layer_index("sum"))
        elif way == "backward":
            net.run_backward(net.layer_index("rs"), net.layer_index("n1"))
        elif way == "hook":
            net.before_backward(lambda index: None)
            net.forward_backward()
        else:
            net.debug_info = True
            net.forward_backward()
            net.debug_info = False
    assert not arena(nets[1])
    same_weights(nets, way)
    same_blobs(nets, way)
    for solver in solvers:
        solver.step(3)
    same_weights(nets, f"{way}, then steps")
    same_blobs(nets, f"{way}, then steps")
    assert not arena(nets[1])


@needs_gpu
def test_views_that_a_script_keeps(pair: Callable[..., list[Solver]]) -> None:
    solvers = pair(RESIDUAL)
    views = [(s.net.blobs["c2"].diff, s.net.blobs["n1"].data) for s in solvers]
    for _ in range(5):
        for solver in solvers:
            solver.step(1)
        for a, b in zip(*views, strict=True):
            same("held", a, b)
    held = {solvers[1].net.blobs["c2"].diff_storage, solvers[1].net.blobs["n1"].data_storage}
    assert not held & set(arena(solvers[1].net))
    assert solvers[1].net.blobs["c1"].diff_storage in arena(solvers[1].net)


@needs_gpu
def test_other_batches_need_another_arena(pair: Callable[..., list[Solver]]) -> None:
    solvers = pair(BRANCHES)
    sizes = []
    for number, batch in enumerate((4, 4, 4, 6, 6, 6, 3, 4)):
        for solver in solvers:
            fill(solver.net, values(number, batch))
        assert solvers[0].step(1) == solvers[1].step(1)
        assert arena(solvers[1].net)
        sizes.append(executor_of(solvers[1]).sharing.size)
    assert sizes[3] > sizes[0]
    nets = [solver.net for solver in solvers]
    same_weights(nets, "after")
    same_blobs(nets, "after")


def give_once(layer: Any, batch: int) -> None:
    """Let a source give one batch of another size."""

    def forward(bottom: Any, top: Any) -> None:
        del layer.forward
        layer.forward(bottom, top)
        for blob in top:
            blob.reshape(batch, *blob.shape[1:])
            blob.data[...] = np.linspace(0, 2, blob.count).reshape(blob.shape).astype(int)

    layer.forward = forward


@needs_gpu
def test_a_source_that_changes_the_shapes_in_the_middle_of_a_step(
    pair: Callable[..., list[Solver]], tmp_path: Path
) -> None:
    import h5py

    for k, batch in enumerate((4, 4)):
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            for name, value in values(k, batch).items():
                file[name] = value
    (tmp_path / "list.txt").write_text("".join(f"{tmp_path / f'{k}.h5'}\n" for k in range(2)))
    source = f'hdf5_data_param {{ source: "{tmp_path}/list.txt" batch_size: 3 }}'
    text = f'layer {{ name: "in" type: "HDF5Data" top: "data" top: "label" {source} }}'
    solvers = []
    for _ in range(2):
        param = pb.SolverParameter(net_param=parse(text + RESIDUAL))
        text_format.Merge('base_lr: 0.05 momentum: 0.9 lr_policy: "fixed"', param)
        solvers.append(Solver(param, engine="cuda", seed=4))
    executor_of(solvers[1]).sharing.worth = 0
    executor_of(solvers[0]).sharing.worth = 1 << 60
    for number in range(9):
        if number in (4, 7):  # in the middle of the step, as a source does
            for solver in solvers:
                give_once(solver.net.layers[0], 4 if number == 4 else 2)
        assert solvers[0].step(1) == solvers[1].step(1)
        assert arena(solvers[1].net)
    nets = [solver.net for solver in solvers]
    same_weights(nets, "after")
    same_blobs(nets, "after")


@needs_gpu
def test_a_snapshot_in_the_middle(pair: Callable[..., list[Solver]], tmp_path: Path) -> None:
    settings = f'snapshot: 3 snapshot_prefix: "{tmp_path}/s"'
    solvers = pair(RESIDUAL, settings)
    solvers[1].step(5)
    shared = len(arena(solvers[1].net))
    assert shared
    solvers[0].restore(str(tmp_path / "s_iter_3.solverstate"))
    solvers[0].step(2)
    same_weights([solver.net for solver in solvers], "after")


@needs_gpu
@pytest.mark.parametrize("name", CASES)
def test_every_layer_beside_numpy_in_memory_that_holds_rubbish(name: str, always: Callable[[Any, bool], None]) -> None:
    """Whatever a layer does not write, and whatever it reads that is not said to live, would be NaN."""
    case = CASES[name]
    nets = [make(behind_the_gpu(case), engine, dtype=np.float64) for engine in ("numpy", "cuda")]
    for source, target in zip(nets[0].layers, nets[1].layers, strict=True):
        for a, b in zip(source.blobs, target.blobs, strict=True):
            b.data[...] = a.data
    always(nets[1], True)
    executor = executor_of(nets[1])
    for number in range(2):
        given = {key.replace("x", "h"): value for key, value in case.values(number).items()}
        for net in nets:
            fill(net, given)
            net.clear_param_diffs()
            random = np.random.default_rng(number)
            if number == 0:
                net.reshape()
                for output in net.outputs:
                    i = next(i for i in range(len(net.layers)) if output in net.top_names_of(i))
                    if not any(net.layers[i].loss_weights):
                        net.blobs[output].diff[...] = random.standard_normal(net.blobs[output].shape)
        with executor.gpu.active():
            executor.sharing.enter_training()
            for array in arena(nets[1]).values():
                array[...] = np.nan
        for net in nets:
            net.forward_backward()
        if not shares_in_training(executor.plan.groups):
            assert not arena(nets[1])
            return
    compare(nets[1], nets[0], "after", 1e-9)


@pytest.mark.parametrize("name", CASES)
def test_what_every_layer_touches_is_found_without_a_gpu(name: str) -> None:
    net = make(CASES[name].text(), "numpy")
    plan = Plan(net, CountingDevice(), True)
    before = [node.layer.rng.draws for node in net.nodes]
    group = plan.groups[-1]
    if group.on_host or group.runs_array_code:
        return
    found = touched_by(group, plan.types)
    tops = {top.data_storage for top in group.tops}
    assert group.lowering is not None
    shared = group.lowering.shares or bool(tops & {bottom.data_storage for bottom in group.bottoms})
    assert shared or tops <= found.forward
    assert [node.layer.rng.draws for node in net.nodes] == before
    assert net.context.space.view is None


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
def test_random_scripts_cannot_tell(name: str, seed: int, pair: Callable[..., list[Solver]]) -> None:
    script = Script(pair(NETS[name], rate=0.002), seed)
    for _ in range(30):
        script.act()
    same_weights(script.nets, f"after {script.log}")
    same_blobs(script.nets, f"after {script.log}")
