"""In the graph of an iteration the first launch to add to a parameter's gradient writes it; others are cleared."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from dragon.bases.layer import TRAIN
from dragon.engines.cuda.plan.figures import plan_figures
from dragon.errors import EngineError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.solver.solver import Solver
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.cudnn import Cudnn
from tests.engines.cuda.emulation.frontend import Package
from tests.engines.cuda.running import close, fill, layer, options_for, parse
from tests.engines.cuda.test_16_bit_kernels import FILL
from tests.engines.cuda.test_iteration import CAPTURED, state
from tests.engines.cuda.training import executor_of

pytestmark = pytest.mark.usefixtures("cuda")
looks_inside = pytest.mark.usefixtures("emulated")

SHAPE = (4, 3, 6, 6)
INPUTS = (
    'layer { name: "inputs" type: "Input" top: "x" top: "label" '
    "input_param { shape { dim: 4 dim: 3 dim: 6 dim: 6 } shape { dim: 4 } } }\n"
)


def conv(bottom: str, top: str, settings: str) -> str:
    return layer("Convolution", f"convolution_param {{ {settings} {FILL} }}", bottom, top, top)


def full(bottom: str, top: str, settings: str = "", more: str = "", outputs: int = 5) -> str:
    given = f"inner_product_param {{ num_output: {outputs} {settings} {FILL} }} {more}"
    return layer("InnerProduct", given, bottom, top, top)


def loss(bottom: str, name: str = "loss") -> str:
    return layer("SoftmaxWithLoss", 'bottom: "label"', bottom, name, name)


TIED = 'param { name: "s" } param { name: "s" }'
SHARED = 'param { name: "w" } param { name: "b" }'
NETS = {
    "convolutions": conv("x", "a", "num_output: 8 kernel_size: 3 pad: 1")
    + conv("a", "b", "num_output: 8 kernel_size: 1") + conv("b", "c", "num_output: 8 kernel_size: 3 group: 8")
    + conv("c", "d", "num_output: 4 kernel_size: 3 group: 2")
    + layer("Deconvolution", f"convolution_param {{ num_output: 4 kernel_size: 2 {FILL} }}", "d", "e", "e")
    + full("e", "y") + loss("y"),
    "several bottoms": layer("TanH", "", "x", "t", "t") + conv("x", "a", "num_output: 4 kernel_size: 3")
    .replace('top: "a"', 'bottom: "t" top: "a" top: "b"')
    + layer("Eltwise", 'bottom: "b"', "a", "s", "s") + full("s", "y", "transpose: true") + loss("y"),
    "split": conv("x", "a", "num_output: 4 kernel_size: 3 bias_term: false") + layer("BatchNorm", "", "a", "b", "b")
    + layer("Scale", "scale_param { bias_term: true }", "b", "b", "scale") + layer("ReLU", "", "b", "b", "relu")
    + full("b", "y") + loss("y"),
    "merged": conv("x", "a", "num_output: 4 kernel_size: 3 bias_term: false") + layer("BN", "", "a", "a", "bn")
    + full("a", "y") + loss("y"),
    "affine": layer("Scale", "scale_param { bias_term: true }", "x", "a", "a")
    + layer("Bias", "bias_param { filler { value: 0.5 } }", "a", "b", "b")
    + layer("PReLU", "prelu_param { filler { value: 0.3 } }", "b", "c", "c")
    + layer("PReLU", "prelu_param { channel_shared: true }", "c", "d", "d")
    + full("d", "y") + loss("y"),
    "rows": layer("LayerNorm", "", "x", "a", "a")
    + layer("GroupNorm", "group_norm_param { num_groups: 3 }", "a", "b", "b")
    + layer("Normalize", "norm_param { across_spatial: false }", "b", "c", "c") + full("c", "y") + loss("y"),
    "shared weights": layer("TanH", "", "x", "t", "t") + full("x", "y", "", SHARED) + full("t", "z", "", SHARED)
    + loss("y") + loss("z", "second"),
    "shared scale and shift": layer("Scale", f"scale_param {{ bias_term: true }} {TIED}", "x", "a", "a")
    + layer("LayerNorm", TIED.replace('"s"', '"n"'), "a", "b", "b") + full("b", "y") + loss("y"),
    "nothing behind": full("x", "y") + loss("y") + full("x", "unused", "", "", 3) + layer("Silence", "", "unused", "")
    .replace('top: ""', ""),
}  # fmt: skip
CLEARED = {"nothing behind": ["unused"]}


def solver_of(text: str, engine: str, precision: str = "fp32", settings: str = "") -> Solver:
    param = pb.SolverParameter(net_param=parse(INPUTS + text))
    text_format.Merge(f'base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" {settings}', param)
    return Solver(param, engine=engine, seed=4, options=options_for(precision))


def train(solvers: list[Solver]) -> None:
    """Steps before each of which all gradients are NaN."""
    for number in range(CAPTURED + 2):
        random = np.random.default_rng(number)
        given = {"x": random.standard_normal(SHAPE), "label": random.integers(0, 3, SHAPE[:1])}
        for solver in solvers:
            fill(solver.net, given)
            for p in solver.net.learnable:
                p.blob.diff[...] = np.nan
            solver.step(1)


def train_as_in_parts(text: str, precision: str = "fp32") -> None:
    """A graph of the whole iteration gives the weights that the parts give, where all gradients are cleared."""
    solvers = [solver_of(text, "cuda", precision) for _ in range(2)]
    solvers[1].add_callback(on_gradients_ready=lambda: None)
    train(solvers)
    assert state(solvers[0]) == "graph"
    assert "whole iteration: graph" not in solvers[1].net.executor.remarks()
    for a, b in zip(*(solver.net.learnable for solver in solvers), strict=True):
        np.testing.assert_array_equal(a.blob.peek(), b.blob.peek())
        np.testing.assert_array_equal(a.blob.peek_diff(), b.blob.peek_diff())
        assert np.isfinite(a.blob.peek()).all()


@pytest.mark.parametrize("net", NETS)
def test_no_gradient_is_left_over(net: str) -> None:
    solvers = [solver_of(NETS[net], engine) for engine in ("numpy", "cuda")]
    train(solvers)
    assert state(solvers[1]) == "graph"
    for ours, expected in zip(*(reversed([solver.net.learnable for solver in solvers])), strict=True):
        close("weights", ours.blob.peek(), expected.blob.peek(), 2e-4)


@looks_inside
@pytest.mark.parametrize("net", NETS)
def test_only_what_nobody_writes_is_cleared(net: str) -> None:
    solver = solver_of(NETS[net], "cuda")
    fill(solver.net, {"label": np.zeros(SHAPE[:1])})
    standin.counts.clear()
    solver.step(CAPTURED)
    update = executor_of(solver)._update
    assert update is not None
    cleared = update._cleared
    (blocks,) = [count for _, count in cleared.values()]
    expected = sum(len(solver.net.params[name]) for name in CLEARED.get(net, ()))
    assert blocks == expected
    assert bool(standin.counts["launches of clear_gradients"]) == bool(expected)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize("net", ["convolutions", "split", "merged", "shared weights", "shared scale and shift"])
def test_the_bits_are_those_of_separate_parts(net: str, precision: str) -> None:
    train_as_in_parts(NETS[net], precision)


@looks_inside
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("interface", ["frontend", "C"])
def test_by_cudnn(interface: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32 gradients are written where they belong by cuDNN, unless the weights lie in another order."""
    if interface == "frontend":
        monkeypatch.setattr("dragon.engines.cuda.device.cudnn_frontend.load_package", Package)
    else:
        monkeypatch.setattr("dragon.engines.cuda.device.cudnn.load_library", Cudnn)
    text = conv("x", "a", "num_output: 8 kernel_size: 3 pad: 1") + conv(
        "a", "b", "num_output: 8 kernel_size: 2 stride: 2"
    )
    train_as_in_parts(text + full("b", "y") + loss("y"), precision)
    solver = solver_of(text + full("b", "y") + loss("y"), "cuda", precision)
    fill(solver.net, {"label": np.zeros(SHAPE[:1])})
    solver.step(1)  # in parts
    standin.counts.clear()
    solver.step(CAPTURED - 1)
    copies = standin.counts["launches of accumulate"] + standin.counts["launches of accumulate_transposed"]
    assert bool(copies) == (precision != "fp32")


def test_gradients_of_several_passes_add_up() -> None:
    solvers = [solver_of(NETS["merged"], engine, settings="iter_size: 3") for engine in ("numpy", "cuda")]
    for solver in solvers:
        fill(solver.net, {"x": np.random.default_rng(1).standard_normal(SHAPE), "label": np.ones(SHAPE[:1])})
        solver.step(4)
    for a, b in zip(*(solver.net.learnable for solver in solvers), strict=True):
        close("weights", b.blob.peek(), a.blob.peek(), 2e-4)


@looks_inside
def test_layers_whose_kernels_only_add_find_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    lowering = "dragon.engines.cuda.lowerings.inner_product.InnerProductLowering"
    monkeypatch.setattr(f"{lowering}.learned", lambda self: ())
    train_as_in_parts(NETS["shared weights"])
    assert standin.counts["launches of clear_gradients"]


@looks_inside
def test_a_layer_that_does_not_keep_its_word_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dragon.engines.cuda.lowerings.inner_product.InnerProductLowering.adds", lambda self, blob: True
    )
    solver = solver_of(full("x", "y") + loss("y"), "cuda")
    fill(solver.net, {"label": np.zeros(SHAPE[:1])})
    with pytest.raises(EngineError, match=r"y.*a gradient was not written"):
        solver.step(CAPTURED)


def test_less_is_launched_and_moved() -> None:
    """One launch, and each gradient read and written once less."""
    net = Net(parse(INPUTS + NETS["merged"]), TRAIN, engine="numpy")
    figures = plan_figures(net)
    assert figures.update_launches == 2
    assert figures.update_bytes == 6 * 4 * sum(p.blob.count for p in net.learnable)
    net = Net(parse(INPUTS + NETS["nothing behind"]), TRAIN, engine="numpy")
    assert plan_figures(net).update_launches == 3
