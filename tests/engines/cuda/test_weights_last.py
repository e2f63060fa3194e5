"""Copies of weights with their channels last, for cuDNN: the update writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from dragon.bases.layer import TEST
from dragon.engines.cuda.device.copies import WorkingCopy
from dragon.engines.cuda.device.precision import PRECISIONS
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.solver.solver import Solver
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.frontend import Package
from tests.engines.cuda.emulation.sixteen import narrow
from tests.engines.cuda.running import close, fill, inputs, layer, options_for, parse
from tests.engines.cuda.test_iteration import CAPTURED

every = pytest.mark.parametrize("precision", ["bf16", "fp16", "tf32"])
FILL = 'weight_filler { type: "gaussian" std: 0.1 }'
NET = (
    inputs({"x": (2, 20, 6, 6), "label": (2,)})
    + layer("Convolution", f"convolution_param {{ num_output: 70 kernel_size: 3 pad: 1 {FILL} }}", "x", "a", "a")
    + layer("ReLU", "", "a", "a", "ra")
    + layer(
        "Convolution", f"convolution_param {{ num_output: 6 kernel_h: 2 kernel_w: 5 group: 2 {FILL} }}", "a", "b", "b"
    )
    + layer("Deconvolution", f"convolution_param {{ num_output: 4 kernel_size: 3 {FILL} }}", "b", "c", "c")
    + layer("InnerProduct", f"inner_product_param {{ num_output: 4 {FILL} }}", "c", "d", "d")
    + layer("SoftmaxWithLoss", 'bottom: "label"', "d", "loss", "loss")
)
TURNED = ("a", "b", "c")
VALUES: dict[str, np.ndarray[Any, Any]] = {
    "x": np.random.default_rng(3).standard_normal((2, 20, 6, 6)),
    "label": np.array([1, 3], np.float32),
}


def solver_of(precision: str, settings: str = "momentum: 0.9", channels_last: bool = True) -> Solver:
    param = pb.SolverParameter(net_param=parse(NET))
    text_format.Merge(f'base_lr: 0.05 lr_policy: "fixed" {settings}', param)
    solver = Solver(param, engine="cuda", seed=4, options=options_for(precision, channels_last=channels_last))
    fill(solver.net, VALUES)
    return solver


def last_of(net: Net, name: str) -> tuple[Any, bool]:
    """The copy of a weight with its channels last, and whether it is up to date."""
    executor: Any = net.executor
    storage, place = net.params[name][0].data_storage, executor.arrays.last_place
    copy = storage.copy_at(place)
    assert isinstance(copy, WorkingCopy)
    return copy.array.get(), storage.is_fresh(place)


def expected_of(net: Net, name: str, precision: str) -> Any:
    weight = net.params[name][0].peek()
    return narrow(weight.transpose(0, 2, 3, 1).ravel(), PRECISIONS.get(precision) or np.float32)


@every
@pytest.mark.parametrize(
    "settings", ["momentum: 0.9", 'type: "Adam" delta: 1e-6', "clip_gradients: 0.1", "iter_size: 2"]
)
def test_the_update_writes_them(settings: str, precision: str, package: Package) -> None:
    """Blobs of several blocks among them; after eager steps and replays no weight has to be turned."""
    solver = solver_of(precision, settings)
    assert max(solver.net.params[name][0].count for name in TURNED) > 4096
    for _ in range(CAPTURED + 2):
        before = standin.counts["launches of transpose"]
        fill(solver.net, VALUES)
        solver.step(1)
        turned = standin.counts["launches of transpose"] - before
        for name in TURNED:
            array, is_fresh = last_of(solver.net, name)
            assert is_fresh
            np.testing.assert_array_equal(array, expected_of(solver.net, name, precision))
    assert turned <= 4, "x for the GPU; c for the inner product, and its gradient"


@every
def test_training_follows_channels_first(precision: str, package: Package, caplog: pytest.LogCaptureFixture) -> None:
    solvers = [solver_of(precision, channels_last=last) for last in (False, True)]
    for _ in range(5):
        losses = [solver.step(1) for solver in solvers]
        assert abs(losses[0] - losses[1]) < 0.05 * abs(losses[0])
    assert not [record for record in caplog.records if "is not used" in record.message]
    for name in TURNED:
        ours, theirs = (solver.net.params[name][0].peek() for solver in reversed(solvers))
        close(name, ours, theirs, 1e-5 if precision == "tf32" else 0.02)


@every
def test_what_a_script_writes_is_used(precision: str, package: Package) -> None:
    """Between two steps, eager ones and replays, and where only a part runs."""
    solver = solver_of(precision)
    for number in range(CAPTURED + 2):
        solver.step(1)
        solver.net.params["a"][0].data[...] = 0.25 * number
        solver.net.run_forward()
        for name in TURNED:
            array, is_fresh = last_of(solver.net, name)
            assert is_fresh
            np.testing.assert_array_equal(array, expected_of(solver.net, name, precision))
        a, x = solver.net.blobs["a"].peek(), VALUES["x"]
        expected = np.maximum(0.25 * number * x[:, :, 1:4, 2:5].sum((1, 2, 3)) + solver.net.params["a"][1].peek()[0], 0)
        close("a", a[:, 0, 2, 3], expected, 0.05)


@every
def test_a_net_that_shares_the_weights_sees_each_update(precision: str, package: Package) -> None:
    solver = solver_of(precision)
    other = Net(parse(NET), TEST, engine="cuda", options=options_for(precision))
    other.share_with(solver.net)
    plain = Net(parse(NET), TEST, engine="numpy")
    for _ in range(CAPTURED + 2):
        solver.step(1)
        for name, blobs in solver.net.params.items():
            for own, blob in zip(plain.params[name], blobs, strict=True):
                own.data[...] = blob.peek()
        for net in (other, plain):
            fill(net, VALUES)
            net.run_forward()
        close("d", other.blobs["d"].peek(), plain.blobs["d"].peek(), 1e-5 if precision == "tf32" else 0.03)


def test_plain_float32_has_none(package: Package) -> None:
    solver = solver_of("fp32")
    solver.step(2)
    executor: Any = solver.net.executor
    storage = solver.net.params["a"][0].data_storage
    assert storage.copy_at(executor.arrays.last_place) is None


@every
def test_a_weight_that_is_shared_in_another_shape(precision: str, package: Package) -> None:
    """Only one of the shapes has a copy; the other is turned in front of each product."""
    text = inputs({"x": (2, 4, 7, 7), "label": (2,)})
    sizes = {
        "a": ("num_output: 6 kernel_size: 3", "x", "a"),
        "b": ("num_output: 4 kernel_h: 1 kernel_w: 9 pad_w: 4", "a", "b"),
    }
    for name, (size, bottom, top) in sizes.items():
        shared = 'param { name: "w" share_mode: PERMISSIVE } '
        text += layer(
            "Convolution", f"{shared} convolution_param {{ {size} bias_term: false {FILL} }}", bottom, top, name
        )
    text += layer("InnerProduct", f"inner_product_param {{ num_output: 4 {FILL} }}", "b", "d", "d")
    text += layer("SoftmaxWithLoss", 'bottom: "label"', "d", "loss", "loss")
    solvers = []
    for engine, options in (("numpy", None), ("cuda", options_for(precision))):
        param = pb.SolverParameter(net_param=parse(text), base_lr=0.05, lr_policy="fixed", momentum=0.9)
        solvers.append(Solver(param, engine=engine, seed=4, options=options))
    for own, other in zip(solvers[1].net.learnable, solvers[0].net.learnable, strict=True):
        own.blob.data[...] = other.blob.peek()
    for number in range(CAPTURED + 3):
        for solver in solvers:
            x = np.random.default_rng(number).standard_normal((2, 4, 7, 7))
            fill(solver.net, {"x": x, "label": VALUES["label"]})
            solver.step(1)
    assert any(line == "whole iteration: graph" for line in solvers[1].net.executor.remarks())
    ours, theirs = (solver.net.params["a"][0].peek() for solver in reversed(solvers))
    close("w", ours, theirs, 1e-5 if precision == "tf32" else 0.03)
