"""DenseBlock against a net of its layers, against loops, and the order of the fork's blobs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dragon
from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from dragon.layers.dense_block import DenseBlock
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.layers.helpers import One

FILLERS = 'Filter_Filler { type: "msra" } BN_Scaler_Filler { type: "uniform" min: 0.5 max: 2 } ' + (
    'BN_Bias_Filler { type: "gaussian" std: 0.5 }'
)
CATALOGUE = {
    "DenseBlock": [
        (f"denseblock_param {{ numTransition: 2 growthRate: 3 {FILLERS} }}",),
        (f"denseblock_param {{ numTransition: 2 growthRate: 2 use_BC: true {FILLERS} }}", ((2, 3, 2, 2),)),
        (
            f"denseblock_param {{ numTransition: 1 growthRate: 2 use_BC: true BC_ultra_space_efficient: true "
            f"use_dropout: true dropout_amount: 0.25 moving_average_fraction: 0.5 {FILLERS} }}",
        ),
    ]
}
ARRAY_CODE = {"DenseBlock": "runs the products and normalisations of its layers as array code"}
X = np.random.default_rng(2).standard_normal((3, 4, 5, 3))


def block(settings: str = "", layers: int = 3, growth: int = 2) -> str:
    counts = f"numTransition: {layers} growthRate: {growth}"
    return f'name: "one" type: "DenseBlock" denseblock_param {{ {counts} {settings} {FILLERS} }}'


def expanded(layers: int, growth: int, narrow: bool) -> dragon.Net:
    """The same by BN, ReLU, Convolution and Concat."""
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 dim: 4 dim: 5 dim: 3 } } } '
    above = "x"

    def stage(name: str, bottom: str, outputs: int, kernel: int) -> str:
        nonlocal text
        text += (
            f'layer {{ name: "bn{name}" type: "BN" bottom: "{bottom}" top: "bn{name}" }} '
            f'layer {{ name: "relu{name}" type: "ReLU" bottom: "bn{name}" top: "relu{name}" }} '
            f'layer {{ name: "conv{name}" type: "Convolution" bottom: "relu{name}" top: "conv{name}" convolution_param '
            f"{{ num_output: {outputs} kernel_size: {kernel} pad: {kernel // 2} bias_term: false }} }} "
        )
        return f"conv{name}"

    for i in range(layers):
        bottom = stage(f"{i}n", above, 4 * growth, 1) if narrow else above
        added = stage(f"{i}", bottom, growth, 3)
        text += f'layer {{ name: "all{i}" type: "Concat" bottom: "{above}" bottom: "{added}" top: "all{i}" }} '
        above = f"all{i}"
    return dragon.Net(
        parse_text(f"force_backward: true {text}", pb.NetParameter()),
        phase=dragon.TRAIN,
        engine="numpy",
        dtype="float64",
    )


def copy_to(net: dragon.Net, one: One, narrow: bool) -> None:
    layer = one.layer
    assert isinstance(layer, DenseBlock)
    for i in range(layer.count):
        for stage, name in zip(layer.stages(i), [f"{i}n", f"{i}"] if narrow else [f"{i}"], strict=True):
            net.params[f"conv{name}"][0].data[...] = layer.blobs[stage.filter].data[:, :, ::-1, ::-1]
            bn = net.params[f"bn{name}"]
            for to, index in enumerate((stage.gamma, stage.beta)):
                bn[to].data[...] = layer.blobs[index].data.ravel()


@pytest.mark.parametrize("settings", ["", "use_BC: true", "use_BC: true BC_ultra_space_efficient: true"])
def test_it_is_its_layers(settings: str) -> None:
    """Values, all gradients and running statistics in TRAIN, then values and gradients in TEST."""
    narrow = "use_BC" in settings
    one, net = One(block(settings), X, dtype=np.float64), expanded(3, 2, narrow)
    layer = one.layer
    assert isinstance(layer, DenseBlock)
    copy_to(net, one, narrow)
    dy = np.random.default_rng(3).standard_normal((3, 10, 5, 3))
    for phase in (dragon.TRAIN, dragon.TRAIN, dragon.TEST):
        for each in (layer, *(node.layer for node in net.nodes)):
            each.phase = phase
        for blob in layer.blobs:
            blob.diff[...] = 0
        net.clear_param_diffs()
        expected = net.forward(x=X)["all2"]
        np.testing.assert_allclose(one.forward(X), expected, rtol=1e-8, atol=1e-10)  # eps is a float32 in BN
        net.blobs["all2"].diff[...] = dy
        net.backward()
        np.testing.assert_allclose(one.backward(dy), net.blobs["x"].diff, rtol=1e-7, atol=1e-9)
        for i in range(3):
            for stage, name in zip(layer.stages(i), [f"{i}n", f"{i}"] if narrow else [f"{i}"], strict=True):
                theirs = net.params[f"conv{name}"][0].diff[:, :, ::-1, ::-1]
                np.testing.assert_allclose(layer.blobs[stage.filter].diff, theirs, rtol=1e-7, atol=1e-9)
                bn = net.params[f"bn{name}"]
                for to, index in enumerate((stage.gamma, stage.beta)):
                    np.testing.assert_allclose(layer.blobs[index].diff.ravel(), bn[to].diff, rtol=1e-7, atol=1e-9)
        if phase == dragon.TRAIN:
            # BN's average begins with the first batch and takes biased variances: give it the block's
            for i in range(3):
                for stage, name in zip(layer.stages(i), [f"{i}n", f"{i}"] if narrow else [f"{i}"], strict=True):
                    bn = net.params[f"bn{name}"]
                    bn[2].data[...], bn[3].data[...] = (v.ravel() for v in layer.running(stage))
                    bn[4].data[...] = 1


def test_running_statistics() -> None:
    """As cuDNN accumulates them: from mean 0 and variance 1, of variances with the factor m / (m - 1)."""
    one = One(block(layers=1, growth=2), X, dtype=np.float64)
    mean, variance = np.zeros(4), np.ones(4)
    for step in range(3):
        x = X * (step + 1) + step
        one.forward(x)
        mean = 0.9 * mean + 0.1 * x.mean(axis=(0, 2, 3))
        variance = 0.9 * variance + 0.1 * x.var(axis=(0, 2, 3), ddof=1)
        np.testing.assert_allclose(one.blobs[3].ravel(), mean, rtol=1e-6)
        np.testing.assert_allclose(one.blobs[4].ravel(), variance, rtol=1e-6)
        assert one.blobs[5] == 0


def test_files_of_the_fork() -> None:
    """From its GPU code the last blob is 0 and the averages stand as they are; from its CPU code it divides them."""
    for weight in (0.0, 1.25):
        one = One(block(layers=2), X, phase=dragon.TEST, dtype=np.float64)
        values = [np.random.default_rng(i).uniform(0.5, 2, blob.shape) for i, blob in enumerate(one.blobs)]
        for blob, value in zip(one.blobs, values, strict=True):
            blob[...] = value
        one.blobs[-1][...] = weight
        y = X
        for i in range(2):
            kernel, scale, shift, mean, variance = values[i::2][:5]
            active = np.maximum(
                scale * (y - mean / (weight or 1)) / np.sqrt(variance / (weight or 1) + 1e-5) + shift, 0
            )
            y = np.concatenate([y, by_loops(active, kernel)], axis=1)
        np.testing.assert_allclose(one.forward(), y, rtol=1e-9)


def by_loops(x: Any, kernel: Any) -> Any:
    """The convolution proper: element (a, b) of a kernel meets the value a - 1 rows above, b - 1 columns left."""
    n, _, height, width = x.shape
    y = np.zeros((n, len(kernel), height, width))
    for i in range(height):
        for j in range(width):
            for a in range(3):
                for b in range(3):
                    row, column = i + 1 - a, j + 1 - b
                    if 0 <= row < height and 0 <= column < width:
                        y[:, :, i, j] += np.einsum("nc,oc->no", x[:, :, row, column], kernel[:, :, a, b])
    return y


def test_the_order_of_the_blobs() -> None:
    one = One(block(layers=2, growth=3), X)
    expected = [(3, 4, 3, 3), (3, 7, 3, 3)] + [(1, n, 1, 1) for _ in range(4) for n in (4, 7)] + [(1,)]
    assert [blob.shape for blob in one.blobs] == expected
    assert one.layer.buffers == {6, 7, 8, 9, 10}
    narrow = One(block("use_BC: true", layers=2, growth=3), X)
    expected = [(3, 12, 3, 3)] * 2 + expected[2:10] + [(12, 4, 1, 1), (12, 7, 1, 1)] + [(1, 12, 1, 1)] * 8 + [(1,)]
    assert [blob.shape for blob in narrow.blobs] == expected
    assert narrow.layer.buffers == {6, 7, 8, 9, 16, 17, 18, 19, 20}
    assert narrow.layer.multiply_adds(narrow.bottom, narrow.top) == 45 * (2 * 3 * 12 * 9 + 12 * (4 + 7))


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@pytest.mark.parametrize("settings", ["", "use_BC: true", "use_BC: true use_dropout: true dropout_amount: 0.3"])
def test_gradient(settings: str, phase: int) -> None:
    checked = check_gradient(block(settings, layers=2), [X], phase=phase, most=40)
    assert checked > 100


def test_dropout() -> None:
    """TRAIN drops what layers add, not the bottom, and scales the rest; TEST drops nothing."""
    x = np.random.default_rng(5).standard_normal((8, 4, 9, 9))
    settings = "use_dropout: true dropout_amount: 0.25"
    one, whole = One(block(settings, layers=1, growth=8), x), One(block(layers=1, growth=8), x)
    y, all_of_it = one.forward().copy(), whole.forward().copy()
    np.testing.assert_array_equal(y[:, :4], x.astype(np.float32))
    kept = y[:, 4:] != 0
    assert abs(kept.mean() - 0.75) < 0.02
    np.testing.assert_allclose(y[:, 4:][kept], all_of_it[:, 4:][kept] / 0.75, rtol=1e-5)
    assert (one.forward() != y).any()  # another draw
    one.layer.phase = whole.layer.phase = dragon.TEST
    for a, b in zip(one.blobs, whole.blobs, strict=True):
        a[...] = b
    np.testing.assert_array_equal(one.forward(), whole.forward())
    unused = One(block("dropout_amount: 0.25", layers=1, growth=8), x)
    np.testing.assert_array_equal(unused.forward(), all_of_it)


def test_sizes_may_change() -> None:
    one = One(block(layers=2), X)
    x = np.random.default_rng(1).standard_normal((1, 4, 2, 7))
    y = one.forward(x).copy()
    np.testing.assert_allclose(y, One(block(layers=2), x).forward(), rtol=1e-5, atol=1e-6)
    one.layer.phase = dragon.TEST
    assert one.forward(np.zeros((0, 4, 2, 7))).shape == (0, 8, 2, 7)


def test_what_is_refused() -> None:
    for settings, message in (
        ("pad_h: 2", "offers pad_h 1 only, got 2"),
        ("filter_W: 5", "offers filter_W 3 only, got 5"),
        ("conv_horizentalStride: 2", "offers conv_horizentalStride 1 only, got 2"),
        ("use_dropout: true dropout_amount: 1", "dropout_amount must be at least 0 and less than 1, got 1"),
        ("moving_average_fraction: 1.5", "moving_average_fraction must be between 0 and 1, got 1.5"),
    ):
        with pytest.raises(PrototxtError, match=message):
            One(block(settings), X)
    for layers, growth, field in ((0, 2, "numTransition"), (2, 0, "growthRate")):
        with pytest.raises(PrototxtError, match=f"{field} must be at least 1, got 0"):
            One(block(layers=layers, growth=growth), X)
    with pytest.raises(ShapeError, match=r"needs a bottom of shape \(N, C, H, W\), got \(3, 4\)"):
        One(block(), np.zeros((3, 4)))
    with pytest.raises(PrototxtError, match="cannot work in place"):
        One(block(), X, in_place=True)
    one = One(block(), X)
    with pytest.raises(ShapeError, match=r"has weights for 4 channels, got a bottom of shape \(3, 5, 5, 3\)"):
        one.forward(np.zeros((3, 5, 5, 3)))
    with pytest.raises(ShapeError, match="cannot take statistics of an empty bottom"):
        one.forward(np.zeros((0, 4, 5, 3)))


def test_files_of_early_versions() -> None:
    assert "early versions of the fork" in DenseBlock.explain_blobs(24)
    assert DenseBlock.explain_blobs(41) == ""
