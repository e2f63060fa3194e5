"""Nets in 16 bits: types of blobs, what scripts see, and losses beside float32's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from dragon.bases.layer import TEST, TRAIN
from dragon.engines import Options
from dragon.engines.cuda import plan_figures
from dragon.engines.cuda.device.precision import BFLOAT16, PRECISIONS
from dragon.engines.cuda.plan.loss_scale import INITIAL
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.solver.solver import Solver
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.cudnn import Cudnn
from tests.engines.cuda.emulation.sixteen import EPS, narrow, wide
from tests.engines.cuda.running import close, fill, inputs, layer, make, parse
from tests.engines.cuda.test_engine import TEXT, VALUES

needs_gpu = pytest.mark.usefixtures("cuda")
looks_inside = pytest.mark.usefixtures("emulated")
both = pytest.mark.parametrize("precision", ["bf16", "fp16"])
CAPTURED = 3  # steps after which an iteration is a graph
RANDOM = np.random.default_rng(17)


def eps(precision: str) -> float:
    dtype = PRECISIONS[precision]
    assert dtype is not None
    return EPS[dtype]


def net_of(text: str, precision: str, phase: int = TRAIN, seed: int = 5) -> Net:
    return Net(parse(text), phase, engine="cuda", seed=seed, options=Options(precision=precision))


def solver_of(
    precision: str, settings: str = "momentum: 0.9", text: str = TEXT, values: Mapping[str, Any] = VALUES
) -> Solver:
    param = pb.SolverParameter(net_param=parse(text))
    text_format.Merge(f'base_lr: 0.05 lr_policy: "fixed" {settings}', param)
    solver = Solver(param, engine="cuda", seed=4, options=Options(precision=precision))
    fill(solver.net, values)
    return solver


def executor_of(owner: Any) -> Any:
    return getattr(owner, "net", owner).executor


def dtype_of(net: Net, name: str, diff: bool = False) -> np.dtype[Any]:
    blob = net.blobs[name]
    storage = blob.diff_storage if diff else blob.data_storage
    found: np.dtype[Any] = executor_of(net).arrays.of(storage).dtype
    return found


def scale_of(solver: Solver) -> dict[str, float]:
    found: dict[str, float] = solver.net.executor.state()
    return found


def graphs(solver: Solver) -> bool:
    return any(line == "whole iteration: graph" for line in solver.net.executor.remarks())


def weights(solver: Solver) -> list[np.ndarray]:
    return [p.blob.peek().copy() for p in solver.net.learnable]


# -- types ---------------------------------------------------------------------------------------------------------
@needs_gpu
@both
def test_what_has_16_bits(precision: str) -> None:
    net = net_of(TEXT, precision)
    fill(net, VALUES)
    net.forward_backward()
    narrow = PRECISIONS[precision]
    for name in ("data", "conv", "pool", "norm", "drop", "ip"):
        assert dtype_of(net, name) == narrow
    assert dtype_of(net, "ip", diff=True) == narrow
    for name in ("label", "loss", "accuracy"):
        assert dtype_of(net, name) == np.float32
    for params in net.params.values():
        for blob in params:
            assert executor_of(net).arrays.of(blob.data_storage).dtype == np.float32
            assert executor_of(net).arrays.of(blob.diff_storage).dtype == np.float32
    notes = net.executor.describe()
    assert all(note.startswith(("kernels", "in ", "host")) for note in notes)


@needs_gpu
def test_labels_that_are_cut_out_of_a_blob_stay_float32() -> None:
    """300 is no number of bfloat16."""
    text = inputs({"both": (4, 2), "x": (4, 400)})
    text += 'layer { name: "cut" type: "Slice" bottom: "both" top: "label" top: "rest" slice_param { axis: 1 } }'
    text += 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "label" top: "loss" }'
    text += 'layer { name: "end" type: "Silence" bottom: "rest" }'
    labels = np.array([[301, 5], [257, 7], [399, 1], [299, 0]], np.float32)
    x = RANDOM.standard_normal((4, 400)).astype(np.float32)
    net = net_of(text, "bf16")
    fill(net, {"both": labels, "x": x})
    loss = net.run_forward()
    assert dtype_of(net, "x") == BFLOAT16
    assert dtype_of(net, "both") == np.float32
    np.testing.assert_array_equal(net.blobs["label"].peek()[:, 0], labels[:, 0])
    expected = make(text, "numpy")
    fill(expected, {"both": labels, "x": x})
    assert abs(loss - expected.run_forward()) < 0.02


@needs_gpu
@both
def test_scripts_see_float32(precision: str) -> None:
    net = net_of(TEXT, precision, TEST)
    values = RANDOM.standard_normal(VALUES["data"].shape).astype(np.float32)
    fill(net, {**VALUES, "data": values})
    net.run_forward()
    kept = net.blobs["ip"].data
    assert kept.dtype == np.float32
    first = kept.copy()
    assert first.any()
    net.blobs["data"].data[...] = 2 * values
    net.run_forward()
    assert (kept != first).any()
    net.params["ip"][0].data[...] = 0
    net.params["ip"][1].data[...] = 3
    net.run_forward()
    np.testing.assert_array_equal(net.blobs["ip"].peek(), np.full((4, 4), 3, np.float32))


@needs_gpu
def test_a_net_of_doubles_computes_in_doubles() -> None:
    net = Net(parse(TEXT), TRAIN, engine="cuda", dtype=np.float64, options=Options(precision="fp16"))
    fill(net, VALUES)
    net.forward_backward()
    assert dtype_of(net, "conv") == np.float64


@needs_gpu
@both
def test_layers_without_such_kernels_compute_in_float32(precision: str) -> None:
    """`between` is array code, between two layers with kernels of 16 bits."""
    text = "force_backward: true\n" + inputs({"x": (4, 6, 1, 1)}) + layer("TanH", top="a", name="a")
    text += layer("Normalize", "norm_param { scale_filler { value: 2 } }", "a", "b", "between")
    text += layer("Sigmoid", bottom="b", top="y", name="y")
    x = RANDOM.standard_normal((4, 6, 1, 1)).astype(np.float32)
    dy = RANDOM.standard_normal((4, 6, 1, 1)).astype(np.float32)
    nets = [make(text, "numpy"), net_of(text, precision)]
    for _ in range(3):
        for net in nets:
            fill(net, {"x": x})
            net.run_forward()
            net.blobs["y"].diff[...] = dy
            net.run_backward()
    assert dtype_of(nets[1], "b") == PRECISIONS[precision]
    for name in ("a", "b", "y"):
        close(name, nets[1].blobs[name].peek(), nets[0].blobs[name].peek(), 8 * eps(precision))
    close("dx", nets[1].blobs["x"].peek_diff(), nets[0].blobs["x"].peek_diff(), 30 * eps(precision))


# -- training ------------------------------------------------------------------------------------------------------
@needs_gpu
@both
@pytest.mark.parametrize("rule", ['type: "SGD" momentum: 0.9 weight_decay: 0.01 clip_gradients: 5', 'type: "Adam"'])
def test_losses_follow_those_of_float32(precision: str, rule: str) -> None:
    solvers = [solver_of(p, rule) for p in ("fp32", precision)]
    for _ in range(8):
        losses = [solver.step(1) for solver in solvers]
        assert abs(losses[0] - losses[1]) < 40 * eps(precision)
    assert losses[1] < 1.0
    assert any(line == "whole iteration: graph" for line in solvers[1].net.executor.remarks())
    for ours, expected in zip(weights(solvers[1]), weights(solvers[0]), strict=True):
        close("weights", ours, expected, 60 * eps(precision))


@needs_gpu
def test_gradients_of_parameters_are_true_ones() -> None:
    """Whatever the loss scale: scripts read and clip them, and iter_size adds them up."""
    solvers = [solver_of(precision, "iter_size: 2 momentum: 0") for precision in ("fp32", "fp16")]
    for solver in solvers:
        solver.step(3)
    assert scale_of(solvers[1])["loss_scale"] == INITIAL
    for ours, expected in zip(solvers[1].net.learnable, solvers[0].net.learnable, strict=True):
        close("gradient", ours.blob.peek_diff(), expected.blob.peek_diff(), 60 * eps("fp16"))
    ip = [solver.net.blobs["ip"].peek_diff() for solver in solvers]
    close("gradient of ip", ip[1], ip[0], 60 * eps("fp16"))


@needs_gpu
@both
def test_a_step_keeps_small_changes_in_the_masters(precision: str) -> None:
    """A change far below what the 16 bits of a weight can show adds up."""
    solver = solver_of(precision, "momentum: 0")
    solver.param.base_lr = 1e-6
    before = weights(solver)
    solver.step(5)
    changed = [(a != b).mean() for a, b in zip(before, weights(solver), strict=True)]
    assert min(changed) > 0.2


@looks_inside
@both
def test_a_training_step_launches_nothing_but_its_graph(precision: str) -> None:
    solver = solver_of(precision)
    solver.step(CAPTURED)
    before = standin.counts.copy()
    solver.step(2)
    made = standin.counts - before
    assert made["graph launches"] == 2
    assert made["launches"] == made["to host"] == made["to host, asynchronous"] == 0


# -- figures ---------------------------------------------------------------------------------------------------------
def test_figures_count_16_bits() -> None:
    net = Net(parse(TEXT), TRAIN, engine="numpy")
    full, half, scaled = (plan_figures(net, precision=precision) for precision in PRECISIONS)
    by_name = [{f.name: f for f in figures.layers} for figures in (full, half)]
    assert by_name[1]["bn .. relu"].bytes < 0.6 * by_name[0]["bn .. relu"].bytes
    assert half.bytes < 0.75 * full.bytes
    assert half.launches == full.launches
    assert scaled.launches == full.launches + 3


@looks_inside
@both
def test_figures_count_what_is_launched(precision: str) -> None:
    net = net_of(TEXT, precision)
    fill(net, VALUES)
    before = standin.counts.copy()
    net.forward_backward()
    made = standin.counts - before
    made["launches"] -= made["launches of to_16_bit"]  # of the data, and of weights that nobody has updated yet
    assert made["launches"] + made["gemm"] + 1 == sum(f.launches for f in plan_figures(net, precision=precision).layers)


# -- the nets of CIFAR-10 ----------------------------------------------------------------------------------------------
MODELS = Path(__file__).parents[3] / "models"


def cifar10_quick(form: str, shape: Sequence[int]) -> str:
    """The net for training with a quarter of its channels, since emulation is slow, on blobs instead of a database."""
    whole = pb.NetParameter()
    text_format.Parse((MODELS / f"cifar10_quick{form}" / "train_val.prototxt").read_text(), whole)
    kept = [one for one in whole.layer if one.type not in ("Data", "Accuracy")]
    for one in kept:
        if one.type == "Convolution":
            one.convolution_param.num_output //= 4
    param = pb.NetParameter(layer=kept)
    return inputs({"data": shape, "label": shape[:1]}) + text_format.MessageToString(param)


@looks_inside
@pytest.mark.parametrize("form", ["", "_bn_split", "_bn_merged"])
def test_cifar10_quick_follows_float32(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragon.engines.cuda.device.cudnn.load_library", Cudnn)
    random = np.random.default_rng(0)
    data = (random.standard_normal((2, 3, 16, 16)) * 50).astype(np.float32)
    values = {"data": data, "label": np.array([3, 8], np.float32)}
    text = cifar10_quick(form, data.shape)
    settings = "momentum: 0.9 weight_decay: 0.004"
    solvers = {p: solver_of(p, settings, text, values) for p in PRECISIONS}
    for solver in solvers.values():
        solver.param.base_lr = 0.001
    solvers["fp16"].net.executor.load_state(
        {"loss_scale": 16}
    )  # behind normalisation, with two images, gradients are large
    found = {p: [solver.step(1) for _ in range(5)] for p, solver in solvers.items()}
    assert found["fp32"][-1] < found["fp32"][0] - 0.01
    fallen = found["fp32"][0] - found["fp32"][-1]
    for precision in ("bf16", "fp16"):
        gap = max(abs(a - b) for a, b in zip(found[precision], found["fp32"], strict=True))
        assert gap < max(12 * eps(precision), 0.1 * fallen), (precision, found)
        assert graphs(solvers[precision])
    assert scale_of(solvers["fp16"])["skipped_steps"] == 0


# -- working copies of weights -----------------------------------------------------------------------------------------
@needs_gpu
@both
def test_a_test_net_sees_each_update(precision: str) -> None:
    text = TEXT + 'layer { name: "out" type: "Softmax" bottom: "ip" top: "prob" include { phase: TEST } }'
    results = []
    for each in ("fp32", precision):
        solver = solver_of(each, "momentum: 0.9 test_iter: 1 test_interval: 1000 test_state { }", text)
        fill(solver.test_nets[0], VALUES)
        found = []
        for _ in range(5):
            solver.step(1)
            fill(solver.test_nets[0], VALUES)
            found.append(solver.test(0)["prob"])
        results.append(found)
    for number, (ours, expected) in enumerate(zip(results[1], results[0], strict=True)):
        close(f"step {number}", ours, expected, 40 * eps(precision))
    assert all(np.abs(a - b).max() > 1e-3 for a, b in pairwise(results[1]))


@needs_gpu
@both
def test_what_a_script_writes_into_weights_is_used(precision: str) -> None:
    solver = solver_of(precision, "momentum: 0")
    solver.step(CAPTURED + 1)
    weight, bias = solver.net.params["ip"]
    for run in (solver.net.run_forward, solver.apply_update, lambda: solver.step(1)):
        weight.data[...] = 0
        bias.data[...] = 7
        if run == solver.apply_update:
            solver.net.clear_param_diffs()
        run()
        if run == solver.apply_update:
            assert not weight.peek().any()
            solver.net.run_forward()
        np.testing.assert_array_equal(solver.net.blobs["ip"].peek(), np.full((4, 4), 7, np.float32))


@needs_gpu
@both
def test_snapshots_hold_the_masters(precision: str, tmp_path: Path) -> None:
    solver = solver_of(precision, f'momentum: 0.9 snapshot_prefix: "{tmp_path}/s"')
    solver.step(4)
    path = solver.snapshot()
    other = make(TEXT, "numpy")
    other.copy_from(path.replace(".solverstate", ".caffemodel"))
    ours = solver.net.params["ip"][0].peek()
    np.testing.assert_array_equal(other.params["ip"][0].peek(), ours)
    dtype = PRECISIONS[precision]
    assert dtype is not None
    assert (wide(narrow(ours, dtype)) != ours).any()
