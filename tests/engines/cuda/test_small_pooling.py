"""Pooling by the usual small windows, and over whole planes."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TRAIN
from dragon.engines import Options
from dragon.engines.cuda.device.counting import CountingDevice
from dragon.engines.cuda.kernels.small_pooling import WINDOWS
from dragon.engines.cuda.plan.figures import _View
from dragon.engines.cuda.plan.plan import Plan
from dragon.graph.net import Net
from tests.engines.cuda.running import by_kernels, inputs, layer, make, parse, same

pytestmark = pytest.mark.usefixtures("cuda")

SMALL = "pooling_param { kernel_size: 2 stride: 2 }"
RANDOM = np.random.default_rng(78)
SHAPES = [(2, 3, 8, 16), (2, 2, 7, 9), (1, 2, 5, 4), (3, 1, 3, 3), (2, 2, 4, 35)]


def ties(shape: tuple[int, ...]) -> np.ndarray:
    """Few different values, so that windows have equal maxima."""
    return RANDOM.integers(-2, 3, shape).astype(np.float32)


def pool(method: str, size: int, stride: int, pad: int, more: str = "") -> str:
    settings = f"pool: {method} kernel_size: {size} stride: {stride} pad: {pad} {more}"
    return layer("Pooling", f"pooling_param {{ {settings} }}")


def launched(text: str, shape: tuple[int, ...]) -> list[str]:
    """Names of the kernels of the layer, forward and backward, in the plan without a device."""
    net = make("force_backward: true\n" + inputs({"x": shape}) + text, "numpy")
    device = CountingDevice()
    plan = Plan(net, device, True)
    lowering, node = plan.groups[-1].lowering, net.nodes[-1]
    assert lowering is not None
    with _View(device, plan).of(plan.groups[-1], frozenset()):
        lowering.forward(node.bottoms, node.tops)
        lowering.backward(node.tops, [True], node.bottoms)
    return [name for name, _, _ in device.launches]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_small_windows(method: str, window: tuple[int, int, int], shape: tuple[int, ...]) -> None:
    """Rows of whole vectors and others, windows that reach over the edge, and planes smaller than a window's reach."""
    text = pool(method, *window)
    by_kernels(same(inputs({"x": shape}) + text, {"x": ties(shape)}), "one")
    name = ("max" if method == "MAX" else "average", "".join(map(str, window)))
    if shape[2] > 3:
        assert launched(text, shape) == [f"{name[0]}_forward_{name[1]}", f"{name[0]}_backward_{name[1]}"]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("mode", ["round_mode: FLOOR", "round_mode: CEIL"])
def test_in_float64(window: tuple[int, int, int], mode: str) -> None:
    """Two elements are 16 bytes here."""
    shape = (2, 2, 6, 10)
    text = inputs({"x": shape}) + pool("MAX", *window, mode)
    same(text, {"x": ties(shape)}, dtype=np.float64, tolerance=1e-12)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_the_mask_of_a_small_window(window: tuple[int, int, int]) -> None:
    shape = (2, 3, 7, 9)
    settings = "kernel_size: {} stride: {} pad: {}".format(*window)
    text = layer("Pooling", f'top: "mask" pooling_param {{ {settings} }}')
    same(inputs({"x": shape}) + text, {"x": ties(shape)})


@pytest.mark.parametrize("window", ["kernel_size: 2 stride: 2", "kernel_size: 5 stride: 2", "kernel_size: 3 stride: 3"])
@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 1, 8, 8, 8)], ids=["2D", "3D"])
def test_nan_in_a_window_is_its_maximum(shape: tuple[int, ...], window: str) -> None:
    x = ties(shape)
    x.reshape(-1, 8, 8)[:, 0, 0] = x.reshape(-1, 8, 8)[:, 4, 5] = np.nan
    x.reshape(-1, 8, 8)[:, 2:4, 2:4] = -np.inf
    text = inputs({"x": shape}) + layer("Pooling", f"pooling_param {{ {window} }}")
    nets = [make(text, engine) for engine in ("numpy", "cuda")]
    for net in nets:
        net.blobs["x"].data[...] = x
        net.run_forward()
    np.testing.assert_array_equal(nets[1].blobs["y"].peek(), nets[0].blobs["y"].peek())


def test_nan_in_a_window_of_a_net_with_channels_last() -> None:
    x = ties((1, 4, 8, 8))
    x[0, :, 0, 0] = x[0, 1, 4, 5] = np.nan
    text = inputs({"x": x.shape}) + layer("TanH", "", "x", "t", "t") + layer("Pooling", SMALL, "t", "p", "pool")
    text += layer("Convolution", "convolution_param { num_output: 4 kernel_size: 1 }", "p", "y")
    nets = [
        make(text, "numpy"),
        Net(parse(text), TRAIN, engine="cuda", options=Options(precision="bf16", channels_last=True)),
    ]
    for net in nets:
        net.blobs["x"].data[...] = x
        net.run_forward()
    assert "channels last" in nets[1].executor.describe()[nets[1].layer_index("pool")]
    np.testing.assert_array_equal(np.isnan(nets[1].blobs["p"].peek()), np.isnan(nets[0].blobs["p"].peek()))


@pytest.mark.parametrize("shape", [(3, 5, 7, 7), (2, 8, 4, 4), (1, 3, 1, 1), (2, 2, 9, 40)], ids=str)
def test_averages_of_planes(shape: tuple[int, ...]) -> None:
    """Vectors that end inside of a plane, too."""
    text = layer("Pooling", "pooling_param { pool: AVE global_pooling: true }")
    by_kernels(same(inputs({"x": shape}) + text, {"x": ties(shape)}), "one")
    assert launched(text, shape) == ["plane_average", "plane_average_backward"]


@pytest.mark.parametrize(
    ("settings", "kernel"),
    [
        ("pool: MAX global_pooling: true", "max_forward"),
        ("pool: MAX kernel_h: 3 kernel_w: 2 stride: 2", "max_forward"),
        ("pool: MAX kernel_size: 5 stride: 2", "max_forward"),
        ("pool: AVE kernel_size: 3 stride: 2 pad_h: 1 pad_w: 0", "average_forward"),
        ("pool: AVE kernel_size: 8 pad: 1", "average_forward"),
    ],
)
def test_other_windows_have_the_general_kernels(settings: str, kernel: str) -> None:
    text, shape = layer("Pooling", f"pooling_param {{ {settings} }}"), (2, 3, 8, 8)
    same(inputs({"x": shape}) + text, {"x": ties(shape)})
    assert launched(text, shape)[0] == kernel
