"""Poolings with the ReLU in place on their top, or on their bottom, as one group; also behind a convolution."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.engines.cuda.plan.figures import plan_figures
from dragon.graph.net import Net
from tests.engines.cuda.emulation.frontend import Package
from tests.engines.cuda.running import by_kernels, compare, fill, inputs, layer, make, options_for, parse, same
from tests.engines.cuda.test_16_bit_kernels import FILL, check, rounded

pytestmark = pytest.mark.usefixtures("cuda")

RANDOM = np.random.default_rng(79)
WINDOWS = ["kernel_size: 2 stride: 2", "kernel_size: 3 stride: 2", "kernel_size: 3 stride: 2 pad: 1",
           "kernel_size: 3 pad: 1", "kernel_size: 5 stride: 2", "kernel_h: 1 kernel_w: 3",
           "global_pooling: true"]  # fmt: skip
SHAPES = [(2, 3, 8, 16), (2, 2, 7, 9), (3, 1, 5, 35)]
RELU = layer("ReLU", "", "y", "y", "relu")
LEAKY = layer("ReLU", "relu_param { negative_slope: 0.25 }", "y", "y", "relu")
BEFORE, LEAKY_BEFORE = (text.replace('"y"', '"s"') for text in (RELU, LEAKY))


def ties(*shape: int) -> np.ndarray:
    """Few different values, so that windows have equal maxima, and maxima of 0."""
    return RANDOM.integers(-3, 2, shape).astype(np.float32)


def behind(window: str, relu: str = RELU, method: str = "MAX") -> str:
    """A pooling of x, and a ReLU in place on it."""
    return layer("Pooling", f"pooling_param {{ pool: {method} {window} }}") + relu


def before(window: str, relu: str = BEFORE, method: str = "MAX") -> str:
    """A ReLU in place on 2 x, and a pooling of that."""
    first = layer("Power", "power_param { scale: 2 }", "x", "s", "first")
    return first + relu + layer("Pooling", f"pooling_param {{ pool: {method} {window} }}", "s")


def notes(net: Net) -> dict[str, str]:
    return dict(zip(net.layer_names, net.executor.describe(), strict=True))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("relu", [RELU, LEAKY], ids=["ReLU", "leaky"])
def test_maxima_with_the_relu_behind(relu: str, window: str, shape: tuple[int, ...]) -> None:
    """Every blob has the data and the diff of a net in which each layer runs by itself."""
    net = same(inputs({"x": shape}) + behind(window, relu), {"x": ties(*shape)})
    by_kernels(net, "one")
    assert notes(net)["relu"] == "in one"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize("relu", [BEFORE, LEAKY_BEFORE], ids=["ReLU", "leaky"])
def test_the_relu_in_front(relu: str, method: str, window: str, shape: tuple[int, ...]) -> None:
    net = same(inputs({"x": shape}) + before(window, relu, method), {"x": ties(*shape)})
    by_kernels(net, "relu")
    assert notes(net)["one"] == "in relu"


@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_three_axes(method: str, dtype: type) -> None:
    shape, window = (2, 3, 5, 6, 7), "kernel_size: 3 stride: 2 pad: 1"
    x = {"x": ties(*shape)}
    texts = [before(window, BEFORE, method)] + [behind(window)] * (method == "MAX")
    for text in texts:
        net = same(inputs({"x": shape}) + text, x, dtype=dtype)
        assert sum(note.startswith("in ") for note in net.executor.describe()) == 1


CHAINS = {
    "behind": layer("TanH", "", "x", "t", "t")
    + layer("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", "t", "p") + layer("ReLU", "", "p", "p", "relu"),
    "in front": layer("Convolution", f"convolution_param {{ num_output: 8 kernel_size: 1 {FILL} }}", "x", "c", "c")
    + layer("ReLU", "", "c", "c", "relu") + layer("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", "c", "p"),
    "average": layer("Convolution", f"convolution_param {{ num_output: 8 kernel_size: 1 {FILL} }}", "x", "c", "c")
    + layer("ReLU", "", "c", "c", "relu")
    + layer("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 }", "c", "p"),
}  # fmt: skip
END = layer("Convolution", f"convolution_param {{ num_output: 5 kernel_size: 1 {FILL} }}", "p", "y", "last")


@pytest.mark.parametrize("channels", [8, 5])
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("precision", ["bf16", "fp16", "tf32"])
@pytest.mark.parametrize("chain", CHAINS)
def test_bits_are_those_of_separate_layers(chain: str, precision: str, channels_last: bool, channels: int) -> None:
    shape = (3, channels, 7, 9)
    text = "force_backward: true\n" + inputs({"x": shape}) + CHAINS[chain] + END
    nets = [
        Net(
            parse(text),
            TRAIN,
            engine="cuda",
            seed=5,
            options=options_for(precision, channels_last=channels_last, fuse=f),
        )
        for f in (True, False)
    ]
    for number in range(3):
        for net in nets:
            fill(net, {"x": rounded(np.random.default_rng(number).standard_normal(shape), precision)})
            net.clear_param_diffs()
            net.run_forward()
            net.blobs["y"].diff[...] = np.linspace(-1, 1, net.blobs["y"].count).reshape(net.blobs["y"].shape)
            net.run_backward()
        for name, blob in nets[1].blobs.items():
            np.testing.assert_array_equal(nets[0].blobs[name].peek(), blob.peek(), err_msg=name)
            np.testing.assert_array_equal(nets[0].blobs[name].peek_diff(), blob.peek_diff(), err_msg=f"diff of {name}")
        for name in ("c", "last"):
            for a, b in zip(nets[0].params.get(name, ()), nets[1].params.get(name, ()), strict=True):
                np.testing.assert_array_equal(a.peek_diff(), b.peek_diff(), err_msg=name)
    found = notes(nets[0])
    assert found["relu" if chain == "behind" else "one"].startswith("in ")
    assert ("channels last" in found["last"]) == channels_last


@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_behind_a_convolution_that_takes_the_relu(method: str, precision: str, package: Package) -> None:
    text = layer("Convolution", f"convolution_param {{ num_output: 8 kernel_size: 3 pad: 1 {FILL} }}", "x", "s", "conv")
    text += BEFORE + layer("Pooling", f"pooling_param {{ pool: {method} kernel_size: 3 stride: 2 }}", "s")
    shape = (2, 4, 8, 9)
    if precision == "fp32":
        net = same(inputs({"x": shape}) + text, {"x": RANDOM.standard_normal(shape).astype(np.float32)})
        assert [[kind for kind, *_ in g.nodes] for g in package.built if g.nodes[0][0] == "fprop"] == [
            ["fprop", "bias", "relu"]
        ]
    else:
        x = rounded(np.random.default_rng(6).standard_normal(shape), precision)
        _, net = check(inputs({"x": shape}) + text, {"x": x}, precision, 8)
    assert [note.split(",")[0] for note in net.executor.describe()[1:]] == ["kernels", "in conv", "in conv"]


def gradients(text: str, x: np.ndarray, dy: float, parts: list[tuple[str, str]]) -> list[Net]:
    """Nets on both engines after forward of all and backward of the parts, from a layer to another one."""
    nets = [make("force_backward: true\n" + text, engine) for engine in ("numpy", "cuda")]
    for net in nets:
        fill(net, {"x": x})
        for _ in range(3):
            net.run_forward()
        net.blobs["y"].diff[...] = np.linspace(-1, 1, net.blobs["y"].count).reshape(net.blobs["y"].shape)
        net.blobs["y"].diff.flat[:3] = dy
        for start, end in parts:
            net.run_backward(net.layer_index(start), net.layer_index(end))
    return nets


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (behind(WINDOWS[1]), [("relu", "relu"), ("one", "one")]),
        (behind(WINDOWS[1], LEAKY), [("relu", "relu"), ("one", "one")]),
        (before(WINDOWS[1]), [("one", "one"), ("relu", "first")]),
        (before(WINDOWS[1], LEAKY_BEFORE), [("one", "one"), ("relu", "relu"), ("first", "first")]),
        (before(WINDOWS[1], LEAKY_BEFORE, "AVE"), [("one", "one"), ("relu", "first")]),
    ],
)
def test_a_part_of_the_group_goes_back(text: str, parts: list[tuple[str, str]]) -> None:
    nets = gradients(inputs({"x": (2, 3, 8, 9)}) + text, ties(2, 3, 8, 9), 0.5, parts)
    compare(nets[1], nets[0], "in parts", 1e-6)


def test_parts_behind_a_convolution(package: Package) -> None:
    text = layer("Convolution", f"convolution_param {{ num_output: 8 kernel_size: 3 {FILL} }}", "x", "s", "conv")
    text += BEFORE + layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", "s")
    x = RANDOM.standard_normal((2, 3, 8, 9)).astype(np.float32)
    nets = gradients(inputs({"x": x.shape}) + text, x, 0.5, [("one", "one"), ("relu", "relu"), ("conv", "conv")])
    assert notes(nets[1])["relu"] == "in conv"
    compare(nets[1], nets[0], "in parts", 1e-4)


@pytest.mark.parametrize("window", [WINDOWS[1], WINDOWS[4]])
@pytest.mark.parametrize("form", ["behind", "in front", "average"])
def test_nan_and_infinities(form: str, window: str) -> None:
    """The gradient of what a ReLU holds back is multiplied by 0: an infinite one becomes NaN."""
    text = {"behind": behind(window), "in front": before(window), "average": before(window, BEFORE, "AVE")}[form]
    first, last = ("relu", "one") if form == "behind" else ("one", "first")
    for value in (np.inf, np.nan):
        x = ties(2, 3, 8, 9)
        x[0, 0] = -1
        x[0, 1, 2, 2:4] = np.nan, -np.inf
        with np.errstate(invalid="ignore"):
            nets = gradients(inputs({"x": x.shape}) + text, x, value, [(first, last)])
        for name, blob in nets[0].blobs.items():
            np.testing.assert_allclose(nets[1].blobs[name].peek(), blob.peek(), 1e-6, err_msg=name)
            np.testing.assert_allclose(nets[1].blobs[name].peek_diff(), blob.peek_diff(), 1e-6, err_msg=name)
        assert np.isnan(nets[0].blobs["x"].peek_diff()).any()


def test_in_test() -> None:
    for text in (behind(WINDOWS[1]), before(WINDOWS[1]), before(WINDOWS[1], BEFORE, "AVE")):
        same(inputs({"x": (2, 3, 8, 9)}) + text, {"x": ties(2, 3, 8, 9)}, phase=TEST)


@pytest.mark.parametrize(
    "text",
    [
        behind(WINDOWS[1], RELU, "AVE"),
        behind(WINDOWS[1], layer("ReLU", "", "y", "z", "relu")),
        behind(WINDOWS[1], layer("ReLU6", "", "y", "y", "relu")),
        behind(WINDOWS[1], layer("ReLU", "relu_param { negative_slope: -0.5 }", "y", "y", "relu")),
        layer("Pooling", f'top: "mask" pooling_param {{ {WINDOWS[1]} }}') + RELU,
        before(WINDOWS[1], layer("ReLU", "", "s", "r", "relu")),
        before(WINDOWS[1], layer("Sigmoid", "", "s", "s", "relu")),
        before(WINDOWS[1]) + layer("TanH", "", "s", "more", "more"),
    ],
    ids=["average", "not in place", "ReLU6", "slope below 0", "mask", "elsewhere", "sigmoid", "two readers"],
)
def test_what_is_not_fused(text: str) -> None:
    net = same(inputs({"x": (2, 3, 8, 9)}) + text, {"x": ties(2, 3, 8, 9)})
    assert not any(note.startswith("in ") for note in net.executor.describe())


@pytest.mark.usefixtures("emulated")
def test_less_is_launched_and_moved() -> None:
    shape = (100, 32, 32, 32)
    big, small = int(np.prod(shape)) * 4, 100 * 32 * 16 * 16 * 4

    def figures(text: str) -> tuple[int, float]:
        net = Net(parse("force_backward: true\n" + inputs({"x": shape}) + text), TRAIN, engine="numpy")
        found = [each for each in plan_figures(net).layers if each.name.startswith(("one", "relu"))]
        return sum(each.launches for each in found), sum(each.bytes for each in found)

    # a byte for each place of a maximum; dy counts twice, since it is also written
    assert figures(behind(WINDOWS[1])) == (2, 2 * big + 3 * small + 2 * small // 4)
    assert figures(before(WINDOWS[1])) == (3, 4 * big + 2 * small + 2 * small // 4)
    assert figures(before(WINDOWS[1], BEFORE, "AVE")) == (3, 5 * big + 2 * small)
