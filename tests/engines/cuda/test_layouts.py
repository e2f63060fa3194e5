"""Nets whose blobs lie with their channels last on the GPU: the same numbers, and what scripts see is as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.engines.cuda import plan_figures
from dragon.engines.cuda.device.gpu import open_gpu
from dragon.engines.cuda.device.layout import Layout
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.solver.solver import Solver
from tests.engines.cuda.conftest import ON_A_GPU
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.cudnn import Cudnn
from tests.engines.cuda.emulation.frontend import Package
from tests.engines.cuda.running import close, fill, inputs, layer, options_for, parse
from tests.engines.cuda.test_16_bit_kernels import FILL, check, rounded

pytestmark = pytest.mark.usefixtures("cuda")
both = pytest.mark.parametrize("precision", ["bf16", "fp16", "tf32"])
FIRST = layer("Convolution", f"convolution_param {{ num_output: 8 kernel_size: 3 pad: 1 {FILL} }}", "x", "a", "first")
END = layer("Convolution", f"convolution_param {{ num_output: 3 kernel_size: 1 {FILL} }}", "b", "y", "last")


def between(kind: str, settings: str = "", more: str = "") -> str:
    """A layer from a to b, between two convolutions."""
    return FIRST + more + layer(kind, settings, "a", "b") + END


def convolution(settings: str) -> str:
    return between("Convolution", f"convolution_param {{ {settings} {FILL} }}")


# a net whose blobs can all have their channels last
CASES = {
    "3x3": convolution("num_output: 6 kernel_size: 3 pad: 1"),
    "stride": convolution("num_output: 16 kernel_size: 3 stride: 2 dilation: 2 pad: 2"),
    "groups": convolution("num_output: 8 kernel_size: 3 group: 2"),
    "pointwise": convolution("num_output: 16 kernel_size: 1"),
    "pointwise groups": convolution("num_output: 8 kernel_size: 1 group: 4 bias_term: false"),
    "pointwise stride": convolution("num_output: 8 kernel_size: 1 stride: 2"),
    "oblong": convolution("num_output: 8 kernel_h: 1 kernel_w: 3 pad_w: 1"),
    "deconvolution": between("Deconvolution", f"convolution_param {{ num_output: 8 kernel_size: 3 stride: 2 {FILL} }}"),
    "pointwise deconvolution": between("Deconvolution", f"convolution_param {{ num_output: 5 kernel_size: 1 {FILL} }}"),
    "maximum": between("Pooling", "pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 }"),
    "average": between("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"),
    "global average": between("Pooling", "pooling_param { pool: AVE global_pooling: true }"),
    "global maximum": between("Pooling", "pooling_param { pool: MAX global_pooling: true }"),
    "pooling of few channels": convolution("num_output: 5 kernel_size: 1").replace('"b"', '"c"')
    + layer("Pooling", "pooling_param { pool: MAX kernel_size: 2 stride: 2 }", "c", "p", "pool")
    + layer("Pooling", "pooling_param { pool: AVE kernel_size: 2 }", "p", "q", "pool2"),
    "batch norm": between("BatchNorm") + layer("Scale", "scale_param { bias_term: true }", "y", "z", "scale"),
    "fused batch norm": FIRST + layer("BatchNorm", "", "a", "b")
    + layer("Scale", "scale_param { bias_term: true }", "b", "b", "scale") + layer("ReLU", "", "b", "b", "relu") + END,
    "BN in place": FIRST + layer("BN", "", "a", "a") + layer("ReLU", "", "a", "b", "relu") + END,
    "bias": between("Bias", "bias_param { filler { value: 0.5 } }"),
    "PReLU": between("PReLU", "prelu_param { filler { value: 0.3 } }"),
    "PReLU in place": FIRST + layer("PReLU", "prelu_param { channel_shared: true }", "a", "a", "in")
    + layer("PReLU", "", "a", "b") + END,
    "Dropout": between("Dropout", "dropout_param { dropout_ratio: 0.4 }"),
    "LRN": between("LRN", "lrn_param { local_size: 3 alpha: 2 }"),
    "sum": FIRST + layer("Sigmoid", bottom="a", top="c", name="c") + layer("TanH", bottom="a", top="d", name="d")
    + layer("Eltwise", 'bottom: "d"', "c", "b") + END,
    "residual block": FIRST
    + layer("Convolution", f"convolution_param {{ num_output: 8 kernel_size: 1 {FILL} }}", "a", "c", "c")
    + layer("Eltwise", 'bottom: "a"', "c", "b", "sum") + layer("ReLU", "", "b", "b", "relu") + END
    + layer("TanH", "", "b", "d", "d"),
    "concat": FIRST + layer("TanH", bottom="a", top="c", name="c")
    + layer("Convolution", f"convolution_param {{ num_output: 3 kernel_size: 1 {FILL} }}", "a", "d", "d")
    + layer("Concat", 'bottom: "d"', "c", "b") + END,
    "concat of rows": FIRST + layer("TanH", bottom="a", top="c", name="c")
    + layer("Concat", 'bottom: "c" concat_param { axis: 2 }', "a", "b") + END,
    "slice": FIRST + layer("Slice", 'top: "c" slice_param { slice_point: 3 }', "a", "b") + END
    + layer("ReLU", "", "c", "r", "r"),
    "ReLU behind a convolution": FIRST + layer("ReLU", "", "a", "a", "relu") + layer("TanH", "", "a", "b") + END,
}  # fmt: skip
LOOSE = {"LRN": 16, "residual block": 24, "fused batch norm": 24, "BN in place": 24, "batch norm": 24, "stride": 12}


def layouts_of(net: Net) -> Any:
    executor: Any = net.executor
    return executor.arrays.layouts


def is_last(net: Net, name: str) -> bool:
    return layouts_of(net).of(net.blobs[name].data_storage) is not None


def values(shape: tuple[int, ...], precision: str) -> np.ndarray[Any, Any]:
    return rounded(np.random.default_rng(6).standard_normal(shape), precision)


@both
@pytest.mark.parametrize("name", CASES)
def test_layers(name: str, precision: str) -> None:
    """Forward, backward, gradients of parameters, against float64."""
    x = values((3, 4, 6, 5), precision)
    text = CASES[name]
    if "batch norm" in name or "BN" in name:
        text = text.replace("pad: 1", "pad: 1 bias_term: false", 1)  # its gradient is zero but for roundings
    _, ours = check(inputs({"x": x.shape}) + text, {"x": x}, precision, LOOSE.get(name, 8), channels_last=True)
    assert all(is_last(ours, blob) == (min(ours.blobs[blob].count // 3, *ours.blobs[blob].shape[1:2]) > 1
                                       and np.prod(ours.blobs[blob].shape[2:]) > 1) for blob in ours.blobs)  # fmt: skip
    assert all(
        "channels last" in note
        or note.startswith(("in ", "host"))
        or not any(is_last(ours, top) for top in ours.top_names_of(i))
        for i, note in enumerate(ours.executor.describe())
    )


@pytest.mark.usefixtures("emulated")
@both
@pytest.mark.parametrize("interface", ["frontend", "C"])
@pytest.mark.parametrize("name", ["3x3", "stride", "groups", "deconvolution", "ReLU behind a convolution"])
def test_convolutions_by_cudnn(name: str, interface: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if interface == "frontend":
        monkeypatch.setattr("dragon.engines.cuda.device.cudnn_frontend.load_package", Package)
    else:
        monkeypatch.setattr("dragon.engines.cuda.device.cudnn.load_library", Cudnn)
    x = values((3, 4, 6, 5), precision)
    check(inputs({"x": x.shape}) + CASES[name], {"x": x}, precision, LOOSE.get(name, 8), channels_last=True)


# -- which blobs ---------------------------------------------------------------------------------------------------
def net_of(text: str, phase: int = TRAIN, channels_last: bool = True, precision: str = "bf16") -> Net:
    options = options_for(precision, channels_last=channels_last)
    return Net(parse(text), phase, engine="cuda", seed=5, options=options)


RESIDUAL = (
    inputs({"x": (2, 3, 8, 8), "label": (2,)})
    + layer("Convolution", f"convolution_param {{ num_output: 8 kernel_size: 3 pad: 1 {FILL} }}", "x", "c", "c")
    + layer("BatchNorm", "", "c", "c", "n")
    + layer("Scale", "scale_param { bias_term: true }", "c", "c", "s")
    + layer("ReLU", "", "c", "c", "r")
    + layer("Convolution", f"convolution_param {{ num_output: 8 kernel_size: 3 pad: 1 {FILL} }}", "c", "d", "d")
    + layer("Eltwise", 'bottom: "c"', "d", "e", "e")
    + layer("ReLU", "", "e", "e", "re")
    + layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", "e", "p", "p")
    + layer("InnerProduct", f"inner_product_param {{ num_output: 4 {FILL} }}", "p", "ip", "ip")
    + layer("SoftmaxWithLoss", 'bottom: "label"', "ip", "loss", "loss")
)
MAPS = RESIDUAL[: RESIDUAL.index('layer { name: "ip"')]


def test_what_lies_channels_last() -> None:
    net = net_of(RESIDUAL)
    net.run_forward()
    found = {name for name in net.blobs if is_last(net, name)}
    assert found == {"x", "c", "c_s_0", "c_s_1", "d", "e", "p"} & set(net.blobs) | {
        n for n in net.blobs if "split" in n
    }
    assert layouts_of(net).of(net.blobs["p"].diff_storage) == Layout(8, 16)
    assert layouts_of(net).conversions == 1  # InnerProduct reads p
    assert "Channels last: 9 layers, with 1 blob converted for others" in net.executor.remarks()
    notes = dict(zip(net.layer_names, net.executor.describe(), strict=True))
    assert notes["p"] == "kernels, channels last"
    assert notes["ip"] == notes["loss"] == "kernels"


@pytest.mark.parametrize(
    "off", [{"channels_last": False}, {"channels_last": False, "precision": "tf32"}, {"precision": "fp32"}]
)
def test_only_where_it_is_wanted(off: dict[str, Any]) -> None:
    net = net_of(RESIDUAL, **off)
    net.run_forward()
    assert not any(is_last(net, name) for name in net.blobs)


def test_float64_has_no_tensor_cores() -> None:
    net = Net(parse(MAPS), TRAIN, engine="cuda", dtype=np.float64, options=options_for("tf32"))
    net.run_forward()
    assert not any(is_last(net, name) for name in net.blobs)
    assert plan_figures(net, tf32=True).launches == plan_figures(net).launches


@pytest.mark.parametrize(
    "text",
    [
        FIRST.replace("kernel_size", "group: 4 kernel_size").replace("num_output: 8", "num_output: 4"),  # depthwise
        FIRST + layer("InnerProduct", f"inner_product_param {{ num_output: 4 {FILL} }}", "a", "b", "ip"),
        layer("ReLU", "", "x", "a"),
    ],
)  # fmt: skip
def test_regions_that_gain_nothing_stay_as_they_are(text: str) -> None:
    net = net_of(inputs({"x": (2, 4, 5, 5)}) + text)
    net.run_forward()
    refused = "Channels last: 1 region of layers left out, where conversions would cost more"
    assert (refused in net.executor.remarks()) == ("InnerProduct" in text)
    assert not any(is_last(net, name) for name in net.blobs)


@both
def test_memory_shared_in_another_shape_stays_channels_first(precision: str) -> None:
    text = FIRST.replace('top: "a"', 'top: "m"')
    text += layer("Convolution", f"convolution_param {{ num_output: 8 kernel_size: 3 {FILL} }}", "m", "a", "second")
    text += CASES["3x3"].removeprefix(FIRST) + layer("Flatten", "", "b", "f", "f")
    text += layer("InnerProduct", f"inner_product_param {{ num_output: 4 {FILL} }}", "f", "z", "ip")
    x = values((3, 4, 6, 5), precision)
    _, ours = check(inputs({"x": x.shape}) + text, {"x": x}, precision, 8, channels_last=True)
    assert is_last(ours, "a")
    assert not any(is_last(ours, name) for name in ours.blobs if name.startswith(("b", "f", "z")))


@both
def test_other_layers_read_and_write_copies(precision: str) -> None:
    """Array code and kernels for channels first, in the middle of a region."""
    text = FIRST.replace('top: "a"', 'top: "l"')
    text += layer("Convolution", f"convolution_param {{ num_output: 8 kernel_size: 3 {FILL} }}", "l", "m", "second")
    text += layer("Permute", "permute_param { order: 0 order: 1 order: 3 order: 2 }", "m", "t", "t")
    text += layer("Normalize", "norm_param { scale_filler { value: 2 } }", "t", "a", "u")
    text += CASES["3x3"].removeprefix(FIRST)
    x = values((3, 4, 5, 5), precision)
    _, ours = check(inputs({"x": x.shape}) + text, {"x": x}, precision, 24, channels_last=True)
    assert is_last(ours, "m")
    assert is_last(ours, "a")


# -- what scripts see ----------------------------------------------------------------------------------------------
SMOOTH = RESIDUAL.replace('"ReLU"', '"TanH"').replace("pooling_param {", "pooling_param { pool: AVE")


def branches(net: Net) -> list[Any]:
    """What the ReLUs let pass, and which number of each window the pooling takes."""
    e = net.blobs["e"].peek()
    windows = e.reshape(*e.shape[:2], 4, 2, 4, 2).swapaxes(3, 4).reshape(-1, 4)
    return [net.blobs["c"].peek() > 0, e > 0, windows.argmax(1)]


@both
@pytest.mark.parametrize("text", [RESIDUAL, SMOOTH], ids=["ReLU", "smooth"])
def test_scripts_see_channels_first(text: str, precision: str) -> None:
    nets = [net_of(text, channels_last=last, precision=precision) for last in (False, True)]
    x = values((2, 3, 8, 8), precision)
    for number in range(4):  # as it is, captured, replayed
        for net in nets:
            fill(net, {"x": x * (number + 1), "label": np.array([1, 3], np.float32)})
            net.clear_param_diffs()
            net.forward_backward()
        agree = text == SMOOTH or all(map(np.array_equal, *map(branches, nets)))
        assert agree or ON_A_GPU, "the emulation adds in one order"
        for name in ("x", "c", "d", "e", "p", "ip"):
            for what in ("peek", "peek_diff"):
                if what == "peek_diff" and name in ("x", "c", "d", "e") and not agree:
                    continue  # a number next to 0, or to a maximum, is rounded to the other side of it
                ours, theirs = (getattr(net.blobs[name], what)() for net in reversed(nets))
                close(f"{name} {what}", ours, theirs, 0.15 if precision == "bf16" else 0.02)
    kept = nets[1].blobs["p"].data
    before = kept.copy()
    nets[1].blobs["e"].data[:, 1] = 3  # a channel, and only what comes behind runs
    at = nets[1].layer_names.index("p")
    nets[1].run_forward(at, at)
    assert (kept[:, 1] == 3).all()
    np.testing.assert_array_equal(kept[:, 2:], before[:, 2:])


@both
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_shapes_change_between_runs(phase: int, precision: str) -> None:
    """Batches, images and back; in TEST blobs share memory."""
    nets = [net_of(MAPS, phase, last, precision) for last in (False, True)]
    for shape in ((2, 3, 8, 8), (5, 3, 8, 8), (2, 3, 6, 4), (2, 3, 1, 1), (1, 3, 8, 8), (2, 3, 8, 8)):
        x = values(shape, precision)
        for _ in range(3):
            for net in nets:
                fill(net, {"x": x})
                net.run_forward()
        for name in ("p", "e", "d", "c", "x"):
            ours, theirs = (net.blobs[name].peek() for net in reversed(nets))
            close(f"{name} of {shape}", ours, theirs, 0.06 if precision == "bf16" else 0.01)


@both
def test_a_value_outlives_a_change_of_the_order(precision: str) -> None:
    """A blob reshaped to other images keeps its elements, in the order that scripts see."""
    nets = [net_of(MAPS, channels_last=last, precision=precision) for last in (False, True)]
    x = values((2, 3, 8, 8), precision).astype(np.float32)
    for net in nets:
        fill(net, {"x": x})
        net.run_forward()
        c = net.blobs["c"].peek().copy()
        net.blobs["x"].reshape(2, 3, 4, 6)
        net.reshape()
        at = net.layer_names.index("d")
        net.run_forward(at, at)  # reads c as smaller images
        np.testing.assert_array_equal(net.blobs["c"].peek().ravel(), c.ravel()[: 2 * 8 * 4 * 6])
        np.testing.assert_array_equal(net.blobs["x"].peek().ravel(), x.ravel()[: 2 * 3 * 4 * 6])
    assert layouts_of(nets[1]).of(nets[1].blobs["c"].data_storage) == Layout(8, 24)
    ours, theirs = (net.blobs["d"].peek() for net in reversed(nets))
    close("d", ours, theirs, 0.06 if precision == "bf16" else 0.01)


@both
def test_a_group_is_taken_apart(precision: str) -> None:
    """Backward over a part of a fused group, in place, as with channels first."""
    nets = [net_of("force_backward: true\n" + RESIDUAL, channels_last=last, precision=precision)
            for last in (False, True)]  # fmt: skip
    found, tops = [], []
    for net in nets:
        fill(net, {"x": values((2, 3, 8, 8), precision), "label": np.array([1, 3], np.float32)})
        net.run_forward()
        tops.append(net.blobs["c"].peek().copy())
    agree = (tops[0] > 0) == (tops[1] > 0)  # on a card a number next to 0 may be rounded to the other side of it
    assert agree.mean() > (0.98 if ON_A_GPU else 0.9999)
    for net, top in zip(nets, tops, strict=True):
        net.blobs["c"].diff[...] = values((2, 8, 8, 8), precision) * agree
        names = net.layer_names
        net.run_backward(names.index("r"), names.index("s"))
        np.testing.assert_array_equal(net.blobs["c"].peek(), top)
        found.append([net.blobs["c"].peek_diff().copy(), net.params["s"][0].peek_diff().copy()])
    for ours, theirs in zip(*reversed(found), strict=True):
        close("gradient", ours, theirs, 0.1 if precision == "bf16" else 0.02)


@both
def test_training_follows_channels_first(precision: str) -> None:
    solvers = []
    for last in (False, True):
        param = pb.SolverParameter(net_param=parse(RESIDUAL), base_lr=0.01, lr_policy="fixed", momentum=0.9)
        options = options_for(precision, channels_last=last)
        solvers.append(Solver(param, engine="cuda", seed=4, options=options))
    for solver in solvers:
        fill(solver.net, {"x": values((2, 3, 8, 8), precision), "label": np.array([1, 3], np.float32)})
    for _ in range(6):
        losses = [solver.step(1) for solver in solvers]
        assert abs(losses[0] - losses[1]) < 0.1 * max(1, abs(losses[0])), losses
    assert any(line == "whole iteration: graph" for line in solvers[1].net.executor.remarks())


# -- conversions ---------------------------------------------------------------------------------------------------
TYPES = {"float32": np.float32, "float64": np.float64, "fp16": np.float16}


@pytest.mark.parametrize("sizes", [(3, 4, 2), (2, 40, 70), (5, 33, 9), (2, 9, 33), (1, 1, 7)])
@pytest.mark.parametrize("types", [("float32", "fp16"), ("fp16", "float32"), ("fp16", "fp16"), ("float64", "float64")])
@pytest.mark.parametrize("rest", [0, 5])
def test_conversions(types: tuple[str, str], sizes: tuple[int, int, int], rest: int) -> None:
    """Into channels last, out of them, and from one layout to another; what lies behind whole images stays there."""
    n, c, s = sizes
    last, other = Layout(c, s), Layout(s, c)
    rest = min(rest, c * s - 1)
    x = np.random.default_rng(2).integers(-99, 99, n * c * s + rest)
    turned = np.concatenate([x[: n * c * s].reshape(n, c, s).transpose(0, 2, 1).ravel(), x[n * c * s :]])
    gpu = open_gpu(0)
    with gpu.active():
        source, target = (gpu.cupy.asarray(np.zeros(x.size, TYPES[one])) for one in types)

        def converted(value: Any, *layouts: Layout | None) -> Any:
            source[...] = gpu.cupy.asarray(value.astype(TYPES[types[0]]))
            gpu.convert(source, target, None, *layouts)
            return target.get(stream=gpu.stream)

        np.testing.assert_array_equal(converted(x, None, last), turned)
        np.testing.assert_array_equal(converted(turned, last, None), x)
        np.testing.assert_array_equal(converted(turned, last, last), turned)
        np.testing.assert_array_equal(converted(x, last, other), converted(converted(x, last, None), None, other))


# -- figures -------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("emulated")
@both
def test_figures_count_what_is_launched(precision: str) -> None:
    """Conversions at a region's border included, but not those of what the host sends."""
    net = net_of(RESIDUAL, precision=precision)
    fill(net, {"x": values((2, 3, 8, 8), precision), "label": np.array([1, 3], np.float32)})
    before = standin.counts.copy()
    net.forward_backward()
    made = standin.counts - before
    sent = made["launches of to_16_bit"] + made["launches of transpose_to_16_bit"]
    options: dict[str, Any] = {"tf32": True} if precision == "tf32" else {"precision": precision}
    sent += precision == "tf32"  # x, whose type stays
    figures = plan_figures(net, **options)
    assert made["launches"] - sent + made["gemm"] == sum(f.launches for f in figures.layers)
    assert figures.launches > plan_figures(net, **options, channels_last=False).launches
